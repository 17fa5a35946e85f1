"""Kill a prediction at random moments, take it up again each time, and compare its files with those of one that was left alone.

    python benchmarks/killing.py [--kills 20] [--seed 0] [--planes 96]

A volume of `planes` × 512 × 512 into a sharded OME-Zarr, each run in a process of its own, killed with SIGKILL a random time after
it has begun to compute: `--kills` runs come about as far as one that is left alone. Told are the blocks that were computed and
had to be computed again, and how many kills came when the run had written blocks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import zarr

import napari_limn as limn
from napari_limn.network.unet import UNet

CHILD = """
import sys
import napari_limn as limn
from napari_limn.events import BlockDone, Planned
def heard(event):
    if isinstance(event, Planned):
        print("computing", flush=True)
    if isinstance(event, BlockDone):
        print(event.done, event.total, flush=True)
spec = limn.PredictSpec(memory="1GB", precision="float32")
limn.predict(sys.argv[1], sys.argv[2], sys.argv[3], spec, listen=heard)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--planes", type=int, default=96)
    args = parser.parse_args()
    chance = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model, image = prepare(root, args.planes)
        (root / "once").mkdir()
        (root / "again").mkdir()
        began = time.perf_counter()
        process = start(model, image, root / "once" / "labels.ome.zarr")
        process.stdout.readline()
        first = time.perf_counter() - began  # imports and plans
        process.communicate()
        if process.returncode:
            sys.exit("the undisturbed run failed")
        took = time.perf_counter() - began
        expected = digests(root / "once")
        path, kills, reached, lost = root / "again" / "labels.ome.zarr", 0, 0, []
        while kills < args.kills and not path.exists():
            process = start(model, image, path)
            process.stdout.readline()
            time.sleep(chance.uniform(0, 2 * (took - first) / args.kills))
            ended = process.poll() is not None
            process.kill()
            told = [int(line.split()[0]) for line in process.communicate()[0].splitlines()]
            kills += not ended
            if told:
                lost.append(max(0, reached - told[0] + 1))
                reached = told[-1]
        start(model, image, path).communicate()
        same = digests(root / "again") == expected
    print(
        f"undisturbed {took:.0f} s, {first:.0f} of them before it computes; {kills} kills amid computing, {len(lost)} of them after "
        f"blocks were written; files {'byte-identical' if same else 'DIFFER'}; "
        f"blocks computed again after a kill: {sorted(lost)}"
    )
    if not same or kills < args.kills:
        sys.exit(1)


def prepare(root: Path, planes: int) -> tuple[Path, Path]:
    torch.manual_seed(0)
    network = UNet(limn.UNetSpec(width=8, factors=((2, 2, 2),) * 2, out_channels=3)).eval()
    spec = limn.ModelSpec(network=network.spec, classes=limn.Classes((1, 2, 3)))
    model = limn.Model(spec, network).save(root / "model.limn")
    shape = (planes, 512, 512)
    stored = zarr.create_array(root / "image.zarr", shape=shape, chunks=(32, 128, 128), dtype="u2")
    stored[:] = np.random.default_rng(0).integers(0, 4000, shape, np.uint16)
    return model, root / "image.zarr"


def start(model: Path, image: Path, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(model), str(image), str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    main()
