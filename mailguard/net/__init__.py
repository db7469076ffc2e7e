"""Connections to others: streams with a deadline on every call, breakers, the PROXY protocol both ways."""
