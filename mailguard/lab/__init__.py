"""A laboratory of real servers on loopback: Exim, clamd, spamd, rbldnsd and unbound, for ``mailguard demo`` and the tests."""
