"""How fast mailguard is on this machine: ``make bench``."""
