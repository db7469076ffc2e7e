"""Every way to forge our header fields that is known to us: one table, for the tests, for Exim and for people."""
