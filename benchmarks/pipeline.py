"""The whole pipeline, Zarr to Zarr, against computing alone; also where every read takes half a second longer.

    python benchmarks/pipeline.py [--planes 128] [--rounds 3] [--precision float32]

The same sweep over a volume of `planes` × 512 × 512: from memory into nothing (computing alone), from a Zarr into a sharded pyramid, and that
with 0.5 s of latency for each read. One process, in turn, medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import zarr

import napari_limn as limn
from napari_limn.network.unet import UNet


class Nothing:
    """An output that forgets."""

    def write(self, *_: Any) -> list[int]:
        return []

    def missing(self, _: Any) -> bool:
        return True

    def forget_unfinished(self) -> None:
        return None

    def finish(self) -> None:
        return None

    held_bytes = 0


class Late:
    """An array each read of which takes some seconds longer."""

    def __init__(self, array: Any, seconds: float) -> None:
        self.array, self.seconds, self.shape, self.dtype = array, seconds, array.shape, array.dtype

    def __getitem__(self, index: Any) -> Any:
        time.sleep(self.seconds)
        return self.array[index]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    torch.manual_seed(0)
    network = UNet(limn.UNetSpec(factors=((2, 2, 2),) * 3)).eval()
    model = limn.Model(limn.ModelSpec(network=network.spec, classes=limn.Classes((1, 2))), network)
    spec = limn.PredictSpec(memory="2GB", precision=args.precision)
    with tempfile.TemporaryDirectory() as folder:
        shape = (args.planes, 512, 512)
        data = np.random.default_rng(0).integers(0, 4000, shape, np.uint16)
        stored = zarr.create_array(
            Path(folder) / "image.zarr", shape=shape, chunks=(32, 128, 128), dtype="u2"
        )
        stored[:] = data
        out = Path(folder) / "labels.ome.zarr"
        runs = {
            "computing alone": (data, Nothing()),
            "Zarr to Zarr": (stored, out),
            "Zarr to Zarr, 0.5 s a read": (Late(stored, 0.5), out),
        }
        took: dict[str, list[float]] = {name: [] for name in runs}
        limn.predict(model, data[:32], Nothing(), spec)
        for _ in range(args.rounds):
            for name, (source, target) in runs.items():
                began = time.perf_counter()
                limn.predict(model, limn.Volume.of(source, "ZYX"), target, spec, overwrite=True)
                took[name].append(time.perf_counter() - began)
    for name, each in took.items():
        share = median(a / b for a, b in zip(took["computing alone"], each, strict=True))
        print(
            f"{name}: {median(each):.1f} s, {1e9 * median(each) / data.size:.0f} ns a voxel, {share:.1%} of the throughput of computing alone"
        )


if __name__ == "__main__":
    main()
