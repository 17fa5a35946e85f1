"""Run everything that the test command checks, or a part of it; stop at the first failure.

python tests/run.py               style, types, layers, manifest, and every test on a cover of its parameters
python tests/run.py static        types, layers and manifest alone
python tests/run.py exhaustive    what the first leaves out: all parameters, other and more examples
python tests/run.py coverage      the tests of the first, and which lines they don't reach
python tests/run.py contract      write the pages of the public contract anew: for what is meant to change
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKERS = min(8, os.cpu_count() or 1)
SPREAD = ["pytest", f"-n{WORKERS}", "--dist=worksteal"]
STYLE = (["ruff", "check", "."], ["ruff", "format", "--check", "."])
STATIC = (["mypy"], ["lint-imports"], ["npe2", "validate", "napari-limn"])
TESTS = [*SPREAD, "-m", "not alone"]
# what a window does while something computes is a matter of time
ALONE = ["pytest", "tests/window", "-m", "alone"]
# counting lines takes a fifth of the time
COVERED = [*TESTS, "--cov", "--cov-report="]
COVERED_ALONE = [*ALONE, "--cov", "--cov-append", "--cov-report=term:skip-covered"]
LEFT_OUT = [*SPREAD, "-m", "exhaustive or hypothesis"]
CONTRACTS = ["tests/test_contract.py", "tests/window/test_contract_window.py"]
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL")}  # workers share the cores already


def run(step: list[str], more: dict[str, str] | None = None) -> int:
    """Run one step; give its exit status."""
    sys.stdout.write(f"$ {' '.join(step)}\n")
    sys.stdout.flush()
    program = Path(sys.executable).with_name(step[0])
    return subprocess.run(
        [str(program), *step[1:]], cwd=ROOT, env=os.environ | (more or {}), check=False
    ).returncode


def in_turn(steps: tuple[list[str], ...]) -> int:
    """Run steps until one fails; give its exit status."""
    return next((status for status in map(run, steps) if status), 0)


def tests_beside_static() -> int:
    """Run the tests, and meanwhile, as they use one core, the static checks; show what these say afterwards."""
    with tempfile.TemporaryFile("w+") as said:
        static = subprocess.Popen([sys.executable, __file__, "static"], stdout=said, stderr=subprocess.STDOUT)
        status = run(TESTS, ONE_THREAD)
        status = static.wait() or status
        said.seek(0)
        sys.stdout.write(said.read())
    return status


def exhaustive() -> int:
    """Run what is marked as exhaustive, and property tests from a seed that is printed."""
    seed = f"--hypothesis-seed={secrets.randbelow(1 << 32)}"
    return run([*LEFT_OUT, seed], ONE_THREAD | {"LIMN_EXHAUSTIVE": "1"})


def everything() -> int:
    return in_turn(STYLE) or tests_beside_static() or run(ALONE)


def coverage() -> int:
    return run(COVERED, ONE_THREAD) or run(COVERED_ALONE)


def contract() -> int:
    return run(["pytest", *CONTRACTS], {"LIMN_WRITE_CONTRACT": "1"})


PARTS = {
    "": everything,
    "static": lambda: in_turn(STATIC),
    "exhaustive": exhaustive,
    "coverage": coverage,
    "contract": contract,
}

if __name__ == "__main__":
    sys.exit(PARTS[" ".join(sys.argv[1:])]())
