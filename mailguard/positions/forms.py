"""Forms of texts in settings and policies: what does not fit is refused in words of its own, with what would.

Used as validators in pydantic's models; :mod:`positions.validation` hands message and hint on as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

REFUSAL: Final = "refusal"
"""The type of the error that :func:`Refusal` makes."""
_SHOWN: Final = 60
"""Characters of an unfit text that are shown."""


def Refusal(message: str, hint: str = "", key: str = "") -> PydanticCustomError:  # noqa: N802 - raised like a class
    """What a validator raises: its message and hint reach the admin as they are; ``key``: where within a mapping."""
    return PydanticCustomError(REFUSAL, "{message}", {"message": message, "hint": hint, "key": key})


@dataclass(frozen=True, slots=True)
class form:  # noqa: N801 - written like a function, as what pydantic offers
    """A text that matches ``pattern`` as a whole; any other is refused: the text, then ``message``, and ``hint``."""

    pattern: str
    message: str
    hint: str

    def check(self, value: str) -> str:
        """``value``.

        Raises:
            PydanticCustomError: it is of another form.
        """
        if not re.fullmatch(self.pattern, value):
            raise Refusal(f"`{value[:_SHOWN]}` {self.message}", self.hint)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        return {**found, "allOf": [*found.get("allOf", []), {"pattern": f"^(?:{self.pattern})$"}]}


class NoNetwork(ValueError):
    """A text that is no IP address or network; ``hint`` says what would be."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """The network that ``text`` is; an address is one by itself.

    Raises:
        NoNetwork: it is none, or has bits set after its prefix, so that two networks may be meant.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        message = f"`{text[:_SHOWN]}` is no IP address or network"
        raise NoNetwork(message, "write 198.18.1.10 or 198.18.0.0/15") from None
    if str(network.network_address) != str(ip_network(text.partition("/")[0]).network_address):
        message = f"`{text[:_SHOWN]}` has bits set after its prefix"
        raise NoNetwork(message, f"write {network}, or the address without the `/`")
    return network


def read_network(value: object) -> IPv4Network | IPv6Network:
    """A validator of networks.

    Raises:
        PydanticCustomError: ``value`` is none.
    """
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return parse_network(str(value))
    except NoNetwork as error:
        raise Refusal(str(error), error.hint) from None
