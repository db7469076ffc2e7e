"""The keys of a file, flat: name, type, unit, default and help of each, from the models that the file is read with.

Reference pages and manual pages are made of them. A group of keys is a row of its own, its keys follow; those of a
list's entries stand behind ``[]``, those of a mapping's behind ``.NAME``.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mailguard import config

GROUP: Final = "group"
REQUIRED: Final = "required"
_ALIASES: Final = {
    get_args(config.HostName)[1]: "host name",
    get_args(config.Domain)[1]: "domain",
    get_args(config.SocketAddress)[1]: "host:port or unix:path",
    get_args(config.TcpAddress)[1]: "host:port",
    get_args(config.IpSocketAddress)[1]: "address:port",
}
"""What constraints mean, in words."""
_WORDS: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    config.Network: "network",
}
_VARIABLES: Final = {".".join(path): variable for variable, path in config.secret_variables().items()}
"""The environment variable that names a file, by setting."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key.

    Attributes:
        name: as in ``listen[].address``.
        kind: its type in the words of an administrator; :data:`GROUP` for a group of keys.
        unit: empty where it has none.
        default: as the file would have it; empty where there is none, :data:`REQUIRED` where it must stand there.
        meaning: its help.
    """

    name: str
    kind: str
    unit: str
    default: str
    meaning: str


def rows_of(model: type[BaseModel], prefix: str = "") -> Iterator[Row]:
    """The keys of ``model``, in their order."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = list(_models(field.annotation))
        if not inner:
            yield _leaf(key, field)
            continue
        key += {list: "[]", dict: ".NAME"}.get(_container(field.annotation), "")
        yield Row(key, GROUP, "", REQUIRED if field.is_required() else "", field.description or "")
        for each in inner:
            yield from rows_of(each, f"{key}.")


def _leaf(key: str, field: FieldInfo) -> Row:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    meaning = field.description or ""
    if variable := _VARIABLES.get(key):
        meaning += f"; environment: `{variable}`"
    return Row(key, _kind(field.annotation, field.metadata), str(extra.get("unit", "")), _default(field), meaning)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The groups of keys that a value may be, or may be a list or a mapping of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for each in get_args(annotation):
            yield from _models(each)


def _container(annotation: Any) -> Any:
    """``list`` or ``dict``, where the groups stand in one."""
    origin = get_origin(annotation)
    return _container(get_args(annotation)[0]) if origin is Annotated else origin


def _kind(annotation: Any, constraints: Iterable[object] = ()) -> str:
    """The type of a value in the words of an administrator."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        plain, *constraints = inner
        return _kind(plain, constraints)
    named = next((_ALIASES[each] for each in constraints if _hashable(each) and each in _ALIASES), None)
    if named or annotation in _WORDS:
        return named or _WORDS[annotation]
    if origin is list:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"mapping to {_kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{each.value}`" for each in annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(each) for each in inner if each is not type(None)))
    return " or ".join(f"`{str(each).lower() if isinstance(each, bool) else each}`" for each in inner)


def _hashable(value: object) -> bool:
    return type(value).__hash__ is not None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value in (None, [], "", {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
