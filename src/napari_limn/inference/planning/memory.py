"""How much memory a prediction may use.

And the plan that fits into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_limn.device import free_memory, parse_bytes
from napari_limn.errors import LimnError
from napari_limn.inference.planning.plan import choose_plan
from napari_limn.inference.streaming.extents import too_little
from napari_limn.volume.axes import GRID
from napari_limn.volume.decoding.pieces import bytes_of_pieces
from napari_limn.volume.volume import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from napari_limn.inference.planning.plan import Plan
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Grid
    from napari_limn.volume.volume import Volume

_COARSE = 4  # times what a block reads is decoded for it
_SHARE_OF_FREE = 0.5
_DEFAULT_MOST = 4_000_000_000


def memory_limit(memory: int | str | None, device: torch.device) -> int:
    """Return the bytes that a run may use.

    What the user says, else half of what is free, at most 4 GB.
    """
    if memory is not None:
        return parse_bytes(memory)
    return min(_DEFAULT_MOST, int(free_memory(device) * _SHARE_OF_FREE))


def refuse_reading(name: str, reading: int, limit: int) -> None:
    """Refuse an image of which one piece takes more than the limit.

    Raises
    ------
    LimnError
        If decoding a tile, strip or chunk of the image called `name` takes more than `limit` bytes.
    """
    if reading > limit:
        raise LimnError(
            f"{name}: found tiles, strips or chunks so large that decoding one takes {reading / 1e9:.2f} GB, expected at most the "
            f"memory limit of {limit / 1e9:.2f} GB; give more with --memory, or save the image in smaller pieces."
        )


def kept_pieces(volume: Volume, plan: Plan) -> int:
    """Return the bytes of decoded pieces that a run keeps.

    Where a block reads a small part of the pieces that it touches, as of planes that are stored in one strip each, those are kept that
    the next blocks touch too; all of them, if the memory limit allows.

    Returns
    -------
    0 where blocks read most of what is decoded for them, or the limit allows no more.
    """
    seen = {
        a: min(n, b + 2 * h)
        for a, n, b, h in zip(GRID, plan.grid, plan.tile or plan.block, plan.halo, strict=True)
    }
    touched = stored = 0
    for part in getattr(volume.data, "parts", (volume,)):
        sizes = tuple(int(n) for n in part.data.shape)
        extent = tuple(seen.get(a, n) for a, n in zip(part.axes.names, sizes, strict=True))
        here = bytes_of_pieces(part.data, extent)
        if here >= _COARSE * size_in_bytes(extent, part.dtype):
            touched, stored = touched + here, stored + size_in_bytes(sizes, part.dtype)
    spare = plan.limit - plan.peak_bytes
    return next((size for size in (stored, touched) if size <= spare), 0)


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What a prediction may use, and what of it is taken.

    Parameters
    ----------
    limit
        Bytes in all, beyond what the process has before the run.
    output
        Gives the bytes that the output holds at most, with the blocks of a plan: labels in memory, or half-filled shards.
    runtime
        Bytes that a library which computes in PyTorch's place holds for itself.
    reading
        Bytes of stored pieces that are decoded to read a part of them.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> memory = MemoryBudget(2_000_000_000, lambda plan: 100_000_000)
    >>> plan = memory.plan(UNetSpec(), (1, 1, 512, 512))
    >>> plan.peak_bytes - choose_plan(UNetSpec(), (1, 1, 512, 512), memory.limit).peak_bytes
    100000000
    """

    limit: int
    output: Callable[[Plan], int]
    runtime: int = 0
    reading: int = 0

    def lowered(self, limit: int) -> MemoryBudget:
        """Return the same with another limit."""
        return replace(self, limit=limit)

    def plan(self, spec: UNetSpec, grid: Grid, itemsize: int = 4) -> Plan:
        """Choose the fastest plan that fits beside the output and the runtime.

        Parameters
        ----------
        spec, grid, itemsize
            As of :func:`~napari_limn.inference.planning.plan.choose_plan`.

        Returns
        -------
        The plan; its peak includes the output.

        Raises
        ------
        LimnError
            If not even the smallest block fits.
        """
        available = memory = peak = self.limit - self.runtime - self.reading
        while True:
            try:
                plan = choose_plan(spec, grid, memory, itemsize)
            except LimnError as error:
                if memory == available:
                    raise
                raise too_little(available, peak) from error
            peak = plan.peak_bytes + self.output(plan)
            if peak <= available:
                return replace(plan, peak_bytes=peak + self.reading, limit=self.limit)
            memory = (
                plan.peak_bytes - 1
            )  # the next smaller one; with its blocks the output may hold less, too
