"""OpenVINO against PyTorch on the CPU: bare passes of the network made ready, and whole predictions with and without it.

    python benchmarks/vino.py [--rounds 5] [--threads 1] [--passes] [--whole]

Batch norms folded, channels last, no gradients; one process, in turn, medians; ratios of each round, so that what else runs
weighs less. The time of a whole prediction with OpenVINO includes that of measuring, loading and compiling it.
"""

from __future__ import annotations

import argparse
import time
from copy import deepcopy
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

import napari_limn as limn
from napari_limn.device import channels_last
from napari_limn.events import Noted
from napari_limn.inference.engines.openvino import CompiledNetwork, version
from napari_limn.inference.measured import runtime
from napari_limn.network.folding import folded
from napari_limn.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = {
    "2D, width 32, depth 4, 512²": (limn.UNetSpec(width=32, factors=((2, 2),) * 4, out_channels=3), (512, 512)),
    "3D, width 16, depth 3, 32 × 128²": (limn.UNetSpec(factors=((2, 2, 2),) * 3, out_channels=3), (32, 128, 128)),
}  # fmt: skip
FRAMES = {2: 24, 3: 24}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--passes", action="store_true", help="only the passes")
    parser.add_argument("--whole", action="store_true", help="only whole predictions")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"OpenVINO {version()}, PyTorch {torch.__version__}, {args.threads} threads, {args.rounds} rounds")
    for name, (spec, extent) in CASES.items():
        torch.manual_seed(0)
        network = UNet(spec).eval()
        if not args.whole:
            for dtype in (torch.float32, torch.bfloat16):
                passes(name, network, extent, dtype, args.rounds)
        if not args.passes:
            predictions(name, network, extent, args.rounds)


@torch.inference_mode()
def passes(name: str, network: UNet, extent: tuple[int, ...], dtype: torch.dtype, rounds: int) -> None:
    layout = channels_last(network.spec.ndim)
    ready = folded(deepcopy(network)).to(dtype).to(memory_format=layout)
    batch = torch.randn(1, 1, *extent).to(dtype).to(memory_format=layout)
    began = time.perf_counter()
    served = CompiledNetwork(ready, 1, extent)
    built = time.perf_counter() - began
    torchs, ours = interleaved(lambda: ready(batch), lambda: served(batch), rounds)
    differ = float((ready(batch).float() - served(batch)).abs().max())
    each = 1e9 / batch.numel()
    print(
        f"{name}, {str(dtype)[6:]}: PyTorch {median(torchs) * each:.0f}, OpenVINO {median(ours) * each:.0f} ns a voxel, "
        f"{ratios(torchs, ours)} × as fast; built in {built:.2f} s; logits differ by {differ:.1e} at most",
        flush=True,
    )


def predictions(name: str, network: UNet, extent: tuple[int, ...], rounds: int) -> None:
    model = limn.Model(limn.ModelSpec(network=network.spec, classes=limn.Classes((1, 2, 3))), network)
    shape = (FRAMES[network.spec.ndim], *extent)
    image = np.random.default_rng(0).integers(0, 4000, shape, np.uint16)
    volume = limn.Volume.of(image, "TYX" if network.spec.ndim == 2 else "TZYX")
    heard: list[str] = []
    found: dict[bool, np.ndarray] = {}
    there = runtime.find_spec

    def run(with_it: bool) -> None:
        runtime.find_spec = there if with_it else lambda _: None
        spec = limn.PredictSpec(memory="4GB", precision="float32", device="cpu")
        heard.clear()
        found[with_it] = limn.predict(
            model,
            volume,
            spec=spec,
            listen=lambda e: heard.append(e.message) if isinstance(e, Noted) else None,
        )

    without, with_it = interleaved(lambda: run(with_it=False), lambda: run(with_it=True), rounds)
    print(
        f"{name}, {shape[0]} frames predicted, float32: {median(without):.1f} s without, {median(with_it):.1f} s with OpenVINO, "
        f"{ratios(without, with_it)} × as fast; {(found[True] != found[False]).sum()} of {image.size} labels differ; "
        f"it said: {'; '.join(heard) or 'nothing'}",
        flush=True,
    )


def interleaved(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of each, in turn; a first round is not counted."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for each, run in zip(took, (first, second), strict=True):
            began = time.perf_counter()
            run()
            if turn:
                each.append(time.perf_counter() - began)
    return took


def ratios(slow: list[float], fast: list[float]) -> str:
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


if __name__ == "__main__":
    main()
