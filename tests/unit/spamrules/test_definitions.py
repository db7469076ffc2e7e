"""Reading rule files: one line in, one definition or none out."""

from __future__ import annotations

import pytest

from mailguard.spamrules.definitions import RuleFile, definitions, includes, update_versions


def read(text: str) -> list[tuple[str, str, str]]:
    return [(d.name, d.kind, d.argument) for d in definitions(RuleFile("a.cf", text))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("header A Subject =~ /x/", ("A", "header", "Subject =~ /x/")),
        ("  Header\tA   Subject =~ /x/  # why", ("A", "header", "Subject =~ /x/")),
        (r"body A /a\#b/ # c", ("A", "body", "/a#b/")),
        ("lang de body A /x/", ("A", "body", "/x/")),
        ("meta __A (B && !C)", ("__A", "meta", "(B && !C)")),
        ("uri-block-cc A us", ("A", "uri_block_cc", "us")),
        ("invented A anything", ("A", "unknown", "anything")),
    ],
)
def test_a_definition(line: str, expected: tuple[str, str, str]) -> None:
    assert read(line) == [expected]


@pytest.mark.parametrize(
    "line",
    ["", "# header A Subject =~ /x/", "score A 5", "describe A words", "tflags A net", "reuse A", "endif", "body"],
)
def test_no_definition(line: str) -> None:
    assert read(line) == []


def test_every_branch_counts() -> None:
    text = "if (version >= 4)\nheader A To =~ /x/\nelse\nheader A Received =~ /x/\nendif\nifplugin P\nbody B /x/\nendif"
    assert read(text) == [
        ("A", "header", "To =~ /x/"),
        ("A", "header", "Received =~ /x/"),
        ("B", "body", "/x/"),
    ]


def test_where_names_file_line_and_setting() -> None:
    (found,) = definitions(RuleFile("20_x.cf", "\n\nbody A /x/"))
    assert found.where == "20_x.cf:3 body"


def test_includes() -> None:
    assert includes(RuleFile("a.cf", "include b.cf\n# include c.cf\n  Include sub/d.cf  \n")) == ["b.cf", "sub/d.cf"]


def test_update_versions_stand_in_the_order_of_file_names() -> None:
    files = [RuleFile("b.cf", "# UPDATE version 22\n"), RuleFile("a.cf", "# UPDATE version 11\n"), RuleFile("c.cf", "")]
    assert update_versions(files) == "11,22"
    assert update_versions(files[2:]) == ""
