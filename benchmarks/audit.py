"""How often the intervals of an audit hold the truth: simulated audits of masks whose truth is known.

    python benchmarks/audit.py MASK[:semantic] [MASK …] [--audits 200] [--patches 30]

A MASK.tif is an instance mask (foreground against the rest), or a semantic one. Labels are made from it with borders displaced by smooth
noise, objects missed and false discs added, a little, more and much of each; the truth answers for every patch. One line a
mask and kind of error: true Dice of each class, share of the audits whose 95 % interval holds it, mean width of the interval.
"""

from __future__ import annotations

import argparse

import numpy as np
import tifffile
from scipy import ndimage

from napari_limn.evaluation.audit import Audit, estimate, frame_of, joint_counts
from napari_limn.volume.boxes import slices
from napari_limn.volume.volume import Volume

ERRORS = {"few": (0.02, 1.0), "more": (0.05, 2.0), "many": (0.15, 4.0)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("masks", nargs="+", metavar="MASK[:semantic]")
    parser.add_argument("--audits", type=int, default=200)
    parser.add_argument("--patches", type=int, default=30)
    args = parser.parse_args()
    shares = []
    for mask in args.masks:
        path, _, kind = mask.partition(":")
        truth = tifffile.imread(path)
        truth = (truth if kind == "semantic" else truth > 0).astype(np.uint8)
        for name, (missed, moved) in ERRORS.items():
            labels = spoiled(truth, missed, moved, np.random.default_rng(1))
            dice, share, width = coverage(truth, labels, args.audits, args.patches)
            shares += share
            print(f"{path} {name}: Dice {dice}, held {share}, width {width}", flush=True)
    print(f"held by {np.mean(shares):.3f} on average, {min(shares):.3f} at the worst")


def spoiled(truth: np.ndarray, missed: float, moved: float, rng: np.random.Generator) -> np.ndarray:
    """Labels with errors of three kinds."""
    places = np.indices(truth.shape)
    shift = np.stack([ndimage.gaussian_filter(rng.normal(size=truth.shape), 8) for _ in range(2)])
    labels = ndimage.map_coordinates(truth, places + 8 * moved * shift, order=0, mode="nearest")
    for value in range(1, truth.max() + 1):
        regions, count = ndimage.label(labels == value)
        labels[np.isin(regions, 1 + np.flatnonzero(rng.random(count) < missed))] = 0
    for _ in range(int(truth.size * missed / 8000)):
        middle = [rng.integers(n) for n in truth.shape]
        far = np.hypot(*(p - m for p, m in zip(places, middle, strict=True)))
        labels[far < rng.integers(4, 12)] = rng.integers(1, truth.max() + 1)
    return labels


def coverage(
    truth: np.ndarray, labels: np.ndarray, audits: int, patches: int
) -> tuple[list[float], list[float], list[float]]:
    """True Dice of each class, how often its interval holds it, and how wide that is."""
    frame = frame_of(Volume.of(labels))
    true, found = truth.reshape(frame.grid), labels.reshape(frame.grid)
    dice = [
        2 * ((truth == v) & (labels == v)).sum() / ((truth == v).sum() + (labels == v).sum())
        for v in frame.values
    ]
    limits = []
    for seed in range(audits):
        audit = Audit(frame.digest, seed)
        while audit.judged < patches and (patch := audit.drawn(frame)[1]) is not None:
            at = slices(frame.box(patch))
            audit = audit.with_verdict(patch, joint_counts(found[at], true[at], frame.values))
        limits.append([(e.low, e.high) for e in estimate(frame, audit).values()])
    low, high = np.moveaxis(np.array(limits), -1, 0)
    held = ((low <= np.array(dice) + 1e-9) & (high >= np.array(dice) - 1e-9)).mean(0)
    return (
        [round(float(d), 3) for d in dice],
        [round(float(h), 3) for h in held],
        [round(float(w), 3) for w in (high - low).mean(0)],
    )


if __name__ == "__main__":
    main()
