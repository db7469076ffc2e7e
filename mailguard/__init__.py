"""mailguard: a policy-driven SMTP filter that stands as MX front end before Exim."""

__version__ = "0.1.0"
