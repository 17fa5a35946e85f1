"""One prediction, decided and ready: reads, computes and writes side by side, block by block."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial as bound
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.concurrency import Prefetch
from napari_limn.device import choose_device, free_memory, out_of_memory, parse_bytes, steady_heap, threads
from napari_limn.durable import fingerprint
from napari_limn.errors import LimnError
from napari_limn.inference.engines.blend import BlendEngine
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.measured.precision import Choice, measured_precision
from napari_limn.inference.measured.runtime import Runtime, measured_runtime, served
from napari_limn.inference.planning.plan import Plan, plan_beside
from napari_limn.runs import BlockDone, Event, Warned, Working
from napari_limn.version import __version__
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import blocks, shape_of, shifted
from napari_limn.volume.intensity import Scaling, fit_scaling
from napari_limn.volume.reading.open import identity
from napari_limn.volume.reading.sampling import sample_values
from napari_limn.volume.writing.output import plan_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_limn.inference.ledger import Ledger
    from napari_limn.inference.spec import PredictSpec
    from napari_limn.model import Model
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume
    from napari_limn.volume.writing.layout import Layout
    from napari_limn.volume.writing.output import LabelOutput, Probabilities

_SHARE_OF_FREE = 0.5
_DEFAULT_MOST = 4_000_000_000
_SHRINK = (
    0.6,
    0.8,
    0.95,
)  # of what was planned, after it did not suffice; the first that there are blocks for
_BEAT = 0.25  # seconds between two chances to cancel
_TIMED = 1.5  # seconds of computing that a time is estimated from


@dataclass(slots=True, kw_only=True)
class PredictionRun:
    """Everything that a prediction needs, decided before it begins; make one with :meth:`prepared`."""

    model: Model
    volume: Volume
    spec: PredictSpec
    device: torch.device
    scaling: Scaling
    precision: Choice
    runtime: Runtime
    limit: int
    plan: Plan
    source: str  # identity of the image before the run
    threads: int  # that compute on the CPU
    held: Callable[[Plan], int]  # bytes that the output holds at most with the blocks of a plan

    @classmethod
    def prepared(
        cls,
        model: Model,
        volume: Volume,
        spec: PredictSpec,
        out: Path | LabelOutput,
        recorded: Mapping[str, Any],
    ) -> PredictionRun:
        """Decide what the spec leaves open, and as an earlier run into `out` did where there is a record of it."""
        steady_heap()  # before the first thread that reads
        device = choose_device(spec.device)
        scaling = fit_scaling(volume, model.spec.intensity)
        source = _source(volume)
        name = spec.precision
        if name == "auto" and recorded.get("precision") in ("float32", "bfloat16", "float16"):
            name = recorded["precision"]
        precision = measured_precision(name, model, volume, scaling, device)
        limit = recorded.get("memory") if spec.memory is None else None
        if not isinstance(limit, int):
            limit = _limit(spec.memory, device)
        held = bound(_held, model, volume, spec.probabilities, out)
        plan = plan_beside(held, model.spec.network, volume.grid, limit, precision.dtype.itemsize)
        runtime = measured_runtime(model, volume, scaling, device, precision.dtype, plan, recorded)
        itemsize = precision.dtype.itemsize
        plan = replace(plan, peak_bytes=runtime.peak_bytes(model.spec.network, plan, itemsize))
        return cls(
            model=model, volume=volume, spec=spec, device=device, scaling=scaling, precision=precision,
            runtime=runtime, limit=limit, plan=plan, source=source, held=held, threads=_threads(recorded),
        )  # fmt: skip

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the labels, field by field."""
        plan = self.plan
        return {
            "version": __version__,
            "model": self.model.digest,
            "input": self.source,
            "intensity": str(self.scaling),
            "device": self.device.type,
            "precision": str(self.precision.dtype).removeprefix("torch."),
            "runtime": self.runtime.name,
            "threads": self.threads,
            "memory": self.limit,
            "plan": f"block {plan.block}, tile {plan.tile}, column {plan.column}, swept {plan.swept}",
        }

    def layout(self, path: Path) -> Layout:
        """How a file of this run's labels is cut up.

        Raises
        ------
        LimnError
            If the path says no known format, or the format does not take such labels.
        """
        return _layout(self.model, self.volume, self.spec.probabilities, path, self.plan)

    @property
    def order(self) -> str:
        """Axes of the raster in which blocks come, the outermost first."""
        return _order(self.plan, self.model.spec.network.ndim)

    @property
    def boxes(self) -> Iterator[Box]:
        """Every block of the plan; those of a column end where it does."""
        for column in blocks(self.volume.grid, self.plan.column or self.volume.grid):
            for box in blocks(shape_of(column), self.plan.block):
                yield shifted(box, [-start for start, _ in column])

    def shrink(self, limit: int | None) -> None:
        """Plan anew for less memory.

        Raises
        ------
        LimnError
            If not even the smallest blocks fit.
        """
        if limit is not None:
            itemsize, own = self.precision.dtype.itemsize, self.runtime.own_bytes
            spec = self.model.spec.network
            found = plan_beside(self.held, spec, self.volume.grid, limit - own, itemsize)
            peak = self.runtime.peak_bytes(spec, found, itemsize)
            self.plan = replace(found, peak_bytes=peak, limit=limit)

    def shrink_further(self) -> int:
        """Plan anew after the memory did not suffice for this plan; returns the bytes that the new one may need.

        Raises
        ------
        LimnError
            If there are no smaller blocks.
        """
        planned = self.plan
        for less in (*(int(planned.peak_bytes * share) for share in _SHRINK), planned.peak_bytes - 1):
            with suppress(LimnError):
                self.shrink(less)
                return less
        size = " × ".join(map(str, planned.block))
        raise LimnError(
            f"{self.volume.name}: found less memory than the {planned.peak_bytes / 1e9:.2f} GB that blocks of {size} need, "
            "and this network has no smaller ones; close other programs, or train a narrower network."
        )

    def blocks(self, output: LabelOutput, ledger: Ledger | None = None) -> Iterator[Event]:
        """Compute and write every block that is missing; with less memory from there on where it did not suffice."""
        began = time.perf_counter()
        while True:
            try:
                yield from self._written(output, ledger, began)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            else:
                return
            # behind the clause, since an error keeps alive what it was raised among
            less = self.shrink_further()
            output.forget_unfinished()
            if ledger is not None:
                ledger.note("memory", less)
            yield Warned(f"the memory did not suffice; going on with {self.plan}.")

    def seconds(self) -> float:
        """Estimated time of computing, from the first blocks."""
        ready = Evaluator(self.model, self.volume, self.scaling, self.device, self.precision.dtype)
        batches, share = self._batches(ready, lambda _: True)
        with closing(batches):
            began = time.perf_counter()
            next(batches)
            first = time.perf_counter() - began
            before = now = share(1)
            began = time.perf_counter()
            for blocks_done, _ in enumerate(batches, start=2):
                now = share(blocks_done)
                if time.perf_counter() - began > _TIMED:
                    break
            took = time.perf_counter() - began
        # the first block sets things up, so it only counts where it is the only one
        return took / (now - before) if now > before else first / before

    def refuse_changed(self) -> None:
        """Refuse to call labels whole whose image was changed while they were computed.

        Raises
        ------
        LimnError
            If the image's file is not what it was.
        """
        if _source(self.volume) != self.source:
            raise LimnError(
                f"{self.volume.name}: found it changed since the run began, expected the same file throughout; the labels "
                "stay unfinished: run again with --overwrite."
            )

    # ---- reading | computing | writing ---------------------------------------------------------------------------
    def _written(self, output: LabelOutput, ledger: Ledger | None, began: float) -> Iterator[Event]:
        """Write what is computed in another thread, which takes what is read in a third."""
        total = self.plan.blocks
        with Prefetch(lambda check: self._computed(output.missing, check)) as computed:
            done = total - sum(map(output.missing, self.boxes))
            while True:
                try:
                    found = computed.next_within(_BEAT)
                except StopIteration:
                    return
                if found is None:
                    yield Working()
                    continue
                box, labels, probabilities = found
                finished = output.write(box, labels, probabilities)
                if ledger is not None:
                    ledger.add(finished)
                done += 1
                yield BlockDone(box, done, total, time.perf_counter() - began)

    def _computed(
        self, missing: Callable[[Box], bool], check: Callable[[], None]
    ) -> Iterator[tuple[Box, NDArray[Any], NDArray[Any] | None]]:
        """Blocks with their labels, and probabilities where they are asked for."""
        ready = Evaluator(self.model, self.volume, self.scaling, self.device, self.precision.dtype)
        ready.check = check
        batches, _ = self._batches(ready, missing)
        with closing(batches), threads(self.threads):
            for box, batch in batches:
                wanted = self.spec.probabilities is not None
                scores = (
                    ready.on_grid(batch if self.plan.blended else batch.float().softmax(1))
                    if wanted
                    else None
                )
                yield box, ready.labels(batch), scores

    def _batches(
        self, ready: Evaluator, missing: Callable[[Box], bool]
    ) -> tuple[Any, Callable[[int], float]]:
        """Blocks with their logits, or blended probabilities; and the share of the work that so many of them are."""
        plan = self.plan
        if plan.swept:
            sweep = SweepEngine(ready, plan.block, plan.column)
            return sweep.batches(missing), lambda _: sweep.macs / sweep.planned_macs()
        if plan.tile is not None:
            return BlendEngine(ready, plan.tile).batches(missing), lambda done: done / plan.blocks
        network = served(ready, plan) if self.runtime.served else None
        return BlockEngine(ready, network).batches(self.boxes, missing), lambda done: done / plan.blocks


def _source(volume: Volume) -> str:
    """What tells that an image is not the one it was; samples of its voxels too: not every change shows in the times of a folder."""
    return f"{identity(volume)}, {fingerprint(sample_values(volume).tobytes())}"


def _order(plan: Plan, ndim: int) -> str:
    if not plan.swept:
        return GRID
    seen = sorted(GRID[-ndim:], key=lambda a: -plan.grid[GRID.index(a)])
    return GRID[:-ndim] + "".join(seen)


def _layout(model: Model, volume: Volume, kind: Probabilities | None, path: Path, plan: Plan) -> Layout:
    classes, order = model.spec.classes, _order(plan, model.spec.network.ndim)
    return plan_output(
        path, volume, classes.dtype, plan.block, probabilities=kind, classes=classes.count, order=order
    )


def _held(
    model: Model, volume: Volume, kind: Probabilities | None, out: Path | LabelOutput, plan: Plan
) -> int:
    """Bytes that the output holds: labels in memory, or half-filled shards of a file."""
    if not isinstance(out, Path):
        return out.held_bytes
    return _layout(model, volume, kind, out, plan).buffer_bytes


def _threads(recorded: Mapping[str, Any]) -> int:
    """Threads of a run: those of the journal that it goes on from, else those of this process."""
    found = recorded.get("threads")
    return found if isinstance(found, int) and found > 0 else torch.get_num_threads()


def _limit(memory: int | str | None, device: torch.device) -> int:
    if memory is not None:
        return parse_bytes(memory)
    return min(_DEFAULT_MOST, int(free_memory(device) * _SHARE_OF_FREE))
