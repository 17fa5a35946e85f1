"""Which library computes: OpenVINO in PyTorch's place where it pays.

It is taken where it is installed, faster, and gives the same labels.

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
from napari_limn.inference.engines.blocks import BlockEngine, input_box
from napari_limn.inference.engines.evaluator import Evaluator, most_likely
from napari_limn.inference.engines.openvino import CompiledNetwork, version
from napari_limn.inference.measured.certificate import middle_piece
from napari_limn.inference.measured.precision import AGREEMENT
from napari_limn.inference.planning.columns import LOOSE, least_alive
from napari_limn.inference.planning.plan import network_bytes
from napari_limn.inference.streaming.extents import as_grid
from napari_limn.volume.boxes import shape_of, size_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_limn.inference.planning.plan import Plan
    from napari_limn.model import Model
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Box, Grid
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
    note
        What was measured, in one sentence; empty where nothing was.
    own_bytes
        Memory that it holds for itself, its copies of the weights with it.
    """

    name: str = TORCH
    note: str = ""
    own_bytes: int = 0

    @property
    def openvino(self) -> bool:
        """Tell whether OpenVINO computes."""
        return self.name != TORCH

    def peak_bytes(self, spec: UNetSpec, plan: Plan, itemsize: int) -> int:
        """Return the memory of a plan that was made for PyTorch.

        OpenVINO forgets what it computed after the last use of it.

        Tiles of another extent, at the border, are PyTorch's, whose memory then comes on top.
        """
        if not self.openvino:
            return plan.peak_bytes
        frame = as_grid(map(min, plan.block, plan.grid))
        own = int(4 * least_alive(spec, frame) * LOOSE) + self.own_bytes
        alike = all(b >= n for b, n in zip(plan.block[-spec.ndim :], plan.grid[-spec.ndim :], strict=True))
        return plan.peak_bytes + own - (network_bytes(spec, plan.block, plan.grid, itemsize) if alike else 0)


def measured_runtime(
    model: Model, volume: Volume, scaling: Scaling, device: torch.device, dtype: torch.dtype, plan: Plan,
    recorded: Mapping[str, Any],
) -> Runtime:  # fmt: skip
    """Choose OpenVINO where it is faster for the same labels.

    That is measured on a piece of the image, where it is installed.

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


def compiled(ready: Evaluator, plan: Plan) -> CompiledNetwork:
    """Compile a network for blocks of the plan's extent."""
    first = tuple((0, n) for n in plan.block)
    extent = shape_of(input_box(ready.spec, plan.grid, _inside(first, plan.grid)))[-ready.spec.ndim :]
    return CompiledNetwork(ready.network, ready.spec.in_channels, extent, lambda: ready.check())


def _compared(ready: Evaluator, plan: Plan, share: float, own: int, model: Model) -> Runtime:
    """Compare PyTorch with OpenVINO on the piece that `ready` holds."""
    bare, box = BlockEngine(ready), whole(ready.volume.grid)
    expected, slow = _timed(bare, box)
    if slow * share < _LEAST or (name := _installed(own).name) == TORCH:
        return Runtime()
    said = name.replace("openvino", "OpenVINO")
    try:
        compiled(ready, plan)  # whether it takes whole blocks, too
        piece = shape_of(input_box(ready.spec, ready.volume.grid, box))[-ready.spec.ndim :]
        other = CompiledNetwork(ready.network, ready.spec.in_channels, piece)
        computed, fast = _timed(BlockEngine(ready, other), box)
    except _REFUSALS as error:
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        return Runtime(note=f"with PyTorch, since {said} does not take this network: {reason}")
    if next(ready.network.parameters()).dtype == torch.float32:
        same = _same(computed, expected)
        what = "the same labels" if same else "other labels"
    else:
        exact = Evaluator(model, ready.volume, ready.scaling, torch.device("cpu"), torch.float32)
        agreement = _agreement(computed, BlockEngine(exact).scores(box))
        same, what = agreement >= AGREEMENT, f"{agreement:.3%} of float32's labels"
    measured = f"{slow / fast:.1f} × as fast as PyTorch, with {what} on a piece of this image"
    if same and slow / fast >= _FASTER:
        return Runtime(name, f"with {said}: {measured}.", own)
    return Runtime(note=f"with PyTorch, since {said} is {measured}.")


def _installed(own: int) -> Runtime:
    """Return OpenVINO, or PyTorch where that is not installed."""
    installed = version()
    return Runtime(f"openvino {installed}", own_bytes=own) if installed else Runtime()


def _timed(engine: BlockEngine, box: Box) -> tuple[torch.Tensor, float]:
    """Compute the logits of a block; time a second pass.

    The first one sets things up.
    """
    logits = engine.scores(box).clone()
    began = time.perf_counter()
    engine.scores(box)
    return logits, time.perf_counter() - began


def _same(computed: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether all labels are the same, and logits nearly.

    False where some are no numbers.
    """
    near = _NEAR * max(1.0, float(expected.std()))
    return bool((computed - expected).abs().max() <= near) and _agreement(computed, expected) == 1


def _agreement(computed: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the share of equal labels."""
    return float((most_likely(computed) == most_likely(expected)).float().mean())


def _most(ndim: int, plan: Plan) -> Grid:
    """Return the extent of the piece: a block, or less.

    As much of one as is quick to compute.
    """
    inner = tuple(min(n, m) for n, m in zip(plan.block[-ndim:], _PIECE[ndim], strict=True))
    if ndim == 3:
        return 1, inner[0], inner[1], inner[2]
    planes = max(1, min(plan.block[1], _PIECE[2][0] * _PIECE[2][1] // (inner[0] * inner[1])))
    return 1, planes, inner[0], inner[1]


def _inside(box: Box, grid: Grid) -> Box:
    """Clip a box to the grid at its far end."""
    return tuple((start, min(stop, n)) for (start, stop), n in zip(box, grid, strict=True))
