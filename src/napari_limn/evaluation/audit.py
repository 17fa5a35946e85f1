"""How good labels are as a whole, from random patches.

Patches are drawn with known probabilities, so what is found in them can be weighted up to the whole volume, which no
set of strokes or hand-picked pieces allows. See :func:`estimate` for the statistics.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from napari_limn.annotation.classes import MOST
from napari_limn.annotation.strokes import tally
from napari_limn.errors import LimnError
from napari_limn.evaluation.where_next import Pool
from napari_limn.files.durable import disk_faults, fingerprint
from napari_limn.files.paths import refuse_no_file
from napari_limn.files.working import whole_file
from napari_limn.runs import BlockDone, Event, drain
from napari_limn.specs import from_json, parse_json, to_json
from napari_limn.volume.boxes import Box, blocks, count_blocks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence, Set
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.volume.volume import Volume

Counts = tuple[tuple[int, ...], ...]
"""Voxels of a patch by class: true classes down, those of the labels across."""

AUDIT_SUFFIX = ".audit.json"
_SIDES = (64, 32)  # pixels of a patch
_ENOUGH = 40  # patches; a volume with fewer gets smaller ones
_DOUBT = 0.4  # share of a patch that is wrong in the draw that the lower limit adds
_FREEDOM = 4.0  # degrees of freedom at least
_FEWEST = 5  # draws before anything is said
_SCAN = 1 << 22  # voxels read at once
_REPEATS = 10_000  # draws that only name patches seen already, after which all count as seen


# ---- what is drawn from ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """All patches of a labelled volume, and their classes.

    Parameters
    ----------
    grid, size
        Extents (T, Z, Y, X) of the volume and of a patch; those at the far border are smaller.
    values
        Label value of each class.
    counts
        Of shape (N, K): voxels of each class in the labels, patch by patch.
    """

    grid: tuple[int, ...]
    size: tuple[int, ...]
    values: tuple[int, ...]
    counts: NDArray[np.int64]

    @property
    def digest(self) -> str:
        """Give a fingerprint of these labels: of the counts of every patch."""
        return fingerprint(repr((self.grid, self.size, self.values)).encode() + self.counts.tobytes())

    def box(self, patch: int) -> Box:
        """Give the place of a patch on the TZYX grid."""
        along = [-(-n // s) for n, s in zip(self.grid, self.size, strict=True)]
        place = np.unravel_index(patch, along)
        return tuple(
            (int(i) * s, min((int(i) + 1) * s, n))
            for i, s, n in zip(place, self.size, self.grid, strict=True)
        )

    def draws(self, seed: int) -> Iterator[tuple[int, int]]:
        """Draw classes and patches, without end.

        The classes in turn, then any voxel that the labels give to it. So patches with much of a rare class come often. The
        sequence depends on nothing but the frame and the seed.
        """
        rng = np.random.default_rng(seed)
        sums = np.cumsum(self.counts, axis=0)
        present = np.flatnonzero(sums[-1])
        while True:
            for k in present.tolist():
                yield k, int(np.searchsorted(sums[:, k], rng.random() * sums[-1, k], side="right"))


def choose_patch(grid: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Choose patches of 64 × 64 pixels, or smaller ones.

    Of 32 × 32 where there would be fewer than 40.
    """
    sizes = [(1, 1, min(side, grid[2]), min(side, grid[3])) for side in _SIDES]
    return next((size for size in sizes if count_blocks(grid, size) >= _ENOUGH), sizes[-1])


def frame_of(labels: Volume, values: Sequence[int] | None = None) -> Frame:
    """Count the classes of every patch; drains :func:`frame_events`."""
    return drain(frame_events(labels, values))


def frame_events(labels: Volume, values: Sequence[int] | None = None) -> Generator[Event, None, Frame]:
    """Read labels once, and count the classes of every patch.

    Parameters
    ----------
    labels
        What is audited.
    values
        Of the classes; those in the labels where not given.

    Raises
    ------
    LimnError
        If some voxel carries none of `values`, or, where they are not given, if there are more values than classes ever are.
    """
    size = choose_patch(labels.grid)
    pools = {int(value): Pool(labels.grid, size) for value in values or ()}
    _, _, y, x = labels.grid
    block = (1, 1, max(1, min(y, _SCAN // x)), x)
    total, began = count_blocks(labels.grid, block), time.perf_counter()
    for done, box in enumerate(blocks(labels.grid, block), start=1):
        part = labels.read(box)[0]
        present = tally(part.ravel())
        if values is None:
            _refuse_objects(labels.name, pools.keys() | present)
            pools |= {value: Pool(labels.grid, size) for value in present if value not in pools}
        for value in pools.keys() & present:
            pools[value].add(box, part == value)
        yield BlockDone(box, done, total, time.perf_counter() - began)
    counts = np.stack([pools[v].sums.ravel() for v in sorted(pools)], axis=1).astype(np.int64)
    if (left := prod(labels.grid) - int(counts.sum())) > 0:
        raise LimnError(
            f"{labels.name}: found {left} voxels with none of the values {', '.join(map(str, sorted(pools)))}, expected a "
            "class for every voxel; let the prediction run to its end first."
        )
    return Frame(labels.grid, size, tuple(sorted(pools)), counts)


def _refuse_objects(name: str, values: Set[int]) -> None:
    if len(values) > MOST:
        raise LimnError(
            f"{name}: found {len(values)} values or more, expected classes, {MOST} at most; where every object has a number of its own, "
            "audit the classes that the objects were made from."
        )


# ---- what the user decided ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PatchVerdict:
    """What a user decided of one patch.

    No counts where it was skipped.
    """

    patch: int
    counts: Counts | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit so far; :meth:`save` and :meth:`load` make it outlast the window.

    Parameters
    ----------
    labels
        Digest of the frame.
    seed
        Of the draws.
    verdicts
        In the order in which they were given.
    """

    labels: str
    seed: int = 0
    verdicts: tuple[PatchVerdict, ...] = ()

    @property
    def judged(self) -> int:
        """Count the patches that were accepted or corrected."""
        return sum(verdict.counts is not None for verdict in self.verdicts)

    def with_verdict(self, patch: int, counts: Counts | None) -> Audit:
        """Give the audit with one verdict more; `counts` None to skip."""
        return replace(self, verdicts=(*self.verdicts, PatchVerdict(patch, counts)))

    def drawn(self, frame: Frame) -> tuple[list[tuple[int, int]], int | None]:
        """Give the draws that have a verdict, and the next patch.

        The draws are (class, patch); there is no next patch, None, if all had one. Skipped patches are left out of the draws.
        """
        known = {verdict.patch: verdict.counts for verdict in self.verdicts}
        draws, met = list[tuple[int, int]](), set[int]()
        for turn, (k, patch) in enumerate(frame.draws(self.seed)):
            if patch not in known:
                return draws, patch
            met.add(patch)
            if known[patch] is not None:
                draws.append((k, patch))
            if len(met) == len(frame.counts) or turn > _REPEATS:
                return draws, None
        raise LimnError("found labels without a single voxel, expected some to audit.")

    def save(self, path: Path) -> None:
        """Write the audit, completely or not at all.

        Raises
        ------
        LimnError
            If the file holds what is no earlier state of this audit, or the disk refuses.
        """
        if path.exists():
            before = _read_audit(path)
            if (before.labels, before.seed, before.verdicts) != (
                self.labels, self.seed, self.verdicts[: len(before.verdicts)],
            ):  # fmt: skip
                raise LimnError(
                    f"{path}: found verdicts that are not of this audit, perhaps of another window; close one of the two "
                    "windows, and begin the audit again to go on from that file."
                )
        kept = "the verdicts on the patches before stay; give that on this one again"
        with disk_faults(path, kept), whole_file(path) as file:
            file.write(json.dumps(to_json(self)).encode())

    @staticmethod
    def load(path: Path, frame: Frame) -> Audit:
        """Go on with the audit of a file, or begin one.

        Raises
        ------
        LimnError
            If the file is of other labels, or damaged.
        """
        if not path.exists():
            return Audit(frame.digest)
        audit = _read_audit(path)
        if audit.labels != frame.digest:
            raise LimnError(
                f"{path.name}: found the audit of other labels, expected that of these; move it away to begin a new one."
            )
        return audit


def _read_audit(path: Path) -> Audit:
    try:
        return from_json(Audit, parse_json(refuse_no_file(path).read_bytes(), "an audit"))
    except LimnError as error:
        raise LimnError(f"{path}: found no valid audit ({error}); remove it to begin anew.") from error


def joint_counts(labels: NDArray[Any], true: NDArray[Any], values: Sequence[int]) -> Counts:
    """Count the voxels of a patch by label and by truth.

    The truth is what the user made of the labels.

    Raises
    ------
    LimnError
        If the user painted something that is no class of the labels.
    """
    if strange := sorted(set(np.unique(true).tolist()) - set(values)):
        raise LimnError(
            f"found {', '.join(map(str, strange))} in the corrected patch, expected {', '.join(map(str, values))}; "
            "every pixel of the patch needs one of the classes."
        )
    rows = [[int(np.count_nonzero((true == t) & (labels == f))) for f in values] for t in values]
    return tuple(map(tuple, rows))


# ---- what follows ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Estimate:
    """A score (0–1) of a volume, and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} (95 %: {self.low:.2f}–{self.high:.2f})"

    @property
    def iou(self) -> Estimate:
        """Give the IoU of Dice D: D / (2 − D)."""
        return Estimate(*(d / (2 - d) for d in (self.value, self.low, self.high)))


def estimate(frame: Frame, audit: Audit) -> dict[int, Estimate]:
    """Estimate the Dice coefficient of each class, with confidence intervals.

    Parameters
    ----------
    frame
        Of the labels that were audited.
    audit
        What the user decided.

    Returns
    -------
    By label value; empty with fewer than five draws, without the classes that the labels have nowhere.

    Notes
    -----
    A patch i is drawn with probability q_i = Σ_k s_k n_ik / N_k: s_k the share of the draws that fell to class k, n_ik its
    voxels in the patch, N_k in all. False positives F and false negatives M of a class are weighted by 1 / q and averaged
    (Hansen & Hurwitz 1943, doi:10.1214/aoms/1177731356); N is known exactly, so Dice = 2 (N − F) / (2 N − F + M). The
    error is that of its linearisation over the draws (Särndal, Swensson & Wretman 1992, chapter 5), the interval is
    symmetric on the logit scale.

    Errors are often rare and large, and a few patches easily miss them all: then the plain interval is much too short. Two
    things make up for it. The quantile is that of Student's t with as many degrees of freedom as patches carry the
    errors, (Σe)² / Σe² − 1 (Kish's effective number), 4 at least; and the lower limit is at most that with one more
    draw, of a patch of ordinary size of which 40 % are wrong. Both were chosen by simulated audits (``benchmarks/audit.py``):
    of 30 patches, 95 % intervals held the truth in 95 % of the audits on average, and in 92 % or more for 19 of 21 classes; but in
    69 and 77 % for the nuclei of one small image, where whole objects are missed in a few of the patches that the labels call
    background. What is missed where the labels show nothing of a class is the weak spot of any small sample: look at more patches.
    """
    draws, _ = audit.drawn(frame)
    known = {v.patch: v.counts for v in audit.verdicts if v.counts is not None}
    totals = frame.counts.sum(0)
    if len(known) == len(frame.counts):
        exact = np.array([known[patch] for patch in range(len(frame.counts))]).sum(0)
        return {value: _exact(exact, k) for k, value in enumerate(frame.values) if totals[k]}
    if len(draws) < _FEWEST:
        return {}
    turns, patches = (np.array(column) for column in zip(*draws, strict=True))
    share = np.bincount(turns, minlength=len(totals)) / len(draws)
    weights = 1 / (frame.counts[patches] @ (share / np.maximum(totals, 1)))
    counts = np.array([known[patch] for patch in patches.tolist()]) * weights[:, None, None]
    return {value: _estimated(counts, k, int(totals[k])) for k, value in enumerate(frame.values) if totals[k]}


def _exact(counts: NDArray[Any], k: int) -> Estimate:
    dice = float(2 * counts[k, k] / (counts[k].sum() + counts[:, k].sum()))
    return Estimate(dice, dice, dice)


def _estimated(counts: NDArray[np.float64], k: int, total: int) -> Estimate:
    """Estimate Dice of class k from weighted counts.

    (draws, K true, K labelled).
    """
    wrong = counts[:, :, k].sum(1) - counts[:, k, k]
    missed = counts[:, k, :].sum(1) - counts[:, k, k]
    value, low, high = _interval(wrong, missed, total)
    more = _DOUBT * total / 2
    _, lower, _ = _interval(np.append(wrong, more), np.append(missed, more), total)
    return Estimate(value, min(low, lower), max(value, high))


def _interval(
    wrong: NDArray[np.float64], missed: NDArray[np.float64], total: int
) -> tuple[float, float, float]:
    """Compute Dice and its interval from weighted errors."""
    union = max(2 * total - wrong.mean() + missed.mean(), 1e-9)
    dice = float(np.clip(2 * (total - wrong.mean()) / union, 0, 1))
    errors = ((2 - dice) * wrong + dice * missed) / union
    count, most = len(errors), float(np.square(errors).sum())
    if most == 0:
        return dice, dice, dice
    freedom = float(np.clip(errors.sum() ** 2 / most - 1, min(_FREEDOM, count - 1), count - 1))
    inside = float(np.clip(dice, 1e-6, 1 - 1e-6))
    width = errors.std(ddof=1) / np.sqrt(count) / (inside * (1 - inside)) * special.stdtrit(freedom, 0.975)
    middle = special.logit(inside)
    return dice, min(dice, float(special.expit(middle - width))), float(special.expit(middle + width))
