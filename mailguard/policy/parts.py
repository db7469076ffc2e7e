"""A policy in several files: its own, and the parts in the folder beside it (``policy.d/*.yaml`` of ``policy.yaml``).

What is known by a name (lists, weights, profiles, ...) is united: a name that stands in two files is refused, and both
are told. Rules, cases and allowances go on: those of the policy itself first, then those of each part in order. What
says something of the whole policy stands in the policy itself and nowhere else. The result is one document, in which
every value still knows its place; all checks are those of a policy in one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mailguard.policy.schema import PolicyFile
from mailguard.positions import Document, Path, Place, Problem, did_you_mean

UNITED: Final[tuple[Path, ...]] = (("dnsbl",), ("weights",), ("lists",), ("profiles",), ("unavailable",))
"""Mappings to which a part adds names."""
APPENDED: Final[tuple[Path, ...]] = (("rules", "envelope"), ("rules", "content"), ("cases",), ("allow_warnings",))
"""Lists to which a part adds entries."""
KEYS: Final[Mapping[Path, frozenset[str]]] = {
    holder: frozenset(str(path[len(holder)]) for path in (*UNITED, *APPENDED) if path[: len(holder)] == holder)
    for holder in ((), ("rules",))
}
"""The keys that a part may have, by the mapping that holds them."""


def merged(policy: Document, parts: Iterable[Document]) -> Document:
    """``policy`` with its ``parts`` in order; what does not fit together is in the ``problems`` of the result."""
    result = _Merged(policy)
    for part in parts:
        result.add(part)
    return result.document()


class _Merged:
    """The document as it grows; one whose form is wrong is left as it is, for the schema to tell."""

    def __init__(self, policy: Document) -> None:
        self._policy = policy
        self._data: Any = _copied(policy.data)
        self._places: dict[Path, Place] = dict(policy.places)
        self._problems: list[Problem] = list(policy.problems)
        self._spoilt: set[Path] = set(policy.spoilt)
        self._several = False

    def document(self) -> Document:
        """What has become of it."""
        problems, spoilt = tuple(self._problems), frozenset(self._spoilt)
        return Document(self._policy.text, self._data, self._places, problems, spoilt, self._several)

    def add(self, part: Document) -> None:
        """Add one part."""
        self._several = True
        self._problems += part.problems
        offsets = {path: len(found) for path in APPENDED if isinstance(found := self._value(path), list)}
        self._hold(part, ())
        for path, place in part.places.items():
            self._places.setdefault(_shifted(path, offsets), place)
        self._spoilt |= {_shifted(path, offsets) for path in part.spoilt}

    def _value(self, path: Path) -> Any:
        found = self._data
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def _hold(self, part: Document, holder: Path) -> None:
        """Take what stands in ``part`` under the mapping at ``holder``."""
        value = part.value(holder)
        if not isinstance(value, dict):
            self._refuse_form(part, holder, "a mapping (`key: value`)")
            return
        for key in value:
            path = (*holder, key)
            if path in KEYS:
                self._hold(part, path)
            elif path in UNITED:
                self._unite(part, path)
            elif path in APPENDED:
                self._append(part, path)
            else:
                self._refuse_key(part, path)

    def _unite(self, part: Document, path: Path) -> None:
        value, into = part.value(path), self._container(path, {})
        if not isinstance(value, dict):
            self._refuse_form(part, path, "a mapping (`key: value`)")
        elif isinstance(into, dict):
            for name, entry in value.items():
                if name in into:
                    self._refuse_twice(part, (*path, name))
                into.setdefault(name, entry)

    def _append(self, part: Document, path: Path) -> None:
        value, into = part.value(path), self._container(path, [])
        if not isinstance(value, list):
            self._refuse_form(part, path, "a list (`[a, b]`, or lines that begin with `- `)")
        elif isinstance(into, list):
            into.extend(value)

    def _container(self, path: Path, empty: Any) -> Any:
        """What stands at ``path`` so far, made where nothing does; None where it cannot stand there."""
        holder = self._data
        for step in path[:-1]:
            holder = holder.setdefault(step, {}) if isinstance(holder, dict) else None
        return holder.setdefault(path[-1], empty) if isinstance(holder, dict) else None

    def _refuse_form(self, part: Document, path: Path, what: str) -> None:
        if path not in part.spoilt:
            named = f"`{path[-1]}`" if path else "the file"
            self._problems.append(part.problem(path, f"{named} must be {what}"))

    def _refuse_key(self, part: Document, path: Path) -> None:
        known = KEYS[path[:-1]]
        if len(path) == 1 and path[0] in PolicyFile.model_fields:
            message = f"`{path[0]}` stands in the policy itself, {self._policy.text.file}, and in no part of it"
            hint = f"a part holds {', '.join(f'`{key}`' for key in sorted(known))}"
        else:
            message, hint = f"`{path[-1]}` is not known here", did_you_mean(str(path[-1]), known)
        self._problems.append(part.key_problem(path, message, hint))

    def _refuse_twice(self, part: Document, path: Path) -> None:
        place = self._places[path]
        line = place.key[0] if place.key else place.line
        message = f"`{path[-1]}` stands in {place.text.file} already, on line {line}"
        self._problems.append(part.key_problem(path, message, "keep one of the two, or rename one"))


def _copied(value: Any) -> Any:
    """Mappings and lists made anew, so that what is added is not added to the policy's own document."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _shifted(path: Path, offsets: Mapping[Path, int]) -> Path:
    """Where what stands at ``path`` of a part stands now."""
    for list_, offset in offsets.items():
        end = len(list_)
        if path[:end] == list_ and len(path) > end and isinstance(index := path[end], int):
            return (*list_, index + offset, *path[end + 1 :])
    return path
