"""Kill napari at random moments while strokes are painted, and see that no finished stroke is lost.

    python benchmarks/painting_killed.py [--kills 20] [--seed 0]     (under a display, or xvfb-run)

A process opens a real window, brings back the strokes that its journal holds, and paints more with a simulated mouse; now and then
it presses Ctrl-Z, Ctrl-Shift-Z or the Undo button. After each of these it tells how many records there are and a hash of the layer.
It is killed with SIGKILL some time later, every fifth time already while it opens. Then the journal is replayed: as far as each
hash that was told, it must give those very labels, and have at most the one record more that was told too late. Every second
process paints on an image of 30 GB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import zarr

from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.annotation.journal.sparse_labels import PaintStore

_STARTS = 120  # seconds that a window may take to open
_PAINTS = 6  # seconds at most that it paints before it is killed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = np.random.default_rng(args.seed)
    totals = {"told": 0, "beyond": 0, "wrong": 0}
    with tempfile.TemporaryDirectory() as folder:
        images = [
            image(Path(folder), "small.zarr", (1500, 2000)),
            image(Path(folder), "huge.zarr", (1000, 4096, 3662)),
        ]
        before = [0, 0]
        for number in range(args.kills):
            which = number % 2
            told = one_kill(images[which], chance, early=number % 5 == 4)
            found = verify(images[which], told, before[which])
            before[which] = found["records"]
            for key in totals:
                totals[key] += found[key]
            print(f"kill {number + 1}: {images[which].name}: {found}", flush=True)
    print(
        f"{args.kills} kills; {totals['told']} finished strokes and undos told, {totals['wrong']} of them lost or other than in "
        f"the layer; {totals['beyond']} more were in the journal when the process was killed before it could tell"
    )
    if totals["wrong"] or totals["beyond"] > args.kills:
        sys.exit(1)


def image(folder: Path, name: str, shape: tuple[int, ...]) -> Path:
    chunks = (1,) * (len(shape) - 2) + (512, 512)
    stored = zarr.create_array(folder / name, shape=shape, chunks=chunks, dtype="u2", fill_value=0)
    stored[(0,) * (len(shape) - 2)] = 9
    return folder / name


def one_kill(path: Path, chance: np.random.Generator, *, early: bool) -> list[tuple[int, str]]:
    """Start a window, kill it, and give back what it told: number of records, and hash of the layer."""
    log = path.with_suffix(".told")
    log.write_text("")
    command = [sys.executable, str(Path(__file__).with_name("painting_child.py")), str(path), str(log)]
    command += [str(int(chance.integers(1 << 30)))]
    if not os.environ.get("DISPLAY"):
        sys.exit(
            'needs a display: xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/painting_killed.py'
        )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    began = time.monotonic()
    if early:
        time.sleep(chance.uniform(2, 12))
    else:
        assert process.stdout is not None
        if "painting" not in process.stdout.readline():
            sys.exit("the window did not open")
        time.sleep(chance.uniform(0.05, _PAINTS))
    assert time.monotonic() - began < _STARTS
    if process.poll() is not None:
        sys.exit("the window ended by itself")
    process.kill()
    process.communicate()
    whole = log.read_text().rpartition("\n")[0].splitlines()
    return [(int(line.split()[0]), line.split()[1]) for line in whole]


def verify(path: Path, told: list[tuple[int, str]], before: int) -> dict[str, int]:
    journal = path.with_name(path.name + ".strokes.jsonl")
    if not journal.exists():
        return {"told": len(told), "records": 0, "beyond": 0, "wrong": sum(n > 0 for n, _ in told)}
    contents = read_journal(journal)
    records = len(contents.records)
    wrong = sum(n > records or digest(replay(contents, n)) != expected for n, expected in told)
    lost = max(0, before - records)  # of earlier processes
    reached = told[-1][0] if told else before
    return {"told": len(told), "records": records, "beyond": max(0, records - reached), "wrong": wrong + lost}


def digest(data: PaintStore | np.ndarray) -> str:
    """A hash of an array of labels and of where in it they are."""
    store = data
    if isinstance(data, np.ndarray):
        store = PaintStore(data.shape, data.dtype)
        store[...] = data
    found = sha256(repr((store.shape, store.dtype)).encode())
    for box in store.boxes():
        part = store.read(box)
        if part.any():
            found.update(repr(box).encode() + part.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
