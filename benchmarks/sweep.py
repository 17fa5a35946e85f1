"""What a sweep costs over the bare network: time of a sweep ÷ time of forward passes over the same voxels without halo.

    python benchmarks/sweep.py [--ndim 2 3] [--rounds 5] [--dtype float32] [--large]
    … --clock cpu, with OMP_NUM_THREADS=1, on a machine that others use too

Both with batch norms folded, channels last, oneDNN's kernels, the same precision, in one process, in turn; medians. The bare passes are not
exact, they only set the floor. Tiles with a halo would cost the last column times the floor.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from statistics import median
from typing import TYPE_CHECKING

import torch

import napari_limn as limn
from napari_limn.inference.planning.plan import make_plan
from napari_limn.inference.streaming.cost import planned_macs
from napari_limn.inference.streaming.kernels import kernels_of, packed
from napari_limn.inference.streaming.schedule import SweepSchedule
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network.folding import folded
from napari_limn.network.graph import trace
from napari_limn.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = {
    2: (limn.UNetSpec(width=32, factors=((2, 2),) * 4), (2048, 2048), (512, 512), [(256, 512), (256, 256)]),
    3: (limn.UNetSpec(factors=((2, 2, 2),) * 3), (64, 256, 256), (64, 128, 128), [(32, 128, 128), (16, 128, 128)]),
}  # fmt: skip
LARGE = {2: (4096, 4096), 3: (128, 512, 512)}

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ndim", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--large", action="store_true", help="4096² and 128 × 512², in the larger blocks only"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    args = parser.parse_args()
    for ndim in args.ndim:
        spec, extent, tile, blocks = CASES[ndim]
        if args.large:
            extent, blocks = LARGE[ndim], blocks[:1]
        compare(spec, extent, tile, blocks, getattr(torch, args.dtype), args.rounds, CLOCKS[args.clock])


def compare(
    spec: limn.UNetSpec,
    extent: tuple[int, ...],
    tile: tuple[int, ...],
    blocks: list,
    dtype: torch.dtype,
    rounds: int,
    clock: Callable[[], float],
) -> None:
    torch.manual_seed(0)
    layout = torch.channels_last if spec.ndim == 2 else torch.channels_last_3d
    network = packed(folded(UNet(spec)).to(dtype).to(memory_format=layout))
    image = torch.randn(1, 1, *extent).to(dtype).to(memory_format=layout)
    graph, weights = trace(network, 1, (64,) * spec.ndim), dict(network.named_parameters())
    kernels = kernels_of(network)

    @torch.inference_mode()
    def bare() -> float:
        for corner in product(*(range(0, n, t) for n, t in zip(extent, tile, strict=True))):
            part = image[(..., *(slice(a, a + t) for a, t in zip(corner, tile, strict=True)))]
            network(part.contiguous(memory_format=layout))
        return 0

    def swept(block: tuple[int, ...]) -> float:
        sweep = Sweep(graph, weights, extent, block, kernels=kernels)
        for _ in sweep.run(lambda spans: image[(..., *(slice(*span) for span in spans))]):
            pass
        return sweep.macs

    runs = {"bare": bare} | {f"sweep, blocks of {b}": lambda b=b: swept(b) for b in blocks}
    took: dict[str, list[float]] = {name: [] for name in runs}
    work = {}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            began = clock()
            work[name] = run()
            if turn:
                took[name].append(clock() - began)
    whole = planned_macs(SweepSchedule(graph, extent, extent))
    grid = (1,) * (4 - spec.ndim) + extent
    tiles = make_plan(spec, grid, 2_000_000_000).work
    for name, each in took.items():
        ratio = median(a / b for a, b in zip(each, took["bare"], strict=True))
        done = f"{work[name] / whole:.3f}" if work[name] else "1"
        print(
            f"{spec.ndim}D {extent} {name}: {1e9 * median(each) / image.numel():.0f} ns a voxel, {ratio:.2f} × bare, "
            f"multiply-accumulates {done} of one pass; tiles under 2 GB see {tiles:.2f} voxels per voxel"
        )


if __name__ == "__main__":
    main()
