"""One prediction, decided and ready: reads, computes and writes side by side."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial as bound
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.concurrency import Prefetch
from napari_limn.device import choose_device, out_of_memory, steady_heap, threads
from napari_limn.errors import LimnError
from napari_limn.files.durable import fingerprint
from napari_limn.inference.engine import engine_for
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.measured.precision import Choice, measured_precision, name_of
from napari_limn.inference.measured.runtime import Runtime, measured_runtime
from napari_limn.inference.numerics import numerics, taken_over
from napari_limn.inference.planning.memory import MemoryBudget, kept_pieces, memory_limit, refuse_reading
from napari_limn.inference.unscored import Unscored
from napari_limn.runs import BlockDone, Event, Warned, Working
from napari_limn.version import __version__
from napari_limn.volume.decoding.pieces import decoded_once, reading_bytes
from napari_limn.volume.intensity import Scaling, fit_scaling
from napari_limn.volume.reading.open import identity
from napari_limn.volume.reading.sampling import sample_values
from napari_limn.volume.writing.output import plan_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_limn.inference.planning.plan import Plan
    from napari_limn.inference.spec import PredictSpec
    from napari_limn.model import Model
    from napari_limn.specs import Precision, Probabilities
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume
    from napari_limn.volume.writing.array_output import LabelOutput
    from napari_limn.volume.writing.layout import Layout

# of what was planned, after it did not suffice; the first that there are blocks for
_SHRINK = (0.6, 0.8, 0.95)
_GIVEN_UP = "not finite in"  # field of the fingerprint: a lower precision, after which the run began again
_BEAT = 0.25  # seconds between two chances to cancel
_LOWER = {name_of(dtype): dtype for dtype in (torch.bfloat16, torch.float16)}
_TIMED = 1.5  # seconds of computing that a time is estimated from


class NotFiniteError(Exception):
    """A precision below float32 gave scores that are not finite.

    The run is of no use then; it begins again, :meth:`PredictionRun.in_float32`.
    """


@dataclass(slots=True, kw_only=True)
class PredictionRun:
    """Everything that a prediction needs, decided before it begins.

    Make one with :meth:`prepared`.
    """

    model: Model
    volume: Volume
    spec: PredictSpec
    device: torch.device
    scaling: Scaling
    precision: Choice
    runtime: Runtime
    memory: MemoryBudget
    plan: Plan
    source: str  # identity of the image before the run
    threads: int  # that compute on the CPU
    begun: Mapping[str, Any] | None = None  # of the run gone on with, where its last bits count
    kept: int = 0  # bytes of decoded pieces of the image that are kept
    unscored: Unscored = field(default_factory=Unscored)

    @classmethod
    def prepared(
        cls,
        model: Model,
        volume: Volume,
        spec: PredictSpec,
        out: Path | LabelOutput,
        recorded: Mapping[str, Any],
    ) -> PredictionRun:
        """Decide what the spec leaves open.

        Parameters
        ----------
        model, volume, spec
            What is predicted, and how.
        out
            Where the labels go.
        recorded
            The fingerprint of an earlier run into `out`, which then decides as that one did; empty where there is none.

        Raises
        ------
        LimnError
            If the memory does not suffice, or there is no such device or precision.
        """
        steady_heap()  # before the first thread that reads
        device = choose_device(spec.device)
        limit, reading = _limit(spec, recorded, device), reading_bytes(volume.data)
        refuse_reading(volume.name, reading, limit)  # before anything is read
        network, scaling = model.spec.network, _scaling(spec, model, volume)
        source, begun = _source(volume), taken_over(recorded, out, mixed=spec.mixed)
        if recorded and isinstance(out, Path):  # before anything is measured
            known = {"version": __version__, "model": model.digest, "input": source}
            bits = numerics(device, _LOWER.get(str(recorded.get("precision")), torch.float32))
            Ledger.refuse_other(out, known | ({} if begun is not None else bits))
        given_up = _given_up(spec, recorded)
        precision = (
            Choice(torch.float32, given_up=given_up)
            if given_up is not None
            else measured_precision(_precision(spec, recorded), model, volume, scaling, device)
        )
        itemsize = precision.dtype.itemsize
        held = bound(_held, model, volume, spec.probabilities, out)
        memory = MemoryBudget(limit, held, reading=reading)
        plan = memory.plan(network, volume.grid, itemsize)
        runtime = measured_runtime(model, volume, scaling, device, precision.dtype, plan, recorded)
        plan = replace(plan, peak_bytes=runtime.peak_bytes(network, plan, itemsize))
        kept = kept_pieces(volume, plan)
        plan = replace(plan, peak_bytes=plan.peak_bytes + kept)
        return cls(
            model=model, volume=volume, spec=spec, device=device, scaling=scaling, precision=precision,
            runtime=runtime, memory=replace(memory, runtime=runtime.own_bytes), plan=plan, source=source,
            threads=_threads(recorded), kept=kept, begun=begun,
        )  # fmt: skip

    def in_float32(self, out: Path | LabelOutput) -> PredictionRun:
        """Decide anew, as a run in float32 does."""
        spec = replace(self.spec, precision="float32")
        again = PredictionRun.prepared(self.model, self.volume, spec, out, {})
        return replace(again, precision=Choice(torch.float32, given_up=self.precision.dtype))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return everything that decides the labels, field by field."""
        plan, given_up, bits = self.plan, self.precision.given_up, self.numerics
        return {
            "version": __version__,
            "model": self.model.digest,
            "input": self.source,
            "intensity": str(self.scaling),
            "device": self.device.type,
            "precision": name_of(self.precision.dtype),
            **({} if given_up is None else {_GIVEN_UP: name_of(given_up)}),
            "runtime": self.runtime.name,
            "threads": self.threads,
            "memory": self.memory.limit,
            "plan": f"block {plan.block}, tile {plan.tile}, column {plan.column}, swept {plan.swept}",
            **(bits if self.begun is None else {f: self.begun[f] for f in bits if f in self.begun}),
        }

    @property
    def numerics(self) -> dict[str, Any]:
        """Return what decides the last bits of this process's results."""
        return numerics(self.device, self.precision.dtype)

    def layout(self, path: Path) -> Layout:
        """Decide how a file of this run's labels is cut up.

        Raises
        ------
        LimnError
            If the path says no known format, or the format does not take such labels.
        """
        return _layout(self.model, self.volume, self.spec.probabilities, path, self.plan)

    def shrink(self, limit: int | None) -> None:
        """Plan again for less memory; for None the plan stays.

        Raises
        ------
        LimnError
            If not even the smallest blocks fit.
        """
        if limit is not None:
            itemsize, network = self.precision.dtype.itemsize, self.model.spec.network
            plan = self.memory.lowered(limit).plan(network, self.volume.grid, itemsize)
            self.plan = replace(plan, peak_bytes=self.runtime.peak_bytes(network, plan, itemsize))
            self.kept = 0  # the memory is short

    def shrink_further(self) -> int:
        """Plan again after the memory did not suffice; return the limit.

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
        """Compute and write every missing block.

        Where the memory does not suffice, what is left is computed with less.

        Raises
        ------
        NotFiniteError
            If scores are not finite, in a precision below float32.
        LimnError
            If no score of the whole image is finite, or the memory does not suffice for anything.
        """
        began = time.perf_counter()
        while True:
            self.unscored.resume({} if ledger is None else ledger.notes, self.volume.grid, output.missing)
            try:
                yield from self._written(output, ledger, began)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            else:
                if sentence := self.unscored.sentence(self.volume):
                    yield Warned(sentence)
                return
            # behind the clause, since an error keeps alive what it was raised among
            less = self.shrink_further()
            output.forget_unfinished()
            if ledger is not None:
                ledger.note("memory", less)
            yield Warned(f"the memory did not suffice; going on with {self.plan}.")

    def seconds(self) -> float:
        """Estimate the time of computing, from the first blocks."""
        engine = engine_for(self._evaluator(), self.plan, self.runtime)
        with closing(engine.batches()) as batches:
            began = time.perf_counter()
            next(batches)
            first = time.perf_counter() - began
            before = now = engine.share(1)
            began = time.perf_counter()
            for blocks_done, _ in enumerate(batches, start=2):
                now = engine.share(blocks_done)
                if time.perf_counter() - began > _TIMED:
                    break
            took = time.perf_counter() - began
        # the first block sets things up, so it only counts where it is the only one
        return took / (now - before) if now > before else first / before

    def refuse_changed(self) -> None:
        """Refuse to complete labels whose image was changed while they were computed.

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
        """Write what other threads read and compute."""
        total = self.plan.blocks
        with Prefetch(lambda check: self._computed(output.missing, check)) as computed:
            done = total - sum(map(output.missing, self.plan.boxes))
            while True:
                try:
                    block = computed.next_within(_BEAT)
                except StopIteration:
                    return
                if block is None:
                    yield Working()
                    continue
                box, labels, probabilities, unscored = block
                if unscored:
                    self.unscored.add(box, unscored, ledger)
                finished = output.write(box, labels, probabilities)
                if ledger is not None:
                    ledger.add(finished)
                done += 1
                yield BlockDone(box, done, total, time.perf_counter() - began)

    def _computed(
        self, missing: Callable[[Box], bool], check: Callable[[], None]
    ) -> Iterator[tuple[Box, NDArray[Any], NDArray[Any] | None, int]]:
        """Yield blocks with their labels, and probabilities where they are asked for.

        And the number of voxels in each that have no finite score.
        """
        ready, wanted = self._evaluator(check), self.spec.probabilities is not None
        engine = engine_for(ready, self.plan, self.runtime)
        with (
            decoded_once(self.volume.data, self.kept),
            closing(engine.batches(missing)) as batches,
            threads(self.threads),
        ):
            for box, scores in batches:
                before, labels = ready.unscored, engine.to_labels(scores)
                unscored = ready.unscored - before
                if unscored and self.precision.dtype != torch.float32:
                    raise NotFiniteError
                yield box, labels, engine.to_probabilities(scores) if wanted else None, unscored

    def _evaluator(self, check: Callable[[], object] = int) -> Evaluator:
        """Make the model ready to compute.

        `check` is called before every layer, and may raise.
        """
        ready = Evaluator(self.model, self.volume, self.scaling, self.device, self.precision.dtype)
        ready.check = check
        return ready


def _scaling(spec: PredictSpec, model: Model, volume: Volume) -> Scaling:
    """Return the scaling of the spec, or fit one."""
    if spec.scaling is None:
        return fit_scaling(volume, model.spec.intensity)
    if not len(spec.scaling.low) == len(spec.scaling.width) == volume.channels:
        raise LimnError(
            f"{volume.name}: found a scaling of {len(spec.scaling.low)} channels, expected one of {volume.channels} like the image; "
            "fit it to images of the same channels."
        )
    return spec.scaling


def _source(volume: Volume) -> str:
    """Return what identifies an image: its files, and samples of its voxels.

    Not every change shows in the times of a folder.
    """
    return f"{identity(volume)}, {fingerprint(sample_values(volume).tobytes())}"


def _layout(model: Model, volume: Volume, kind: Probabilities | None, path: Path, plan: Plan) -> Layout:
    classes, ndim = model.spec.classes, model.spec.network.ndim
    return plan_output(
        path, volume, classes.dtype, plan.block, probabilities=kind, classes=classes.count,
        order=plan.raster(ndim), column=plan.column, frames=4 - ndim,
    )  # fmt: skip


def _held(
    model: Model, volume: Volume, kind: Probabilities | None, out: Path | LabelOutput, plan: Plan
) -> int:
    """Count the bytes that the output holds.

    Labels in memory, or half-filled shards of a file.
    """
    if not isinstance(out, Path):
        return out.held_bytes
    return _layout(model, volume, kind, out, plan).buffer_bytes


def _precision(spec: PredictSpec, recorded: Mapping[str, Any]) -> Precision:
    """Return the precision of the spec, or of the run resumed."""
    before = recorded.get("precision")
    if spec.precision == "auto" and before in ("float32", "bfloat16", "float16"):
        precision: Precision = before
        return precision
    return spec.precision


def _given_up(spec: PredictSpec, recorded: Mapping[str, Any]) -> torch.dtype | None:
    """Return the lower precision that the run resumed gave up.

    That run computes in float32 from then on, whether float32, that precision or nothing is asked for now.
    """
    given_up = _LOWER.get(str(recorded.get(_GIVEN_UP)))
    asked = given_up is not None and spec.precision in ("auto", "float32", name_of(given_up))
    return given_up if asked else None


def _limit(spec: PredictSpec, recorded: Mapping[str, Any], device: torch.device) -> int:
    """Return the memory limit of the spec, or of the run resumed."""
    before = recorded.get("memory")
    if spec.memory is None and isinstance(before, int):
        return before
    return memory_limit(spec.memory, device)


def _threads(recorded: Mapping[str, Any]) -> int:
    """Return the threads of the run resumed, or of this process."""
    before = recorded.get("threads")
    return before if isinstance(before, int) and before > 0 else torch.get_num_threads()
