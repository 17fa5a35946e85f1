"""A run that is killed goes on from its journal, and leaves the files of a run that was not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import sys, time
from pathlib import Path
import numpy as np
from napari_limn.inference.ledger import Ledger
from napari_limn.volume.writing import layout as shards
from napari_limn.volume.boxes import blocks, slices
from napari_limn.volume.writing.output import create_output, plan_output
from napari_limn.volume.volume import Volume

path, pause = Path(sys.argv[1]), float(sys.argv[2])
shards._SMALLEST, shards._COARSEST, shards._THIN, shards._SOLID = 600, 8, 4, (1, 2, 5, 5)
labels = np.random.default_rng(0).integers(0, 9, (1, 12, 40, 40)).astype("u1")
image, block = Volume.of(np.zeros(labels.shape[1:])), (1, 2, 10, 10)
layout = plan_output(path, image, "u1", block)
with Ledger.open(path, layout.summary) as ledger:
    output = create_output(layout, path, image, {}, {}, done=ledger.done)
    for box in blocks(labels.shape, block):
        if output.missing(box):
            ledger.add(output.write(box, labels[slices(box)]))
            print("block", flush=True)
            time.sleep(pause)
    output.finish()
    ledger.finish()
print("finished", flush=True)
"""


def start(path: Path, pause: float = 0.0):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), str(pause)], stdout=subprocess.PIPE, text=True
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.skipif(os.name == "nt", reason="kills")
@pytest.mark.parametrize("kills", [(17,), pytest.param((5, 17, 30), marks=pytest.mark.exhaustive)], ids=str)
def test_killed_runs_leave_the_files_of_one_that_was_not(tmp_path, kills):
    for name, cuts in (("whole", ()), ("killed", kills)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "labels.ome.zarr"
        for blocks in cuts:
            with start(path, 0.002) as run:
                for _ in range(blocks):
                    assert run.stdout.readline() == "block\n"
                time.sleep(0.001 * blocks)
                run.kill()
            assert not path.exists()
        with start(path) as run:
            assert run.stdout.read().endswith("finished\n")
        if cuts:
            assert files(tmp_path / "killed") == files(tmp_path / "whole")
            assert len(files(path)) > 10
