"""The layers of a network in a sweep, and the edges between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.network.bank import gaussian_features, local_deviation
from napari_limn.network.graph import Op
from napari_limn.network.intervals import STILL

if TYPE_CHECKING:
    from napari_limn.network.graph import Graph

Span = tuple[int, int]
Spans = tuple[Span, ...]

_PASSED = set("dropout dropout2d dropout3d contiguous clone detach to float bfloat16 half".split())  # noqa: SIM905
_CUTS = {"narrow", "getitem"}
FILTERS = {"gaussian_features": gaussian_features, "local_deviation": local_deviation}
WINDOWS = {"conv2d", "conv3d", "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d", *FILTERS}
SPREADS = {"conv_transpose2d", "conv_transpose3d"}


@dataclass(slots=True, eq=False)
class Edge:
    """From a stage to one that needs its output, shifted.

    By what was cut off between.
    """

    source: int
    shift: tuple[int, ...]
    starts: list[list[int]] = field(default_factory=list)  # per axis and block: the first sample still needed


@dataclass(slots=True)
class Stage:
    """One layer: an operation, what it reads, and pointwise functions.

    They are applied to its output in place.
    """

    op: Op
    index: int  # in the graph
    operands: list[list[Edge]]
    then: list[Op] = field(default_factory=list)
    readers: list[Edge] = field(default_factory=list)

    def edges(self) -> list[Edge]:
        """List all that it reads."""
        return [edge for operand in self.operands for edge in operand]


class NotStreamableError(LimnError):
    """An operation that can be tiled, but not swept."""


def stages_of(graph: Graph) -> list[Stage]:
    """Make layers of a graph.

    Concatenations and cuts become edges, pointwise functions join what they follow.
    """
    uses = [0] * len(graph.ops)
    for index, op in reversed(list(enumerate(graph.ops))):
        for i in set(op.inputs):
            uses[i] += uses[index] if op.name in _PASSED else 1
    stages: list[Stage] = []
    # of each operation: sources and shifts, side by side
    values: list[list[tuple[int, tuple[int, ...]]]] = []
    for index, op in enumerate(graph.ops):
        inputs = [values[i] for i in op.inputs]
        if op.name in _PASSED and len(inputs) == 1:
            values.append(inputs[0])
        elif op.name in ("cat", "concat"):
            values.append([source for value in inputs for source in value])
        elif op.name in _CUTS and op.channels == graph.ops[op.inputs[0]].channels:
            cut = [int(move.first) for move in op.intervals]
            values.append(
                [(s, tuple(a + b for a, b in zip(shift, cut, strict=True))) for s, shift in inputs[0]]
            )
        elif (
            _still(op) and len(inputs) == 1 and len(inputs[0]) == 1 and uses[op.inputs[0]] == 1 and inputs[0][0][0]
            and not any(inputs[0][0][1]) and op.func is not None and not op.name.startswith("conv")
        ):  # fmt: skip
            stages[inputs[0][0][0]].then.append(op)
            values.append(inputs[0])
        else:
            _refuse(op)
            operands = [[Edge(s, shift) for s, shift in value] for value in inputs]
            stages.append(Stage(op, index, operands))
            values.append([(len(stages) - 1, (0,) * len(op.intervals))])
    if len(values[-1]) != 1 or any(values[-1][0][1]) or values[-1][0][0] != len(stages) - 1:
        last = Op("output", (len(graph.ops) - 1,), (STILL,) * len(graph.traced), graph.ops[-1].channels)
        stages.append(Stage(last, len(graph.ops) - 1, [[Edge(s, shift) for s, shift in values[-1]]]))
    for stage in stages:
        for edge in stage.edges():
            stages[edge.source].readers.append(edge)
    return stages


def _still(op: Op) -> bool:
    """Tell whether an operation is pointwise.

    Every voxel of its output needs the same voxel of its inputs only.
    """
    return all(move == STILL for move in op.intervals)


def _refuse(op: Op) -> None:
    """Raise for what no sweep is written for."""
    known = WINDOWS | SPREADS | {"interpolate", "input"}
    padded_pool = "pool" in op.name and any(op.each("padding", 0))
    if (op.name not in known and not _still(op)) or (padded_pool and op.name.startswith("avg")):
        raise NotStreamableError(f"{op.name} cannot be swept over an image; it is tiled.")
