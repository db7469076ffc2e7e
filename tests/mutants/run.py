"""Break each invariant of the architecture by one small change of the code, and see that its test turns red.

A mutant is a text of one source file and what is put in its place. Each runs in a copy of the tree, so that nothing is
ever left broken. A mutant that survives means that an invariant has no test; one whose text is not found, or is found
twice, means that the catalogue is out of date. Both fail.

    python -m tests.mutants.run [NAME ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.catalogue import MISSING, MUTANTS
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("mailguard", "tests", "policies", "deploy", "pyproject.toml")
TIMEOUT = 120.0
"""Seconds for the tests of one mutant; a mutant that hangs its test is caught as well as one that fails it."""
TIMEOUT_OF_ALL = 900.0
"""Seconds for the tests of all mutants, of which there is none in the tree."""


def _copy(target: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)


def _break(tree: Path, mutant: Mutant) -> None:
    path = tree / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: {mutant.file} holds {mutant.old!r} {source.count(mutant.old)} times, not once"
        )
    path.write_text(source.replace(mutant.old, mutant.new))


def _tests_pass(tree: Path, tests: tuple[str, ...], seconds: float = TIMEOUT) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--no-header", *tests]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    if result.returncode not in (0, 1):  # 2 and more: the mutant is no program, or pytest found no test
        raise SystemExit(f"pytest ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.returncode == 0


def _survives(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory(prefix="mailguard-mutant-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        _copy(tree)
        _break(tree, mutant)
        return _tests_pass(tree, mutant.tests)


def main(names: list[str]) -> int:
    """Run the mutants named, or all; the exit status is 1 where one survives."""
    if MISSING:
        print(f"invariants without a mutant: {', '.join(sorted(MISSING))}", file=sys.stderr)
        return 1
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if not _tests_pass(ROOT, tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests)), TIMEOUT_OF_ALL):
        print("the tests are red without any mutant", file=sys.stderr)
        return 1
    survivors = []
    for mutant in chosen:
        survived = _survives(mutant)
        print(f"{'SURVIVED' if survived else 'killed  '}  {mutant.invariant}: {mutant.name}", flush=True)
        survivors += [mutant.name] if survived else []
    print(f"{len(chosen) - len(survivors)} passed, {len(survivors)} failed")
    return bool(survivors)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
