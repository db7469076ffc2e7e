"""Which way Received evidence can move the truth of a condition: "it may acquit, never convict", worked out.

Think of one message judged twice: without the evidence of its Received lines, and with it. A fact is declared with
where that may move it (``facts.Direction``): nowhere (FREE), down only (FALLS), up only (RISES), anywhere (ANY). The
same four say how a condition's truth may move, in the order false, unknown, true. They are the subsets of {down, up}:
what rests on two movements has their union, and the opposite of a movement is its mirror image. So:

* ``fact >= 8`` moves as the fact does, ``fact < 8`` the other way; of two facts compared, the right one counts turned.
* ``==``, ``!=`` and ``in [...]`` pass values by on both sides: ANY, where the fact moves at all.
* ``and``, ``or``: the union, for both are monotone in Kleene's tables. ``not``: turned.
* a text in a set of texts: as the set moves. A tag: the union of the rules that give it, for any of them does.
* constants of the policy and of profiles are FREE.

A fact may have *certain* values (``virus.kind`` has ``malware`` and ``pua``), which Received evidence may hide behind
another and never bring about: ``kind == 'malware'`` FALLS, ``kind != 'malware'`` RISES. And where an ``and`` demands
such a value, the answer that it is true for is the same both times, with all else that the same source said: so
within that ``and`` everything of this source FALLS, however it is put (``kind == 'malware' and name != 'X'``). An
``or`` with a part that is false only for a certain value is the mirror image: everything of the source RISES.

What follows for rules is in ``policy.provenance``, and what for answers that Received lines make unknown (a scanner
that they slow down) in ``policy.engine``. Every fact that moves belongs to the content, the last stage; tests hold the
declarations to that, and :func:`moves` to random conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Final, TypeAlias

from mailguard.facts import FACTS, Direction, Source
from mailguard.policy.expression import (
    And,
    Comparison,
    Condition,
    FactRef,
    HasTag,
    Holds,
    InTexts,
    Literal,
    Not,
    OneOf,
    Operand,
    Or,
    nodes,
)

Mention: TypeAlias = FactRef | HasTag
"""What of a condition may move."""
_MIRRORED: Final = ("<", "<=")
_EQUAL: Final = ("==", "!=")


@dataclass(frozen=True, slots=True)
class Move:
    """How the whole condition moves by one mention; ``turned``: the mention stands under an odd number of ``not``."""

    mention: Mention
    direction: Direction
    turned: bool


def moves(condition: Condition, tags: Mapping[str, Direction]) -> Iterator[Move]:
    """Every mention by which Received evidence may move ``condition``; ``tags``: how each tag moves that does."""
    return _moves(condition, tags, False, {})


def _moves(
    condition: Condition, tags: Mapping[str, Direction], turned: bool, tied: Mapping[Source, Direction]
) -> Iterator[Move]:
    if isinstance(condition, Not):
        yield from _moves(condition.inner, tags, not turned, tied)
    elif isinstance(condition, And | Or):
        tied = {**_ties(condition, turned), **tied}
        for part in condition.inner:
            yield from _moves(part, tags, turned, tied)
    else:
        for mention, direction in _leaf(condition, tags):
            if direction:
                found = _tie(mention, tied) or (direction.turned if turned else direction)
                yield Move(mention, found, turned)


def _ties(condition: And | Or, turned: bool) -> dict[Source, Direction]:
    """Sources of which a certain answer is demanded, and how all that they say moves the whole condition."""
    direction = Direction.FALLS if isinstance(condition, And) is not turned else Direction.RISES
    return dict.fromkeys(_demanded(condition, isinstance(condition, And)), direction)


def _tie(mention: Mention, tied: Mapping[Source, Direction]) -> Direction | None:
    source = FACTS[mention.name].source if isinstance(mention, FactRef) else None
    return tied.get(source) if source is not None else None


def _demanded(condition: Condition, truth: bool) -> frozenset[Source]:
    """Sources that have given a certain answer wherever ``condition`` is ``truth``."""
    if isinstance(condition, Not):
        return _demanded(condition.inner, not truth)
    if isinstance(condition, And | Or):
        parts = [_demanded(part, truth) for part in condition.inner]
        return reduce(or_ if isinstance(condition, And) is truth else and_, parts)
    fact = _certain(condition)
    holds = not (isinstance(condition, Comparison) and condition.operator == "!=")
    source = FACTS[fact.name].source if fact is not None and holds is truth else None
    return frozenset() if source is None else frozenset({source})


def _certain(condition: Condition) -> FactRef | None:
    """The fact that ``condition`` compares with nothing but certain values of it, for being or not being one."""
    if isinstance(condition, OneOf):
        fact, values = condition.operand, condition.items
    elif isinstance(condition, Comparison) and condition.operator in _EQUAL:
        fact, other = sorted((condition.left, condition.right), key=lambda side: isinstance(side, Literal))
        values = (other,) if isinstance(other, Literal) else ()
    else:
        return None
    if not isinstance(fact, FactRef) or not values:
        return None
    return fact if all(value.constant in FACTS[fact.name].certain for value in values) else None


def _leaf(condition: Condition, tags: Mapping[str, Direction]) -> Iterator[tuple[Mention, Direction]]:
    """How ``condition``, which holds no other, moves by each of its mentions."""
    if isinstance(condition, HasTag):
        yield condition, tags.get(condition.symbol, Direction.FREE)
    elif (fact := _certain(condition)) is not None:
        hides = isinstance(condition, Comparison) and condition.operator == "!="
        yield fact, Direction.RISES if hides else Direction.FALLS
    else:
        for part in condition.parts():
            for node in nodes(part):
                if isinstance(node, FactRef):
                    response = _response(condition, part) if node is part else Direction.ANY
                    yield node, _through(response, FACTS[node.name].moves)


def _response(condition: Condition, operand: Condition | Operand) -> Direction:
    """Where ``condition`` moves as its ``operand`` rises; a fact deeper within an operand may move it anywhere."""
    if isinstance(condition, Comparison) and condition.operator not in _EQUAL:
        mirrored = (condition.operator in _MIRRORED) is not (operand is condition.right)
        return Direction.FALLS if mirrored else Direction.RISES
    if isinstance(condition, Holds) or (isinstance(condition, InTexts) and operand is condition.texts):
        return Direction.RISES
    return Direction.ANY


def _through(response: Direction, direction: Direction) -> Direction:
    """How something moves that has ``response`` to what moves in ``direction``."""
    if not direction or response is Direction.RISES:
        return direction
    return direction.turned if response is Direction.FALLS else Direction.ANY
