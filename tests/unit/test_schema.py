"""The JSON Schemas for editors: they take what mailguard reads and refuse what has no such form, with our own help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.cli.schema import Subject, schema_text
from mailguard.config import Settings
from mailguard.facts import FACTS
from mailguard.policy.schema import PolicyFile
from mailguard.positions import Problems, Text, parse, validate
from tests.unit.test_docs import LEAST_SETTINGS

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "policies").glob("*.yaml"))
BROKEN = sorted((ROOT / "tests/unit/policy/broken").glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema="


@cache
def schema(subject: Subject) -> Any:
    return json.loads(schema_text(subject))


def mistakes(subject: Subject, data: object) -> list[str]:
    return [error.message for error in Draft7Validator(schema(subject)).iter_errors(data)]


def data_of(path: Path) -> Any:
    return parse(Text(str(path), path.read_text())).data


@pytest.mark.parametrize("subject", Subject)
def test_each_is_a_schema_and_is_printed(subject: Subject) -> None:
    Draft7Validator.check_schema(schema(subject))
    result = CliRunner().invoke(app, ["schema", subject])
    assert (result.exit_code, result.stdout) == (0, schema_text(subject))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_policies_name_it_and_are_of_that_form(path: Path) -> None:
    first = path.read_text().split("\n", 1)[0]
    assert first.startswith(MODELINE)
    beside = path.parent / first.removeprefix(MODELINE)
    assert beside.read_text() == schema_text(Subject.POLICY)
    assert mistakes(Subject.POLICY, data_of(path)) == []


def of_broken_form() -> Iterator[Path]:
    """The broken policies that the model refuses, whatever their conditions mean."""
    for path in BROKEN:
        try:
            validate(parse(Text(str(path), path.read_text())), PolicyFile)
        except Problems as error:
            if not any("column could be named" in p.hint for p in error.problems) and _read(path):
                yield path


def _read(path: Path) -> bool:
    """Whether YAML itself is as our reader wants it: of aliases, tags and octal numbers a schema knows nothing."""
    try:
        return not parse(Text(str(path), path.read_text())).problems
    except Problems:
        return False


OF_BROKEN_FORM = list(of_broken_form())
BEYOND = {"list-name-keyword", "rule-name-reserved"}
"""Words that have a meaning of their own."""


@pytest.mark.parametrize("path", OF_BROKEN_FORM, ids=lambda path: path.stem)
def test_what_has_another_form_is_refused(path: Path) -> None:
    assert mistakes(Subject.POLICY, data_of(path)) or path.stem in BEYOND


def test_there_are_such() -> None:
    assert len(OF_BROKEN_FORM) >= 20


def test_only_what_the_model_refuses_is_refused() -> None:
    """A policy whose form is right may still be wrong: that is not for a schema to tell, and it tells nothing."""
    beyond = {"dnsbl-bad-code", "dnsbl-code-outside-127", "weight-of-a-number", "weight-of-nothing", "greylist"}
    beyond |= {"case-unknown-fact", "dnsbl-star-and-range"}
    right = [path for path in BROKEN if _read(path) and path not in OF_BROKEN_FORM]
    assert len(right) > 80
    assert {path.stem for path in right if mistakes(Subject.POLICY, data_of(path))} <= beyond


def test_a_part_has_what_a_part_may_have() -> None:
    assert mistakes(Subject.PART, {"lists": {"friends": ["friend.example"]}, "rules": {"content": []}}) == []
    for wrong in ({"mode": "observe"}, {"mailguard_policy": 1}, {"recipients": []}, {"rules": []}):
        assert mistakes(Subject.PART, wrong)


def test_cases_and_settings_have_theirs() -> None:
    case = {"name": "a", "given": {"dnsbl.zen": "127.0.0.2", "spam.score": 5}, "expect": {"file": "Junk"}}
    assert mistakes(Subject.CASES, {"mailguard_cases": 1, "cases": [case]}) == []
    assert mistakes(Subject.CASES, {"mailguard_cases": 1, "cases": [{**case, "expect": {}}]})
    assert mistakes(Subject.SETTINGS, LEAST_SETTINGS) == []
    assert mistakes(Subject.SETTINGS, {**LEAST_SETTINGS, "hostnam": "mx.example.com"})
    assert mistakes(Subject.SETTINGS, {**LEAST_SETTINGS, "hostname": "mx example"})


def described(node: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Each property with whether it has help."""
    for name, inner in node.get("properties", {}).items():
        yield f"{path}.{name}", bool(inner.get("description"))
        yield from described(inner, f"{path}.{name}")


@pytest.mark.parametrize("subject", Subject)
def test_every_key_has_its_help(subject: Subject) -> None:
    found = schema(subject)
    parts = [found, *found.get("$defs", {}).values()]
    told = [entry for part in parts for entry in described(part)]
    assert len(told) > 5
    assert [name for name, has in told if not has] == []


def test_the_help_is_that_of_the_declarations() -> None:
    weights = schema(Subject.POLICY)["properties"]["weights"]["properties"]
    assert weights == {
        name: {"type": "number", "minimum": -100, "maximum": 100, "description": spec.help}
        for name, spec in FACTS.items()
        if spec.weighable
    }
    settings = schema(Subject.SETTINGS)["properties"]
    assert settings["hostname"]["description"] == Settings.model_fields["hostname"].description
