"""Everything that the test command checks, in order; stops at the first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["lint-imports"],
    ["npe2", "validate", "napari-limn"],
    ["pytest", "--cov", "--cov-report=term:skip-covered"],
)


def main() -> int:
    for step in STEPS:
        sys.stdout.write(f"$ {' '.join(step)}\n")
        sys.stdout.flush()
        program = Path(sys.executable).with_name(step[0])
        if code := subprocess.run([str(program), *step[1:]], cwd=ROOT, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
