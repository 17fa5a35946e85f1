"""Everything that the test command checks, in order; stops at the first failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKERS = min(8, os.cpu_count() or 1)
STEPS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["lint-imports"],
    ["npe2", "validate", "napari-limn"],
    ["pytest", "--ignore=tests/window", f"-n{WORKERS}", "--dist=worksteal", "--cov", "--cov-report="],
    # alone: what a window does while something computes is a matter of time
    ["pytest", "tests/window", "--cov", "--cov-append", "--cov-report=term:skip-covered"],
)
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL")}  # workers share the cores already


def main() -> int:
    for step in STEPS:
        sys.stdout.write(f"$ {' '.join(step)}\n")
        sys.stdout.flush()
        program = Path(sys.executable).with_name(step[0])
        more = ONE_THREAD if f"-n{WORKERS}" in step else {}
        done = subprocess.run([str(program), *step[1:]], cwd=ROOT, env=os.environ | more, check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
