"""The resolver: deadline, coalescing, cache, three-way answers."""

from mailguard.dns.answers import (
    Absence,
    AnyAnswer,
    Failed,
    Failure,
    Found,
    MailExchange,
    NotFound,
    RecordType,
    StartOfAuthority,
)
from mailguard.dns.inquiry import Inquiry, Steps, Timed
from mailguard.dns.resolver import Resolver

__all__ = [
    "Absence",
    "AnyAnswer",
    "Failed",
    "Failure",
    "Found",
    "Inquiry",
    "MailExchange",
    "NotFound",
    "RecordType",
    "Resolver",
    "StartOfAuthority",
    "Steps",
    "Timed",
]
