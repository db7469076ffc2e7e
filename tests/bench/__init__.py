"""How fast mailguard is on this machine: ``make bench``.

``loads`` says what is done, ``generator`` does it from a process of its own, ``real_peers`` and ``peer`` are what
mailguard is compared with, ``sink`` stands behind all, ``subjects`` and ``world`` start them, ``rounds`` measures,
``half_load``, ``scanning`` and ``life`` measure what is no rate, ``micro`` times pure code, and ``report`` tells. Work
is counted per second of *server* CPU time: on a shared machine wall time says little. ``counts`` counts instead of
timing, and is held by a test.
"""
