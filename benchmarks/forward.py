"""The forward pass by itself: a module as a naive plugin calls it, against the same made ready by the engine.

    python benchmarks/forward.py [--rounds 7]
    … --clock cpu, with OMP_NUM_THREADS=1, on a machine that others use too

Eager float32 with gradients on and planar memory, against batch norms folded, channels last, oneDNN's kernels, no gradients, in float32 and bfloat16;
one process, in turn, medians. Also the time of making ready, and of finding the largest logit in two ways.
"""

from __future__ import annotations

import argparse
import time
from copy import deepcopy
from statistics import median
from typing import TYPE_CHECKING

import torch

import napari_limn as limn
from napari_limn.device import channels_last
from napari_limn.inference.engines.evaluator import most_likely
from napari_limn.inference.streaming.kernels import packed
from napari_limn.network.folding import folded
from napari_limn.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = {
    "2D, width 32, depth 4, 512²": (limn.UNetSpec(width=32, factors=((2, 2),) * 4, out_channels=3), (512, 512)),
    "3D, width 16, depth 3, 32 × 128²": (limn.UNetSpec(factors=((2, 2, 2),) * 3, out_channels=3), (32, 128, 128)),
}  # fmt: skip

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    args = parser.parse_args()
    rounds, clock = args.rounds, CLOCKS[args.clock]
    for name, (spec, extent) in CASES.items():
        torch.manual_seed(0)
        naive = UNet(spec).eval()
        began = time.perf_counter()
        ready = {d: made_ready(naive, d) for d in (torch.float32, torch.bfloat16)}
        prepared = time.perf_counter() - began
        image = torch.randn(1, 1, *extent)
        logits = ready[torch.float32](image.to(memory_format=channels_last(spec.ndim))).detach()
        runs: dict[str, Callable[[], object]] = {"eager float32, gradients on": lambda m=naive, x=image: m(x)}
        for dtype, network in ready.items():
            batch = image.to(dtype).to(memory_format=channels_last(spec.ndim))
            runs[f"made ready, {str(dtype)[6:]}"] = lambda n=network, x=batch: quiet(n, x)
        runs |= {"argmax": lambda x=logits: x.argmax(1), "comparisons": lambda x=logits: most_likely(x)}
        took = {what: [] for what in runs}
        for turn in range(rounds + 1):
            for what, run in runs.items():
                began = clock()
                run()
                if turn:
                    took[what].append(clock() - began)
        print(f"{name}: both made ready in {prepared:.2f} s")
        for what, each in took.items():
            ratio = median(a / b for a, b in zip(took["eager float32, gradients on"], each, strict=True))
            print(f"  {what}: {1e9 * median(each) / image.numel():.0f} ns a voxel, {ratio:.2f} × as fast")


def made_ready(network: UNet, dtype: torch.dtype) -> UNet:
    return packed(folded(deepcopy(network)).to(dtype).to(memory_format=channels_last(network.spec.ndim)))


@torch.inference_mode()
def quiet(network: UNet, batch: torch.Tensor) -> torch.Tensor:
    return network(batch)


if __name__ == "__main__":
    main()
