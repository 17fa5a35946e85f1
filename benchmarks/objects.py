"""What objects cost, and how good they are.

`python benchmarks/objects.py cost [--side 256] [--depth 256]`: components and splitting of a synthetic stack, Zarr to Zarr, beside
`scipy.ndimage.label` in memory; nanoseconds of processor time a voxel, and growth of memory.

`python benchmarks/objects.py quality IMAGES [--steps 200]`: AP at IoU 0.5 on a folder with `images/` and `masks/` of instances. A model
learns from simulated strokes on the first image, predicts the others, and all recipes get the same probabilities.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
import zarr
from scipy.ndimage import distance_transform_edt, gaussian_filter, generate_binary_structure, label

import napari_limn as limn

if TYPE_CHECKING:
    from collections.abc import Callable


def peak() -> float:
    """Most memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call returns, its seconds of processor time, and by how much memory grew."""
    before, began = peak(), time.process_time()
    result = call()
    return result, time.process_time() - began, peak() - before


def stack(folder: Path, depth: int, side: int) -> tuple[Any, Any]:
    """A label stack of blobs, 30 % full, and their probabilities, as Zarr."""
    piece = gaussian_filter(np.random.default_rng(0).random((128, 128, 128), np.float32), 4, mode="wrap")
    piece = (piece - piece.min()) / np.ptp(piece)
    cut = np.quantile(piece, 0.7)
    sure = np.clip(0.5 + (piece - cut) * 4, 0, 1)
    labels = zarr.create_array(
        folder / "labels.zarr", shape=(depth, side, side), chunks=(64, 64, 64), dtype="u1"
    )
    probabilities = zarr.create_array(
        folder / "p.zarr", shape=(2, depth, side, side), chunks=(1, 64, 64, 64), dtype="u1"
    )
    for z in range(0, depth, 128):
        for y in range(0, side, 128):
            for x in range(0, side, 128):
                at = tuple(slice(a, min(a + 128, n)) for a, n in zip((z, y, x), labels.shape, strict=True))
                part = sure[tuple(slice(0, s.stop - s.start) for s in at)]
                labels[at] = 1 + (part > 0.5)
                probabilities[(0, *at)], probabilities[(1, *at)] = 255 - 255 * part, 255 * part
    return labels, probabilities


def cost(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels, probabilities = stack(folder, args.depth, args.side)
        size = labels.size
        volume = limn.Volume(
            labels, limn.open_volume(folder / "labels.zarr", "ZYX").axes, names={1: "background", 2: "cell"}
        )
        rows = []
        for recipe, split in (("components", None), ("split", 0.8)):
            spec = limn.ObjectSpec(split=split)
            given = limn.open_volume(probabilities, "CZYX") if split else None

            run = partial(
                limn.objects, volume, None, folder / f"{recipe}.ome.zarr", spec, probabilities=given
            )
            found, seconds, growth = timed(run)
            rows.append(
                {
                    "recipe": recipe,
                    "ns a voxel": seconds / size * 1e9,
                    "growth GB": growth,
                    "objects": len(found.table),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
        (_, count), seconds, growth = timed(lambda: label(labels[:] == 2, generate_binary_structure(3, 3)))
        rows.append(
            {
                "recipe": "scipy in memory",
                "ns a voxel": seconds / size * 1e9,
                "growth GB": growth,
                "objects": count,
            }
        )
        print(json.dumps(rows[-1]))
        assert rows[0]["objects"] == count
    return {"voxels": size, "rows": rows}


def strokes(truth: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Short lines in background (1) and objects (2), on about a share of the pixels; 0 elsewhere."""
    rng, classes = np.random.default_rng(seed), 1 + (truth > 0)
    painted = np.zeros(truth.shape, np.uint8)
    while (painted > 0).mean() < share:
        value = 1 + rng.integers(2)
        place = rng.permutation(np.argwhere(classes == value))[0].astype(float)
        way = rng.normal(size=2) / 2
        for _ in range(20):
            at = tuple(np.rint(place).astype(int)) if truth.ndim == 2 else None
            if not all(0 <= a < n for a, n in zip(at, truth.shape, strict=True)) or classes[at] != value:
                break
            painted[at] = value
            place += way
    return painted


def matched(truth: np.ndarray, objects: np.ndarray) -> tuple[int, int, int]:
    """True positives at IoU 0.5, true objects, objects."""
    n, m = int(truth.max()) + 1, int(objects.max()) + 1
    shared = np.bincount(truth.ravel().astype(np.int64) * m + objects.ravel(), minlength=n * m).reshape(n, m)
    of_truth, of_objects = shared.sum(1), shared.sum(0)
    shared, of_truth, of_objects = shared[1:, 1:], of_truth[1:], of_objects[1:]
    shared, of_truth = shared[of_truth > 0], of_truth[of_truth > 0]
    overlap = shared / (of_truth[:, None] + of_objects[None] - shared)
    return int((overlap > 0.5).any(1).sum()), len(of_truth), int((of_objects > 0).sum())


def watershed_of_peaks(mask: np.ndarray, smallest: int) -> np.ndarray:
    """The classic recipe: distances, peaks 5 pixels apart, flooding."""
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    distances = gaussian_filter(distance_transform_edt(mask), 1)
    peaks = peak_local_max(distances, min_distance=5, labels=label(mask)[0], exclude_border=False)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return without_small(watershed(-distances, seeds, mask=mask), smallest)


def without_small(objects: np.ndarray, smallest: int) -> np.ndarray:
    sizes = np.bincount(objects.ravel())
    return np.where(sizes[objects] >= smallest, objects, 0)


def quality(args: argparse.Namespace) -> dict[str, Any]:
    images = sorted((args.images / "images").iterdir())[: args.most]
    truths = [tifffile.imread(args.images / "masks" / path.name).astype(np.int64) for path in images]
    model = limn.train(
        limn.open_volume(images[0]),
        strokes(truths[0], 0.02),
        limn.TrainSpec(steps=args.steps, seconds=args.seconds),
    )
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (path, truth) in enumerate(zip(images[1:], truths[1:], strict=True)):
            out = Path(folder) / f"{number}.ome.zarr"
            limn.predict(model, path, out, limn.PredictSpec(probabilities="uint8"))
            sizes = np.bincount(truth.ravel())[1:]
            smallest = max(4, int(np.median(sizes[sizes > 0]) / 10))
            inside = np.asarray(limn.open_volume(out).data).squeeze() == 2
            recipes = {
                f"split {split}": limn.objects(
                    out, spec=limn.ObjectSpec(classes=(2,), split=split, smallest=smallest)
                ).labels
                for split in (None, 0.7, 0.8, 0.9, 0.95)
            }
            recipes["peaks 5 px apart"] = watershed_of_peaks(inside, smallest)
            for recipe, objects in recipes.items():
                row = scores.setdefault(recipe, np.zeros(3, int))
                row += matched(truth, objects.squeeze())
    rows = {}
    for recipe, (right, true, made) in scores.items():
        rows[recipe] = {"AP": right / (true + made - right), "count error": (made - true) / true}
        print(recipe, rows[recipe])
    return {"images": len(images) - 1, "set": args.images.name, "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("cost")
    verb.add_argument("--side", type=int, default=256)
    verb.add_argument("--depth", type=int, default=256)
    verb.set_defaults(run=cost)
    verb = verbs.add_parser("quality")
    verb.add_argument("images", type=Path)
    verb.add_argument("--steps", type=int)
    verb.add_argument("--seconds", type=float, default=60.0)
    verb.add_argument("--most", type=int, default=12)
    verb.set_defaults(run=quality)
    for verb in verbs.choices.values():
        verb.add_argument("-o", "--out", type=Path, help="where the rows go, as JSON")
    args = parser.parse_args()
    rows = args.run(args)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
