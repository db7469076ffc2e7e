"""The policy language: a document in, a pure function from facts to verdicts out (docs/policy).

``schema`` says what a policy file holds; ``conditions`` parses conditions into ``expression`` trees; ``tables``,
``rulebook`` and ``provenance`` check; ``compiler`` puts it together; ``reading`` reads facts; ``engine`` decides;
``cases`` tests. Nothing in here does I/O or knows the time.
"""
