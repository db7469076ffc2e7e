"""The pages say what is so: links lead somewhere, examples load, and whatever is named exists."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from mailguard import policy_files
from mailguard.cli import COMMANDS
from mailguard.config import Settings, split_address
from mailguard.policy.schema import PolicyFile
from mailguard.positions import Problems
from tests.dialogues.runner import read_all
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import INVARIANTS
from tests.support.pages import FENCE

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
}
ARCHITECTURE = PAGES["docs/architecture.md"]
CODE = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("mailguard", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
DEFAULT_POLICY = yaml.safe_load((ROOT / "policies/default.yaml").read_text())
LEAST_SETTINGS = {
    "hostname": "mx.example.com",
    "relay_domains": ["example.com"],
    "listen": [{"address": "127.0.0.1:0"}],
    "backends": [{"address": "127.0.0.1:10025"}],
    "policy": "policy.yaml",
    "clamav": {"address": "unix:/run/clamav/clamd.ctl"},
    "spamassassin": {"address": "127.0.0.1:783"},
}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
POLICY_KEYS, SETTINGS_KEYS = set(PolicyFile.model_fields), set(Settings.model_fields)


def prose(page: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page)


def anchors(page: str) -> set[str]:
    """What a link may name behind ``#``: each heading, in small letters, blanks made hyphens, signs dropped."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[str, str]]:
    """Each link to something of ours: page and target."""
    for name, page in PAGES.items():
        yield from ((name, target) for target in LINK.findall(prose(page)) if "://" not in target)


def broken(name: str, target: str) -> str:
    """What is wrong with a link; empty where it leads somewhere."""
    path, _, anchor = target.partition("#")
    found = (ROOT / name).parent / path if path else ROOT / name
    if not found.exists():
        return f"{name}: {target}: no such file"
    if anchor and anchor not in anchors(found.read_text()):
        return f"{name}: {target}: no such heading"
    return ""


def test_every_link_leads_somewhere() -> None:
    found = list(links())
    assert len(found) > 50
    assert [wrong for name, target in found if (wrong := broken(name, target))] == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    assert broken("README.md", "docs/nowhere.md")
    assert broken("README.md", "docs/smtp.md#nowhere")
    assert not broken("README.md", "docs/smtp.md#end-of-data")


def examples() -> Iterator[tuple[str, str, str]]:
    """Each block of YAML: page, the word behind ``yaml``, text."""
    for name, page in PAGES.items():
        for language, text in FENCE.findall(page):
            if language.split()[:1] == ["yaml"]:
                yield name, language.removeprefix("yaml").strip(), text


def load_example(text: str, folder: Path) -> None:
    """Load a policy, settings, or a part of one put into the default policy or into the least settings.

    The lists that an example includes are the tutorial's.
    A part that brings rules of its own leaves the default's cases out, which are about the default's rules.
    """
    given = yaml.safe_load(text)
    (folder / "policy.yaml").write_text((ROOT / "policies/default.yaml").read_text())
    shutil.copytree(ROOT / "docs/policy/step6/lists", folder / "lists")
    if given.keys() <= POLICY_KEYS:
        base = {key: value for key, value in DEFAULT_POLICY.items() if key != "cases" or "rules" not in given}
        whole = "mailguard_policy" in given
        (folder / "policy.yaml").write_text(
            text if whole else yaml.safe_dump(base | given, sort_keys=False, width=1000)
        )
        policy_files.load(folder / "policy.yaml")
    elif given.keys() <= SETTINGS_KEYS:
        whole = "hostname" in given
        (folder / "mailguard.yaml").write_text(text if whole else yaml.safe_dump(LEAST_SETTINGS | given))
        policy_files.load_for(policy_files.load_settings(folder / "mailguard.yaml"))
    else:
        raise AssertionError(f"neither a policy nor settings: {sorted(given)}")


@pytest.mark.parametrize(("name", "how", "text"), list(examples()))
def test_every_example_loads_or_is_refused_as_told(name: str, how: str, text: str, tmp_path: Path) -> None:
    assert how in ("", "refused"), name
    if how == "refused":
        with pytest.raises(Problems, match="Received"):
            load_example(text, tmp_path)
    else:
        load_example(text, tmp_path)


def test_there_are_examples_of_both() -> None:
    names = {name for name, _, _ in examples()}
    assert {"README.md", "docs/policy.md", "docs/backends/exim.md"} <= names


def test_readme_and_exim_agree_about_the_port() -> None:
    (settings,) = (text for name, _, text in examples() if name == "README.md" and "hostname" in text)
    _, port = split_address(yaml.safe_load(settings)["backends"][0]["address"])
    assert f"MAILGUARD_PORT = {port}\n" in (ROOT / "deploy/exim/main.conf").read_text()
    assert f"127.0.0.1.{port} ;" in PAGES["docs/backends/exim.md"]


def test_every_command_named_exists() -> None:
    known = set(COMMANDS)
    named = {word for page in PAGES.values() for word in re.findall(r"(?:`|bin/)mailguard ([a-z]+)", page)}
    assert named
    assert named <= known
    table = PAGES["docs/operations.md"].partition("## Command line")[2]
    assert all(f"`{command}" in table for command in known)


def test_every_option_that_a_runbook_or_a_page_of_monitoring_names_exists() -> None:
    manual = (ROOT / "docs" / "man" / "mailguard.1").read_text().replace("\\-", "-")
    options = {
        name: set(re.findall(r"^\\fB(--[a-z-]+)", told.partition("\n.SS ")[0], re.MULTILINE))
        for name, told in re.findall(r"^\.SS mailguard ([a-z]+)\n(.*?)(?=^\.S[SH] )", manual, re.MULTILINE | re.DOTALL)
    }
    pages = [page for name, page in PAGES.items() if name.startswith("docs/runbooks/") or name == "docs/monitoring.md"]
    named = {
        (command, option)
        for page in pages
        for command, rest in re.findall(r"`mailguard ([a-z]+)( [^`]*)`", page)
        for option in re.findall(r"--[a-z-]+", rest)
        if option != "--help"
    }
    assert len(named) > 10
    assert [(command, option) for command, option in sorted(named) if option not in options[command]] == []


def test_every_log_event_named_is_logged() -> None:
    table = PAGES["docs/operations.md"].partition("## Log")[2].partition("\n## ")[0]
    named = [
        event for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for event in re.findall(r"`(.+?)`", row)
    ]
    source = "".join(text for name, text in CODE.items() if name.startswith("mailguard/"))
    assert len(named) > 5
    assert [event for event in named if f'"{event}"' not in source] == []


def test_every_make_target_named_exists() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {word for page in PAGES.values() for word in re.findall(r"`make ([a-z-]+)", page)}
    assert {"run", "test"} <= named <= set(phony.split())


def test_every_path_of_tests_named_exists() -> None:
    named = {word for page in PAGES.values() for word in re.findall(r"`(tests/[\w./]+)`", page)}
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_invariants_are_told_with_mutants_that_exist() -> None:
    told = ARCHITECTURE.partition("## Invariants")[2].partition("\n## ")[0]
    headings = re.findall(r"^\*\*(.+)\.\*\*", told, re.MULTILINE)
    assert set(INVARIANTS) <= set(headings)
    assert {mutant.invariant for mutant in MUTANTS} == set(headings)
    by_name = {mutant.name: mutant.invariant for mutant in MUTANTS}
    for paragraph in told.split("\n\n"):
        (heading,) = re.findall(r"^\*\*(.+)\.\*\*", paragraph) or [""]
        for name in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", paragraph):
            assert by_name.get(name) == heading, name


def test_what_a_mutant_changes_is_there_once() -> None:
    """Else it would be found out in the next run of all mutants, long after the code moved away under it."""
    stale = [each.name for each in MUTANTS if (ROOT / each.file).read_text().count(each.old) != 1]
    assert stale == []


def test_every_module_in_the_layers_is_told_of_in_its_order() -> None:
    (contract, *_) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", ARCHITECTURE, re.MULTILINE)
    told = {module: int(layer) for layer, modules in rows for module in re.findall(r"`(\w+)`", modules)}
    layers = [[module.removeprefix("mailguard.") for module in layer.split(" | ")] for layer in contract["layers"]]
    assert {module for layer in layers for module in layer} <= set(told)
    for upper, lower in pairwise(layers):
        assert max(told[module] for module in upper) <= min(told[module] for module in lower)


def page_named(name: str) -> str | None:
    """The text of a page as the code names it; None where there is none."""
    return next((PAGES[at + name] for at in ("", "docs/", "docs/reference/") if at + name in PAGES), None)


def references() -> Iterator[tuple[str, str, str]]:
    """Each page that the code names: file, page, and the heading in quotes behind it, if any."""
    for name, source in CODE.items():
        if name != "tests/unit/test_docs.py":
            for page, heading in re.findall(r'([\w/-]+\.md\b)(?:,\s+"([^"]+)")?', source):
                yield name, page, heading


def test_every_page_that_the_code_names_exists_and_has_the_heading() -> None:
    found = list(references())
    assert len(found) > 40
    for name, page, heading in found:
        text = page_named(page)
        assert text is not None, (name, page)
        assert not heading or re.search(rf"^(#+ |\*\*){re.escape(heading)}(\.\*\*.*)?$", text, re.MULTILINE), (
            name,
            page,
            heading,
        )


def test_every_decision_that_is_named_exists() -> None:
    numbers = {Path(name).name[:4] for name in PAGES if name.startswith("docs/decisions/")}
    texts = [*PAGES.values(), *CODE.values()]
    named = {number for text in texts for number in re.findall(r"decisions?[ /](\d{4})\b", text)}
    assert len(named) > 10
    assert named <= numbers


def test_the_specifications_tell_how_many_dialogues_there_are() -> None:
    every = read_all()
    groups = {name: [one for one in every if one.group == name] for name in sorted({one.group for one in every})}
    wanted = [
        f"| {name} | {len(members)} | {sum(not one.sink for one in members)} |"
        for name, members in [*groups.items(), ("all", every)]
    ]
    told = PAGES["docs/specifications.md"].partition("### As dialogues")[2]
    assert re.findall(r"^\| [a-z]+ \| \d+ \| \d+ \|$", told, re.MULTILINE) == wanted
