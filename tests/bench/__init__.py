"""How fast mailguard is on this machine: ``make bench``.

``loads`` says what is done, ``generator`` does it from a process of its own, ``peer`` is what mailguard is compared
with, ``sink`` stands behind both, ``subjects`` starts them all, ``rounds`` measures, ``micro`` times pure code, and
``report`` tells. Work is counted per second of *server* CPU time: on a shared machine wall time says little.
"""
