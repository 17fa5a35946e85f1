"""Tiles and sweeps against whole-image inference: largest difference of logits, and labels that differ.

Both by the same arithmetic (batch norms folded, channels last); for padded networks also the largest difference from the
plain module on the whole image, which rounds otherwise.

    python benchmarks/exactness.py [--limits 0.25 0.5 1 2] [--ndim 2 3]

For networks over planes and volumes, padded and unpadded, on images of odd size, for every block that the planner chooses
under the memory limits given (GB), and every smaller one on the grid.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
import torch

import napari_limn as limn
from napari_limn.errors import LimnError
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.planning.plan import footprints_on_grid, make_plan
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.intensity import fit_scaling

SHAPES = {2: (731, 997), 3: (21, 61, 75)}
FACTORS = {2: ((2, 2),) * 4, 3: ((1, 2, 2), (2, 2, 2), (2, 2, 2))}


def network(ndim: int, padding: str, skip: str, down: str) -> UNet:
    norm = "batch" if padding == "same" else "none"
    spec = limn.UNetSpec(
        factors=FACTORS[ndim],
        width=8 if ndim == 2 else 4,
        padding=padding,
        skip=skip,
        down=down,
        norm=norm,
        out_channels=3,
    )
    net = UNet(spec)
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval()


def sizes(spec: limn.UNetSpec, grid: tuple[int, ...], limits: list[float]) -> list[tuple[int, ...]]:
    """Blocks of the planner under each limit, and squares of 2, 4 and 8 strides (cubes of 8)."""
    found = set()
    for limit in limits:
        try:
            found.add(make_plan(spec, grid, int(limit * 1e9)).block)
        except LimnError:
            continue
    steps = [f.step for f in footprints_on_grid(spec)]
    return sorted(
        found | {tuple(s * n if s > 1 else 1 for s in steps) for n in ((2, 4, 8) if spec.ndim == 2 else (8,))}
    )


@torch.inference_mode()
def one_pass(model: limn.Model, volume: limn.Volume) -> np.ndarray:
    """Logits (K, T, Z, Y, X) of the module itself on the whole image."""
    image = torch.from_numpy(fit_scaling(volume).apply(volume.read(whole(volume.grid))))
    planes = model.spec.network.ndim == 2
    found = model.network(image[:, 0, 0][None] if planes else image[:, 0][None])[0].numpy()
    return found[:, None, None] if planes else found[:, None]


def evaluated(ready: Evaluator, block: tuple[int, ...], way: str) -> object:
    """Every block with its logits, in a sweep or tile by tile."""
    if way == "sweep":
        return SweepEngine(ready, block).logits()
    engine = BlockEngine(ready)
    return ((box, engine.logits(box)) for box in blocks(ready.volume.grid, block))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limits", type=float, nargs="+", default=[0.25, 0.3, 0.5, 1, 2, 4])
    parser.add_argument("--ndim", type=int, nargs="+", default=[2, 3])
    args = parser.parse_args()
    worst, apart, flipped, count = 0.0, 0.0, 0, 0
    for ndim, padding, skip, down in product(
        args.ndim, ("same", "valid"), ("concat", "attention", "nested"), ("max", "strided")
    ):
        torch.manual_seed(0)
        net = network(ndim, padding, skip, down)
        shape = SHAPES[ndim]
        volume = limn.open_volume(
            np.random.default_rng(1).integers(0, 255, shape, np.uint8), axes="ZYX"[-ndim:]
        )
        model = limn.Model(limn.ModelSpec(network=net.spec, classes=limn.Classes((1, 2, 3))), net)
        ready = Evaluator(model, volume, fit_scaling(volume), torch.device("cpu"), torch.float32)
        one = BlockEngine(ready).logits(whole(volume.grid))
        if padding == "same":
            apart = max(apart, float(np.abs(one - one_pass(model, volume)).max()))
        for block in sizes(net.spec, volume.grid, args.limits):
            for way in ("tiles", "sweep"):
                cut = np.full_like(one, np.nan)
                for box, logits in evaluated(ready, block, way):
                    cut[(slice(None), *slices(box))] = logits
                difference = float(np.abs(cut - one).max())
                flips = int((cut.argmax(0) != one.argmax(0)).sum())
                worst, flipped, count = max(worst, difference), flipped + flips, count + 1
                print(
                    f"{ndim}D {padding:5} {skip:9} {down:7} {way} {block}: {difference:.1e}, {flips} labels differ"
                )
    print(f"{count} ways to cut: largest difference {worst:.1e}, {flipped} labels differ")
    print(f"largest difference of one pass from the plain module: {apart:.1e}")


if __name__ == "__main__":
    main()
