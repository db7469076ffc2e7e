"""YAML that knows where everything stands, so that every mistake gets file, line and column.

Three steps, each pure: :func:`parse` makes a :class:`Document` of a text (safe YAML, without the surprises of YAML
1.1), :func:`validate` makes a pydantic model of a document, and whoever looks deeper makes a :class:`Problem` by
:meth:`Document.problem`. All problems of a step are raised at once, as one :class:`Problems`.
"""

from __future__ import annotations

from mailguard.positions.document import Document, Path, Place, Style
from mailguard.positions.forms import NoNetwork, Refusal, form, parse_network, read_network
from mailguard.positions.problem import Problem, Problems, Text, closest, did_you_mean
from mailguard.positions.reader import parse
from mailguard.positions.validation import problems_of, validate

__all__ = [
    "Document",
    "NoNetwork",
    "Path",
    "Place",
    "Problem",
    "Problems",
    "Refusal",
    "Style",
    "Text",
    "closest",
    "did_you_mean",
    "form",
    "parse",
    "parse_network",
    "problems_of",
    "read_network",
    "validate",
]
