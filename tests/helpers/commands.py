"""The command line in this process: exit code, JSON line, and what stderr says."""

from __future__ import annotations

import json

from napari_limn.cli import main

FAST = {"steps": 40, "patch": [32, 32], "network": {"width": 4, "factors": [[2, 2], [2, 2]]}}


def run(capsys, *arguments):
    """Exit code, the JSON line if there is one, and what stderr says."""
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    last = out.strip().splitlines()[-1] if out.strip() else ""
    return code, json.loads(last) if last.startswith("{") else None, err


def train(capsys, files, out="model.limn", *more, quiet=True):
    spec = ["--spec", files / "spec.json", "--json", *(["--quiet"] if quiet else [])]
    return run(
        capsys, "train", files / "image.ome.tif", files / "strokes.tif", "-o", files / out, *spec, *more
    )
