"""A pydantic model of a document, every error of pydantic's a :class:`Problem` that an admin understands.

Values are read strictly (``"5"`` is no number, ``true`` is no 1) but for what only a text can stand for: paths,
networks, names. Errors are told in the words of the file: its keys and their help, never a type of Python's.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mailguard.positions.document import Document, Path
from mailguard.positions.forms import REFUSAL
from mailguard.positions.problem import Problem, Problems, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def validate(document: Document, model: type[Model]) -> Model:
    """``document`` as a ``model``.

    Raises:
        Problems: all that the parser and the model refuse.
    """
    try:
        result = model.model_validate_json(orjson.dumps(document.data), strict=True)
    except ValidationError as error:
        raise Problems([*document.problems, *problems_of(document, model, error)]) from error
    if document.problems:
        raise Problems(document.problems)
    return result


def problems_of(document: Document, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """The problems of a failed validation, one for each place, none where the parser has refused something already."""
    found: dict[Path, Problem] = {}
    for details in error.errors(include_url=False):
        path, missing = _path(document, details["loc"])
        if missing and details["type"] == "missing":
            found.setdefault((*path, missing), _missing(document, model, path, missing))
        elif path not in document.spoilt:
            found.setdefault(path, _problem(document, model, path, details))
    return list(found.values())


def _path(document: Document, loc: tuple[int | str, ...]) -> tuple[Path, str]:
    """The path in the document that ``loc`` means (a union's branches are no part of it), and a key missing there."""
    path: Path = ()
    rest = ""
    for step in loc:
        if (*path, step) in document.places:
            path, rest = (*path, step), ""
        else:
            rest = str(step)
    return path, rest


def _problem(document: Document, model: type[BaseModel], path: Path, details: ErrorDetails) -> Problem:
    if details["type"] == "extra_forbidden":
        return document.key_problem(path, f"`{path[-1]}` is not known here", _meant(model, path))
    context: Mapping[str, Any] = details.get("ctx") or {}
    if details["type"] == REFUSAL:
        of_key = context["key"] or details["loc"][-1:] == ("[key]",)
        at = document.key_problem if of_key else document.problem
        return at((*path, context["key"]) if context["key"] else path, context["message"], context["hint"])
    say = _MESSAGES.get(details["type"], _unforeseen)
    hint = _written(model, path, details) or _help(model, path)
    return document.problem(path, f"{_named(path)} {say(details, context)}", hint)


def _meant(model: type[BaseModel], path: Path) -> str:
    """Which key was meant by the unknown one at ``path``: one that people take it for, or one that is near."""
    key, models = str(path[-1]), _models_at(model, path[:-1])
    others = (getattr(m, "OTHER_WORDS", {}).get(key) for m in models)
    meant = next((word for word in others if word is not None), None)
    if meant is None:
        return did_you_mean(key, {name for m in models for name in _fields(m)})
    return f"did you mean `{meant}`? {_help(model, (*path[:-1], meant))}"


_MAPPING_ERRORS: Final = frozenset(["dict_type", "model_type", "model_attributes_type", "mapping_type"])
_LIST_ERRORS: Final = frozenset(["list_type", "tuple_type", "set_type"])
_PLAIN: Final = re.compile(r"[\w@][\w@./-]*")


def _written(model: type[BaseModel], path: Path, details: ErrorDetails) -> str:
    """How a list or a mapping would be written where a single value stands; empty for every other mistake."""
    value = details["input"]
    if isinstance(value, dict | list) or value is None:
        return ""
    if details["type"] in _LIST_ERRORS:
        return f"write {_keyed(path, f'[{_scalar(value)}]')}"
    if details["type"] in _MAPPING_ERRORS:
        examples = (_example(m, value) for m in _models_at(model, path))
        example = next((text for text in examples if text), "")
        return f"such as {_keyed(path, example)}" if example else ""
    return ""


def _keyed(path: Path, text: str) -> str:
    return f"`{path[-1]}: {text}`" if path and isinstance(path[-1], str) else f"`{text}`"


def _scalar(value: object) -> str:
    """A value as a file has it: a text that may be read as something else stands in quotes."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def _example(model: type[BaseModel], value: object) -> str:
    """A mapping with the keys that ``model`` needs: the only one has ``value``, several have their examples."""
    needed = {name: field for name, field in _fields(model).items() if field.is_required()}
    if len(needed) == 1:
        return f"{{{next(iter(needed))}: {_scalar(value)}}}"
    if not needed or not all(field.examples for field in needed.values()):
        return ""
    return "{" + ", ".join(f"{name}: {(field.examples or [''])[0]}" for name, field in needed.items()) + "}"


def _missing(document: Document, model: type[BaseModel], path: Path, key: str) -> Problem:
    place = f" in {_named(path)}" if path else ""
    return document.problem(path, f"`{key}` is missing{place}", _help(model, (*path, key)))


def _named(path: Path) -> str:
    """How a message names the value at ``path``."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        holder = next((s for s in reversed(path) if isinstance(s, str)), "the list")
        return f"entry {path[-1] + 1} of `{holder}`"
    return f"`{path[-1]}`"


def _help(model: type[BaseModel], path: Path) -> str:
    """What the key at ``path`` means; of an entry of a list, what the list is."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    field = _field_at(model, path)
    return f"`{path[-1]}`: {field.description}" if field is not None and field.description else ""


def _field_at(model: type[BaseModel], path: Path) -> FieldInfo | None:
    if not path:
        return None
    fields = (_fields(m).get(str(path[-1])) for m in _models_at(model, path[:-1]))
    return next((f for f in fields if f is not None), None)


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that the mapping at ``path`` may be read as."""
    kinds: list[Any] = [model]
    for step in path:
        kinds = [inner for kind in kinds for inner in _step(kind, step)]
    return [kind for kind in kinds if _is_model(kind)]


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields under the names that a file gives them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _step(kind: Any, step: str | int) -> Iterator[Any]:
    """What stands under ``step`` in a value of type ``kind``."""
    if _is_model(kind):
        field = _fields(kind).get(str(step))
        if field is not None:
            yield from _alternatives(field.annotation)
    elif arguments := typing.get_args(kind):
        yield from _alternatives(arguments[0] if isinstance(step, int) else arguments[-1])


def _alternatives(annotation: Any) -> Iterator[Any]:
    """``annotation`` without Annotated, its unions taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from _alternatives(argument)
    else:
        yield annotation


def _found(value: Any) -> str:
    """What stands there, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return (
        f"`{text}`"
        if isinstance(value, int | float)
        else f"the text '{text if len(text) <= 40 else text[:37] + '...'}'"
    )


_Say = Callable[[ErrorDetails, Mapping[str, Any]], str]


def _must_be(what: str) -> _Say:
    return lambda details, context: f"must be {what.format_map(context)}, not {_found(details['input'])}"


def _choices(details: ErrorDetails, context: Mapping[str, Any]) -> str:
    expected = str(context["expected"]).replace("'", "`")
    return f"must be {'true' if expected == 'True' else expected}, not {_found(details['input'])}"


def _length(details: ErrorDetails, context: Mapping[str, Any]) -> str:
    unit = " characters" if details["type"].startswith("string") else ""
    limit = context.get("min_length")
    if limit is not None:
        return f"needs at least {limit}{unit or (' entry' if limit == 1 else ' entries')}"
    return f"may have at the most {context.get('max_length')}{unit or ' entries'}"


def _value(details: ErrorDetails, context: Mapping[str, Any]) -> str:
    return f"cannot be read: {context['error']}"


def _unforeseen(details: ErrorDetails, context: Mapping[str, Any]) -> str:
    return f"cannot be read: {details['msg'][:1].lower()}{details['msg'][1:]}"


_TYPES: Final[Iterable[tuple[str, _Say]]] = (
    ("string_type string_unicode", _must_be("a text")),
    ("path_type", _must_be("the name of a file")),
    ("int_type int_parsing int_from_float", _must_be("a whole number")),
    ("float_type float_parsing finite_number", _must_be("a number")),
    ("bool_type bool_parsing", _must_be("true or false")),
    (" ".join(_LIST_ERRORS), _must_be("a list (`[a, b]`, or lines that begin with `- `)")),
    (" ".join(_MAPPING_ERRORS), _must_be("a mapping (`key: value`)")),
    ("literal_error enum", _choices),
    ("greater_than", _must_be("more than {gt}")),
    ("greater_than_equal", _must_be("at least {ge}")),
    ("less_than", _must_be("less than {lt}")),
    ("less_than_equal", _must_be("at the most {le}")),
    ("too_short too_long string_too_short string_too_long", _length),
    ("value_error assertion_error", _value),
)
_MESSAGES: Final[Mapping[str, _Say]] = {name: say for names, say in _TYPES for name in names.split()}
