"""Whether the suggested places help: what is wrong at them, and what a stroke painted there brings.

    python benchmarks/where_next.py FOLDER [FOLDER …] [--images 2] [--steps 80] [-o where_next.json]
    python benchmarks/where_next.py FOLDER [FOLDER …] --errors [-o where_next_errors.json]
    python benchmarks/where_next.py --table benchmarks/results/where_next.json

A FOLDER holds images/NAME.tif and masks/NAME.tif; as DIR:semantic the values of its masks are classes, otherwise every object
counts as foreground. Images are cut to 256 pixels a side, with --errors to 640.

Without --errors: every run begins with the same simulated strokes on 0.1 % of the pixels. Then, each round, the same hand goes to the
patch that the policy names and paints one stroke on the largest error in it (on what is in its middle where there is none), and a
network is trained from scratch for a fixed number of steps with the same seed. Policies differ in nothing but the patch: `random`;
`margin`, `entropy`: pooled uncertainty of the model, away from paint; `margin, paint or not`: without regard to paint; `changed`: where
the model differs from that of the round before (margin in the first); `error`: most wrong pixels, which needs the truth.

With --errors: the share of wrong pixels in the first five patches of a policy, after one training.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
import zarr
from scipy import ndimage

import napari_limn as limn
from napari_limn.evaluation.where_next import Pool, find_places
from napari_limn.inference.uncertainty import uncertainty_events
from napari_limn.volume.boxes import Box, whole

POLICIES = ("random", "margin", "entropy", "margin, paint or not", "changed", "error")
SPACING = (1.0, 1.0, 1.0)
SIDE = {False: 256, True: 640}
SPEC = limn.PredictSpec(memory="2GB", precision="float32")


@dataclass
class Case:
    """An image with its truth (class indices), and what was painted and visited so far."""

    volume: limn.Volume
    truth: np.ndarray
    strokes: np.ndarray
    seed: int
    steps: int
    visited: list[tuple[int, ...]] = field(default_factory=list)

    def trained(self) -> limn.Model:
        # nothing held out: with so little paint, what is scored by would decide more than where it lies
        spec = limn.TrainSpec(
            steps=self.steps, seed=self.seed, preset="fast", patch=(64, 64), held_out=0.0, device="cpu"
        )
        return limn.train(self.volume, self.strokes, spec)

    def labels(self, model: limn.Model) -> np.ndarray:
        return limn.predict(model, self.volume, spec=SPEC)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER[:semantic]")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("-o", "--out", type=Path, default=Path("where_next.json"))
    parser.add_argument("--table", type=Path, nargs="+")
    args = parser.parse_args()
    if args.table:
        for path in args.table:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            print(table_of_errors(rows) if "share" in rows[0] else table(rows), end="\n\n")
        return
    # all folders before the next image, so that what is there when time is over is even
    for seed in range(args.images):
        for folder in args.folders:
            for row in rows_of(folder, seed, args):
                line = json.dumps({"set": Path(folder.split(":")[0]).name, "seed": seed, **row})
                with args.out.open("a") as file:
                    file.write(line + "\n")
                print(line)
                sys.stdout.flush()


def rows_of(folder: str, seed: int, args: argparse.Namespace) -> list[dict]:
    image, truth = read(folder, seed, SIDE[args.errors])
    volume = limn.Volume.of(image, "YXC" if image.ndim == 3 else "YX")
    rows = []
    for percent in (0.1, 1.0) if args.errors else (0.1,):
        strokes = first_strokes(truth, np.random.default_rng(seed), percent)
        case = Case(volume, truth, strokes, seed, args.steps)
        first = case.trained()
        if args.errors:
            rows.append({"percent": percent, "share": wrong_shares(case, first)})
            continue
        for policy in POLICIES:
            fresh = Case(volume, truth, strokes, seed, args.steps)
            rows.append({"policy": policy, "iou": run(fresh, policy, args.rounds, first)})
    return rows


def read(folder: str, number: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """An image, and class indices from 0."""
    where, _, kind = folder.partition(":")
    paths = sorted((Path(where) / "masks").glob("*.tif"))
    paths = [path for path in paths if tifffile.TiffFile(path).series[0].ndim == 2]
    path = paths[number % len(paths)]
    image, mask = tifffile.imread(Path(where) / "images" / path.name), tifffile.imread(path)
    mask = mask if kind == "semantic" else mask > 0
    return image[:side, :side], mask[:side, :side].astype(np.uint8)


def run(case: Case, policy: str, rounds: int, model: limn.Model) -> list[float]:
    """Mean IoU of the model given, and after each round."""
    rng = np.random.default_rng(case.seed + 100)
    before, found = None, []
    for number in range(rounds + 1):
        if number:
            model = case.trained()
        labels = case.labels(model)
        found.append(round(limn.score(labels, case.truth + 1).mean_iou, 4))
        if number < rounds:
            box = choose(policy, case, model, labels, before, rng)
            case.visited.append(tuple((a + b) // 2 for a, b in box))
            case.strokes = case.strokes.copy()
            paint(case, labels - 1, box[2:], np.random.default_rng((case.seed, number)))
        before = labels
    return found


def wrong_shares(case: Case, model: limn.Model, count: int = 5) -> dict[str, float]:
    """Share of wrong pixels in the whole image, and in the first places of each policy."""
    labels = case.labels(model)
    wrong = labels != case.truth + 1
    painted = np.argwhere(case.strokes.reshape(case.volume.grid) > 0)
    found = {"anywhere": float(wrong.mean())}
    pools = {policy: pool_for(policy, case, model) for policy in ("margin", "entropy")}
    for policy, pool in (*pools.items(), ("error", pooled(wrong))):
        places = find_places(pool, SPACING, count, None if policy == "error" else painted)
        found[policy] = float(np.mean([wrong[_index(p.box[2:])].mean() for p in places]))
    return {name: round(share, 4) for name, share in found.items()}


def choose(
    policy: str,
    case: Case,
    model: limn.Model,
    labels: np.ndarray,
    before: np.ndarray | None,
    rng: np.random.Generator,
) -> Box:
    """The patch that a policy names."""
    grid = case.volume.grid
    if policy == "random":
        cell = Pool(grid).cell
        spans = []
        for n, c in zip(grid[2:], cell[2:], strict=True):
            start = int(rng.integers(max(1, n - 2 * c + 1)))
            spans.append((start, min(start + 2 * c, n)))
        return ((0, 1), (0, 1), *spans)
    if policy == "error":
        return find_places(pooled(labels != case.truth + 1), SPACING, 1)[0].box
    if policy == "changed" and before is not None:
        pool = pooled(labels != before)
    else:
        pool = pool_for("entropy" if policy == "entropy" else "margin", case, model)
    painted = np.argwhere(case.strokes.reshape(grid) > 0)
    known = None if policy == "margin, paint or not" else painted
    return find_places(pool, SPACING, 1, known, case.visited)[0].box


def pool_for(measure: str, case: Case, model: limn.Model) -> Pool:
    if measure == "margin":
        return limn.drain(uncertainty_events(model, case.volume, spec=SPEC))
    spec = limn.PredictSpec(memory=SPEC.memory, precision=SPEC.precision, probabilities="float16")
    with tempfile.TemporaryDirectory() as folder:
        path = limn.predict(model, case.volume, Path(folder) / "labels.ome.zarr", spec)
        shares = zarr.open_array(path / "probabilities" / "0", mode="r")[:].astype(np.float32)
    shares = shares.clip(1e-6)
    return pooled(-(shares * np.log(shares)).sum(0) / np.log(len(shares)))


def pooled(values: np.ndarray) -> Pool:
    values = values.reshape((1,) * (4 - values.ndim) + values.shape)
    pool = Pool(values.shape)
    pool.add(whole(values.shape), values)
    return pool


# ---- the hand -------------------------------------------------------------------------------------------------------
def first_strokes(truth: np.ndarray, rng: np.random.Generator, percent: float) -> np.ndarray:
    """Short strokes of every class, the same number of pixels of each."""
    strokes = np.zeros(truth.shape, np.uint8)
    values = np.unique(truth)
    for value in values:
        inside = np.argwhere(truth == value)
        while (strokes == value + 1).sum() < min(len(inside) / 2, percent / 100 * truth.size / len(values)):
            stroke(strokes, truth, tuple(inside[rng.integers(len(inside))]), rng)
    return strokes


def paint(case: Case, labels: np.ndarray, box: Box, rng: np.random.Generator) -> None:
    """One stroke on the largest error in a patch, or on what is in its middle."""
    index = _index(box)
    regions, count = ndimage.label(labels[index] != case.truth[index])
    if count:
        largest = 1 + int(np.argmax(ndimage.sum_labels(regions > 0, regions, range(1, count + 1))))
        depth = ndimage.distance_transform_edt(np.pad(regions == largest, 1))[1:-1, 1:-1]
        start = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        start = tuple((b - a) // 2 for a, b in box)
    only = np.zeros(case.truth.shape, bool)
    only[index] = True
    place = tuple(int(s) + a for s, (a, _) in zip(start, box, strict=True))
    stroke(case.strokes, case.truth, place, rng, only)


def stroke(
    strokes: np.ndarray,
    truth: np.ndarray,
    start: tuple[int, ...],
    rng: np.random.Generator,
    only: np.ndarray | bool = True,
    length: int = 30,
) -> None:
    """A smooth walk, about three pixels wide, that stays in the class that it begins in."""
    inside = (truth == truth[start]) & only
    line, point, angle = np.zeros(truth.shape, bool), np.asarray(start, float), rng.uniform(0, 2 * np.pi)
    line[start] = True
    for _ in range(length):
        for wider in range(10):
            turned = angle + rng.normal(0, 0.2 + 0.35 * wider)
            ahead = point + np.array([np.sin(turned), np.cos(turned)])
            y, x = np.round(ahead).astype(int)
            if 0 <= y < truth.shape[0] and 0 <= x < truth.shape[1] and inside[y, x]:
                point, angle = ahead, turned
                line[y, x] = True
                break
        else:
            break
    strokes[ndimage.binary_dilation(line) & inside] = truth[start] + 1


def _index(box: Box) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in box)


# ---- the tables -----------------------------------------------------------------------------------------------------
def table(rows: list[dict]) -> str:
    """Mean IoU by policy at the start and after each round; what it gains over `random`, mean over rounds ± standard error."""
    by: dict[str, dict] = defaultdict(dict)
    for row in rows:
        by[row["policy"]][row["set"], row["seed"]] = row["iou"]
    keys = [key for key in by["random"] if all(key in found for found in by.values())]
    lines = [f"{len(keys)} runs: " + ", ".join(sorted({name for name, _ in keys}))]
    base = np.array([by["random"][key] for key in keys])
    for policy, found in by.items():
        curves = np.array([found[key] for key in keys])
        gain = (curves - base)[:, 1:].mean(1)
        scores = " | ".join(f"{x:.3f}" for x in curves.mean(0))
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        lines.append(
            f"| {policy} | {scores} | {gain.mean():+.3f} ± {error:.3f} | {(gain > 0).sum()} of {len(gain)} |"
        )
    return "\n".join(lines)


def table_of_errors(rows: list[dict]) -> str:
    """Mean share of wrong pixels by amount of strokes: anywhere, and at the places of each policy."""
    lines = []
    for percent in sorted({row["percent"] for row in rows}):
        found = [row["share"] for row in rows if row["percent"] == percent]
        cells = " | ".join(f"{name} {np.mean([f[name] for f in found]):.3f}" for name in found[0])
        more = sum(f["margin"] > f["anywhere"] for f in found)
        lines.append(f"| {percent} % | {cells} | margin above anywhere in {more} of {len(found)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
