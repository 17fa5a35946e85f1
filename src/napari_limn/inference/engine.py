"""Which engine computes a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_limn.inference.engines.blend import BlendEngine
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.measured.runtime import compiled

if TYPE_CHECKING:
    from napari_limn.inference.engines.evaluator import Evaluator
    from napari_limn.inference.engines.protocol import Engine
    from napari_limn.inference.measured.runtime import Runtime
    from napari_limn.inference.planning.plan import Plan


def engine_for(ready: Evaluator, plan: Plan, runtime: Runtime) -> Engine:
    """Make the engine that computes the blocks of a plan.

    Parameters
    ----------
    ready
        The model and the volume.
    plan
        Of the volume, for this network.
    runtime
        The library that computes whole tiles; sweeps and blended tiles are PyTorch's.
    """
    if plan.swept:
        return SweepEngine(ready, plan.block, plan.column)
    if plan.tile is not None:
        return BlendEngine(ready, plan.tile)
    network = compiled(ready, plan) if runtime.openvino else None
    return BlockEngine(ready, network, plan.boxes)
