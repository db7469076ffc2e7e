"""The guest booted, and its disk on two machines: ``make test-guest``."""
