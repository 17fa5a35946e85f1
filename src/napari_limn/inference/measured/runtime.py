"""Which library computes: OpenVINO in PyTorch's place where it is installed, faster, and gives the same labels.

Only on a CPU, and only where whole frames (or tiles) of one extent go through the network: a sweep computes layer by layer,
where OpenVINO gains nothing. What was chosen is in the journal of a run, and a run that goes on computes as it began.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.errors import LimnError
from napari_limn.inference.engines.blocks import BlockEngine, window_of
from napari_limn.inference.engines.evaluator import Evaluator, most_likely
from napari_limn.inference.engines.openvino import Served, version
from napari_limn.inference.measured.certificate import middle_piece
from napari_limn.inference.measured.precision import AGREEMENT
from napari_limn.inference.planning.columns import LOOSE, least_alive
from napari_limn.inference.planning.plan import network_bytes
from napari_limn.inference.streaming.extents import on_grid
from napari_limn.volume.boxes import shape_of, size_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_limn.inference.planning.plan import Plan
    from napari_limn.inference.streaming.extents import Grid
    from napari_limn.model import Model
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling
    from napari_limn.volume.volume import Volume

TORCH = "torch"

_PIECE = {2: (384, 384), 3: (16, 96, 96)}  # voxels at most along [Z,] Y and X
_WORTH = 32  # pieces that an image must hold for the measurement to pay
_LEAST = 10.0  # seconds that PyTorch must take for the image: to load OpenVINO takes one
_FASTER = 1.1
_NEAR = 1e-4  # difference of float32 logits, in their standard deviations where these are above 1
_OWN = 95_000_000  # bytes that OpenVINO holds for itself, measured: 92 MB
_PER_WEIGHT = 12  # bytes: its own copy of a weight, and another in the order that its kernels want

# what OpenVINO raises for what it does not take, and Python for functions that another version of it has otherwise
_REFUSALS = (LimnError, RuntimeError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The library that computes.

    Parameters
    ----------
    name
        ``"torch"``, or ``"openvino"`` and its version.
    told
        What was measured, in one sentence; empty where nothing was.
    own_bytes
        Memory that it holds for itself, its copies of the weights with it.
    """

    name: str = TORCH
    told: str = ""
    own_bytes: int = 0

    @property
    def served(self) -> bool:
        """Whether OpenVINO computes."""
        return self.name != TORCH

    def peak_bytes(self, spec: UNetSpec, plan: Plan, itemsize: int) -> int:
        """Memory of a plan that was made for PyTorch: OpenVINO forgets what it computed after the last use of it.

        Tiles of another extent, at the border, are PyTorch's, whose memory then comes on top.
        """
        if not self.served:
            return plan.peak_bytes
        frame = on_grid(map(min, plan.block, plan.grid))
        own = int(4 * least_alive(spec, frame) * LOOSE) + self.own_bytes
        alike = all(b >= n for b, n in zip(plan.block[-spec.ndim :], plan.grid[-spec.ndim :], strict=True))
        return plan.peak_bytes + own - (network_bytes(spec, plan.block, plan.grid, itemsize) if alike else 0)


def measured_runtime(
    model: Model, volume: Volume, scaling: Scaling, device: torch.device, dtype: torch.dtype, plan: Plan,
    recorded: Mapping[str, Any],
) -> Runtime:  # fmt: skip
    """OpenVINO where it is installed and, on a piece of the image, faster than PyTorch for the same labels.

    In float32 all labels of the piece must be the same and logits within 1e-4; in bfloat16 at least 99.95 % of the labels
    must be those of float32. Images that PyTorch is done with in seconds are not measured, nor is what is recorded: that run
    goes on as it began, or is refused by its journal where another OpenVINO, or none, is installed now.
    """
    own = _OWN + _PER_WEIGHT * sum(weight.numel() for weight in model.network.parameters())
    if recorded:
        return Runtime() if recorded.get("runtime", TORCH) == TORCH else _installed(own)
    if device.type != "cpu" or find_spec("openvino") is None:
        return Runtime()
    whole_tiles = not plan.swept and not plan.blended and plan.peak_bytes + own <= plan.limit
    most = _most(model.spec.network.ndim, plan)
    share = size_of(whole(volume.grid)) / size_of(whole(most))
    if not whole_tiles or share < _WORTH:
        return Runtime()
    return _compared(
        Evaluator(model, middle_piece(volume, most), scaling, device, dtype), plan, share, own, model
    )


def served(ready: Evaluator, plan: Plan) -> Served:
    """The network of an evaluator, computed by OpenVINO for blocks of the extent of the plan's first."""
    first = tuple((0, n) for n in plan.block)
    extent = shape_of(window_of(ready.spec, plan.grid, _inside(first, plan.grid)))[-ready.spec.ndim :]
    return Served(ready.network, ready.spec.in_channels, extent, lambda: ready.check())


def _compared(ready: Evaluator, plan: Plan, share: float, own: int, model: Model) -> Runtime:
    """PyTorch against OpenVINO on the piece that `ready` holds."""
    bare, box = BlockEngine(ready), whole(ready.volume.grid)
    expected, slow = _timed(bare, box)
    if slow * share < _LEAST or (name := _installed(own).name) == TORCH:
        return Runtime()
    said = name.replace("openvino", "OpenVINO")
    try:
        served(ready, plan)  # whether it takes whole blocks, too
        piece = shape_of(window_of(ready.spec, ready.volume.grid, box))[-ready.spec.ndim :]
        other = Served(ready.network, ready.spec.in_channels, piece)
        found, fast = _timed(BlockEngine(ready, other), box)
    except _REFUSALS as error:
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        return Runtime(told=f"with PyTorch, since {said} does not take this network: {reason}")
    if next(ready.network.parameters()).dtype == torch.float32:
        same = _same(found, expected)
        what = "the same labels" if same else "other labels"
    else:
        exact = Evaluator(model, ready.volume, ready.scaling, torch.device("cpu"), torch.float32)
        agreement = _agreement(found, next(BlockEngine(exact).batches([box]))[1])
        same, what = agreement >= AGREEMENT, f"{agreement:.3%} of float32's labels"
    measured = f"{slow / fast:.1f} × as fast as PyTorch, with {what} on a piece of this image"
    if same and slow / fast >= _FASTER:
        return Runtime(name, f"with {said}: {measured}.", own)
    return Runtime(told=f"with PyTorch, since {said} is {measured}.")


def _installed(own: int) -> Runtime:
    """OpenVINO, or PyTorch where that is not installed."""
    found = version()
    return Runtime(f"openvino {found}", own_bytes=own) if found else Runtime()


def _timed(engine: BlockEngine, box: Box) -> tuple[torch.Tensor, float]:
    """Logits of a block, and the seconds of a second pass; the first one sets things up."""
    logits = next(engine.batches([box]))[1].clone()
    began = time.perf_counter()
    next(engine.batches([box]))
    return logits, time.perf_counter() - began


def _same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether all labels are the same, and logits but for rounding; False where some are no numbers."""
    near = _NEAR * max(1.0, float(expected.std()))
    return bool((found - expected).abs().max() <= near) and _agreement(found, expected) == 1


def _agreement(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Share of equal labels."""
    return float((most_likely(found) == most_likely(expected)).float().mean())


def _most(ndim: int, plan: Plan) -> Grid:
    """Extent of the piece: that of a block, or as much of one as is quick to compute."""
    inner = tuple(min(n, m) for n, m in zip(plan.block[-ndim:], _PIECE[ndim], strict=True))
    if ndim == 3:
        return 1, inner[0], inner[1], inner[2]
    planes = max(1, min(plan.block[1], _PIECE[2][0] * _PIECE[2][1] // (inner[0] * inner[1])))
    return 1, planes, inner[0], inner[1]


def _inside(box: Box, grid: Grid) -> Box:
    """A box, no longer than the grid."""
    return tuple((start, min(stop, n)) for (start, stop), n in zip(box, grid, strict=True))
