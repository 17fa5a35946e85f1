"""Peak memory of predictions against what was promised: peak RSS minus RSS after the imports, each run in a process of its own.

    python benchmarks/memory.py flat [--sizes 0.25 1 4 16] [--limit 1GB] [--precision bfloat16] [--network NAME]   volumes made on the fly, a small 3D network, Zarr out
    python benchmarks/memory.py promise [--only 0 1 …]                     several networks and limits, one volume each

Volumes hold pseudo-random uint16 voxels that are computed when they are read, 512 × 512 a plane, so only their length differs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

NETWORKS = {
    "3D, width 2, depth 1": {"width": 2, "factors": ((2, 2, 2),)},
    "3D, width 8, depth 1": {"width": 8, "factors": ((2, 2, 2),)},
    "3D, width 16, depth 3": {"width": 16, "factors": ((2, 2, 2),) * 3},
    "3D, width 8, depth 3": {"width": 8, "factors": ((2, 2, 2),) * 3},
    "2D, width 16, depth 3": {"width": 16, "factors": ((2, 2),) * 3},
    "2D, width 16, depth 3, nested": {"width": 16, "factors": ((2, 2),) * 3, "skip": "nested"},
    "2D, width 16, depth 3, attention": {"width": 16, "factors": ((2, 2),) * 3, "skip": "attention"},
    "2D, width 16, depth 3, group norm": {"width": 16, "factors": ((2, 2),) * 3, "norm": "group"},
    "2D, width 32, depth 4": {"width": 32, "factors": ((2, 2),) * 4},
    "2D, width 16, depth 3, residual": {"width": 16, "factors": ((2, 2),) * 3, "block": "residual"},
    "3D, width 5, depth 2": {"width": 5, "factors": ((2, 2, 2),) * 2},
    "3D, width 16, depth 2, attention": {"width": 16, "factors": ((2, 2, 2),) * 2, "skip": "attention"},
    "3D, width 16, depth 2, nested": {"width": 16, "factors": ((2, 2, 2),) * 2, "skip": "nested"},
    "3D, width 16, depth 2, residual": {"width": 16, "factors": ((2, 2, 2),) * 2, "block": "residual"},
}
SHARES = {"classifier alone": 1.0, "classifier by half": 0.5, "classifier unused": 0.0}
NETWORKS |= {
    f"{ndim}D, width 16, depth 3, {name}": {"width": 16, "factors": ((2,) * ndim,) * 3, "share": share}
    for ndim in (2, 3)
    for name, share in SHARES.items()
}
PROMISES = [
    ("3D, width 16, depth 3", (64, 256, 256), "4GB", "float32"),
    ("3D, width 16, depth 3", (64, 256, 256), "4GB", "bfloat16"),
    ("3D, width 16, depth 3", (64, 512, 512), "1GB", "float32"),
    ("3D, width 8, depth 3", (64, 256, 256), "4GB", "float32"),
    ("2D, width 16, depth 3", (1, 4096, 4096), "4GB", "float32"),
    ("2D, width 32, depth 4", (1, 4096, 4096), "4GB", "float32"),
    ("2D, width 32, depth 4", (1, 4096, 4096), "4GB", "bfloat16"),
    ("2D, width 16, depth 3", (64, 1024, 1024), "4GB", "float32"),
    ("3D, width 16, depth 3", (32, 128, 128), "4GB", "float32"),
    ("2D, width 16, depth 3, nested", (64, 512, 512), "4GB", "float32"),
    ("2D, width 16, depth 3, attention", (64, 512, 512), "4GB", "float32"),
    ("2D, width 16, depth 3, group norm", (1, 4096, 4096), "1GB", "float32"),
    ("2D, width 16, depth 3, residual", (64, 512, 512), "4GB", "float32"),
    ("2D, width 16, depth 3, attention", (1, 2048, 2048), "4GB", "float32"),
    ("3D, width 5, depth 2", (32, 128, 128), "4GB", "float32"),
    ("3D, width 16, depth 2, attention", (32, 128, 128), "4GB", "float32"),
    ("3D, width 16, depth 2, nested", (32, 128, 128), "4GB", "float32"),
    ("3D, width 16, depth 2, residual", (32, 128, 128), "4GB", "float32"),
    ("3D, width 16, depth 2, attention", (32, 512, 512), "4GB", "float32"),
]
PROMISES += [
    (f"{ndim}D, width 16, depth 3, {name}", shape, "4GB", "float32")
    for name in SHARES
    for ndim, shape in ((2, (8, 512, 512)), (2, (1, 4096, 4096)), (3, (32, 128, 128)), (3, (64, 512, 512)))
]


class Made:
    """A volume (Z, Y, X) of voxels that depend on their place alone."""

    dtype = np.dtype(np.uint16)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.tile = np.random.default_rng(0).integers(0, 4000, shape[1:], np.uint16)

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        planes, rows, columns = index
        part = self.tile[rows, columns]
        return np.stack([part + np.uint16(z % 7 * 100) for z in range(*planes.indices(self.shape[0]))])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("flat", "promise", "one"))
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.25, 1, 4, 16], help="GB of uint16")
    parser.add_argument("--limit", default="1GB")
    parser.add_argument("--precision", default="bfloat16", help="of flat")
    parser.add_argument("--network", choices=NETWORKS, default="3D, width 8, depth 1", help="of flat")
    parser.add_argument("--only", type=int, nargs="+", help="which of the promises, by number")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "one":
        print(json.dumps(measured(*json.loads(args.case))))
        return
    cases = PROMISES if args.only is None else [PROMISES[n] for n in args.only]
    if args.what == "flat":
        cases = [
            (args.network, (round(size * 1e9 / 2 / 512**2), 512, 512), args.limit, args.precision) for size in args.sizes
        ]  # fmt: skip
    print(
        "| network | voxels | GB | limit | precision | promised GB | measured GB | promised ÷ measured | seconds |\n"
        + "|---" * 9
        + "|"
    )
    for case in cases:
        call = [sys.executable, __file__, "one", "--case", json.dumps(case)]
        found = json.loads(
            subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
        name, shape, limit, precision = case
        print(
            f"| {name} | {' × '.join(map(str, shape))} | {np.prod(shape, dtype=float) * 2 / 1e9:.2f} | {limit} | {precision} | "
            f"{found['promised']:.3f} | {found['peak']:.3f} | {found['promised'] / found['peak']:.2f} | {found['seconds']:.0f} |",
            flush=True,
        )


def measured(name: str, shape: list[int], limit: str, precision: str) -> dict[str, float]:
    """Run one prediction and say what it took."""
    import torch

    import napari_limn as limn
    from napari_limn.events import Planned
    from napari_limn.inference.pipeline import prediction_events
    from napari_limn.network.unet import UNet
    from napari_limn.training.planning.presets import pixel_features

    torch.manual_seed(0)
    spec = limn.UNetSpec(**NETWORKS[name])
    if "share" in NETWORKS[name]:
        spec = replace(spec, pixels=pixel_features(spec.ndim))
    network = UNet(spec).eval()
    model = limn.Model(limn.ModelSpec(network=network.spec, classes=limn.Classes((1, 2))), network)
    volume = limn.Volume.of(Made(tuple(shape)), "ZYX")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began, promised = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        run = prediction_events(
            model,
            volume,
            Path(folder) / "labels.ome.zarr",
            limn.PredictSpec(memory=limit, precision=precision),
        )
        for event in run:
            if isinstance(event, Planned):
                promised = event.plan.peak_bytes
                print(event.plan, file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"promised": promised / 1e9, "peak": (peak - before) / 1e9, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
