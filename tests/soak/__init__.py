"""mailguard for long and under load, with processes killed, policies replaced, and every message counted.

``make soak`` runs the large form of each part; ``tests/real/test_soak.py`` runs a sample of each.
"""
