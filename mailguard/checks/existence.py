"""What a stranger's name is in the DNS: what ``helo``, ``sender`` and ``reverse_dns`` have in common."""

from __future__ import annotations

from collections.abc import Iterable

from mailguard.dns.answers import AnyAnswer, Failed, Found
from mailguard.dns.inquiry import Steps
from mailguard.dns.names import DoubtfulNameError, ImpossibleNameError, host_name
from mailguard.dns.question import RecordType, about
from mailguard.facts import Answer, Known, Unknown


def host_to_ask(text: str) -> str | Known[bool] | Unknown:
    """The host name that ``text`` is, or whether it resolves where the DNS need not be asked.

    A name that no host can have does not resolve; one that only IDNA 2008 rules out is left undecided.
    """
    try:
        return host_name(text)
    except ImpossibleNameError:
        return Known(False)
    except DoubtfulNameError as error:
        return Unknown(str(error))


def ask_all(name: str, *types: RecordType) -> Steps[list[AnyAnswer]]:
    """The answers for all ``types`` of ``name``, asked at once."""
    return [answer for answer, _ in (yield [about(name, rdtype) for rdtype in types])]


def existence(answers: Iterable[AnyAnswer]) -> Answer[bool]:
    """Whether any of ``answers`` holds a record. Without one, a single failure leaves it unknown."""
    failure: Failed | None = None
    for answer in answers:
        if isinstance(answer, Found):
            return Known(True)
        if isinstance(answer, Failed):
            failure = failure or answer
    return unknown(failure) if failure else Known(False)


def unknown(failure: Failed) -> Unknown:
    """The failed question as an unknown answer."""
    return Unknown(f"{failure.kind}: {failure.why}")
