"""How many painted voxels of a class are enough: IoU of a class by how many of its voxels were painted, other classes as they are.

Run with ``tox -- python benchmarks/few_voxels.py``. Strokes of one class of the sample image are left out, whole ones first, until so many
voxels are left; the network is trained for a fixed number of steps, and scored on the whole image.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from scipy.ndimage import label

from napari_limn import TrainSpec, predict, samples, score, train
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume

COUNTS = (10, 30, 100, 200, 400, 800)


def thinned(strokes: np.ndarray, value: int, count: int, seed: int) -> np.ndarray:
    """The strokes with `count` voxels of `value`, or fewer where there are not as many; whole strokes, and a part of the last."""
    numbers, many = label(strokes == value)
    order = np.random.default_rng(seed).permutation(many) + 1
    left, kept = count, np.where(strokes == value, 0, strokes)
    for number in order:
        where = np.flatnonzero(numbers == number)[:left]
        kept.flat[where] = value
        left -= len(where)
        if not left:
            break
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    args = parser.parse_args()
    volume = open_volume(samples.PAINTED.strokes)
    strokes = volume.read(whole(volume.grid))[0, 0, 0]
    print(f"painted: { {int(v): int((strokes == v).sum()) for v in np.unique(strokes) if v} }", flush=True)
    spec = TrainSpec(steps=args.steps)
    for value in args.classes:
        for count in args.counts:
            found = []
            for seed in range(args.seeds):
                few = thinned(strokes, value, count, seed)
                model = train(samples.PAINTED.image, few, replace(spec, seed=seed))
                labels = predict(model, samples.PAINTED.image)
                found.append(score(labels, samples.PAINTED.truth).iou[value])
            each = ", ".join(f"{x:.3f}" for x in found)
            print(f"{samples.NAMES[value]}: {count} voxels: IoU {np.mean(found):.3f} ({each})", flush=True)


if __name__ == "__main__":
    main()
