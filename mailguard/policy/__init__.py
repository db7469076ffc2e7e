"""The policy language: a document in, a pure function from facts to verdicts out (docs/policy).

``schema`` says what a policy file holds; ``conditions`` parses conditions into ``expression`` trees; ``tables``,
``rulebook``, ``direction`` and ``provenance`` check; ``compiler`` puts it together; ``reading`` reads facts;
``engine`` decides; ``cases`` tests. Nothing in here does I/O or knows the time.
"""

from __future__ import annotations

from mailguard.policy.compiler import compile_policy
from mailguard.policy.engine import CompiledPolicy

__all__ = ["CompiledPolicy", "compile_policy"]
