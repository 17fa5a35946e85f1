"""Peak memory of predicting a large TIFF stack to OME-Zarr: peak RSS minus RSS after the import of torch.

    python benchmarks/memory.py [--planes 256] [--limit 1GB] [--folder /tmp]

The stack is 2048 × 2048 uint16 a plane (256 planes: 2.1 GB) and is made here; the model is the default network, untrained.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

import napari_limn as limn

SIDE = 2048


def make_stack(path: Path, planes: int) -> None:
    rng = np.random.default_rng(0)
    plane = rng.integers(0, 4000, (SIDE, SIDE), np.uint16)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            (np.roll(plane, z, axis=z % 2) for z in range(planes)), shape=(planes, SIDE, SIDE), dtype=np.uint16,
            metadata={"axes": "ZYX"},
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=256)
    parser.add_argument("--limit", default="1GB")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        stack, out = Path(folder) / "stack.tif", Path(folder) / "labels.ome.zarr"
        make_stack(stack, args.planes)
        import torch

        from napari_limn.network.unet import UNet

        torch.manual_seed(0)
        before = psutil.Process().memory_info().rss
        spec = limn.ModelSpec(network=limn.UNetSpec(), classes=limn.Classes((1, 2)))
        model = limn.Model(spec, UNet(spec.network))
        began = time.perf_counter()
        limn.predict(model, stack, out, limn.PredictSpec(memory=args.limit), listen=report)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        voxels = args.planes * SIDE * SIDE
        print(
            f"{voxels * 2 / 1e9:.2f} GB stack, limit {args.limit}: peak RSS − RSS after import of torch = "
            f"{(peak - before) / 1e9:.3f} GB; {took:.0f} s, {1e9 * took / voxels:.0f} ns a voxel"
        )


def report(event: object) -> None:
    if (plan := getattr(event, "plan", None)) is not None:
        print(plan)


if __name__ == "__main__":
    main()
