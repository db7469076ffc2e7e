"""``mailguard schema``: the form of the files that an administrator writes, as JSON Schema, for editors.

Made of the very models that the files are read with (``policy.schema``, ``config``), their help as descriptions: what
an editor offers and what mailguard reads are declared once. A schema knows the form alone; what a condition means,
where evidence comes from, and how the cases come out, ``mailguard check`` tells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel

from mailguard.config import Settings
from mailguard.policy.parts import KEYS
from mailguard.policy.schema import CasesFile, PolicyFile

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
"""What editors know best; its ``$ref`` stands alone in its object."""


class Subject(StrEnum):
    """Which files."""

    POLICY = "policy"
    PART = "part"
    CASES = "cases"
    SETTINGS = "settings"


def _of(model: type[BaseModel], title: str) -> dict[str, Any]:
    found: dict[str, Any] = _tidied(model.model_json_schema())
    return {"$schema": _DIALECT, "title": title, **found}


def _part() -> dict[str, Any]:
    """As a policy's, but for what stands in the policy itself alone."""
    found = _of(PolicyFile, "A part of a mailguard policy, in the folder beside it")
    found["properties"] = {key: value for key, value in found["properties"].items() if key in KEYS[()]}
    del found["required"]
    return found


_MAKERS: Final[Mapping[Subject, Callable[[], dict[str, Any]]]] = {
    Subject.POLICY: lambda: _of(PolicyFile, "A mailguard policy"),
    Subject.PART: _part,
    Subject.CASES: lambda: _of(CasesFile, "Cases of a mailguard policy, in a file beside it"),
    Subject.SETTINGS: lambda: _of(Settings, "Settings of mailguard"),
}


def schema_text(subject: Subject) -> str:
    """The schema of ``subject``, as JSON."""
    return json.dumps(_MAKERS[subject](), indent=1, ensure_ascii=False) + "\n"


def _tidied(node: Any, *, named: bool = False) -> Any:
    """``node`` for editors: units beside the help, no names of Python's; ``named``: its keys are names in a file."""
    if isinstance(node, list):
        return [_tidied(each) for each in node]
    if not isinstance(node, dict):
        return node
    if named:
        return {key: _tidied(value) for key, value in node.items()}
    found = {
        key: _tidied(value, named=key in ("properties", "patternProperties", "$defs"))
        for key, value in node.items()
        if key not in ("title", "examples", "unit", "secret")
    }
    if "unit" in node:
        found["description"] = f"{found.get('description', '')} ({node['unit']})".lstrip()
    reference = found.pop("$ref", None)
    if reference is None:
        return found
    return {"allOf": [{"$ref": reference}], **found} if found else {"$ref": reference}


def schema(subject: Annotated[Subject, typer.Argument(help="Which files.")]) -> None:
    """Print a JSON Schema of policies, their parts, cases or settings, for editors."""
    typer.echo(schema_text(subject), nl=False)
