"""Where the network begins to add: forest, pixel classifier, network and what is shown, from a few strokes to full masks.

    python benchmarks/curve.py STROKES.py DATA [--sets NAME …] [--percent 0.1 0.5 2 5 20 100] [--seeds 3] [--steps 800]
                               [-o curve.json]
    python benchmarks/curve.py --table benchmarks/results/curve.json

Files as in learning.py. Half of an image is painted (of a stack, one slice), with 100 % all of it, and the rest tests: mean IoU
over the classes, background included. By steps (800 take about a minute on one core), so the load of the machine does not matter. The forest is fitted to 100,000 painted voxels at most.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from learning import Rows, Task, arguments, carry_out, chosen, mean_iou, read_tool, run_pixels, sharing
from sklearn.ensemble import RandomForestClassifier

import napari_limn as limn

if TYPE_CHECKING:
    import argparse

WHO = ("forest", "classifier", "network", "shown")
ALL = 100.0  # percent: every pixel
FITTED = 100_000  # painted voxels that the forest learns


class Halved(Task):
    """One image, painted in one half or slice, and scored in the rest."""

    def __init__(self, tool: Any, data: Path, name: str, percent: float, seed: int) -> None:
        few = min(percent, 20.0)
        super().__init__(tool, data, name, few, seed)
        self.test = np.ones(self.truth.shape, bool)
        if self.truth.ndim == 3:
            self.test[self.strokes.any((1, 2))] = False
        else:
            half = (slice(None), slice(self.truth.shape[1] // 2))
            self.test[half] = False
            self.strokes = np.zeros_like(self.strokes)
            self.strokes[half] = tool.paint(self.truth[half], few, seed)
        if percent == ALL:
            self.strokes = np.where(self.test, 0, self.truth + 1).astype(np.uint8)

    def score(self, labels: np.ndarray) -> float:
        return mean_iou(np.asarray(labels).reshape(self.truth.shape)[self.test], self.truth[self.test])


def forest(task: Halved, tool: Any) -> float:
    whole, rng = task.strokes, np.random.default_rng(task.seed)
    spare = rng.permutation(np.flatnonzero(whole))[FITTED:]
    task.strokes = whole.copy()
    task.strokes.flat[spare] = 0
    found = run_pixels(task, tool.features, RandomForestClassifier(100, random_state=0, n_jobs=-1))
    task.strokes = whole
    return task.score(found)


def with_limn(task: Halved, steps: int) -> dict[str, float]:
    """What the classifier, the network and what is shown of both reach."""
    model = limn.train(task.image, task.strokes, limn.TrainSpec(steps=steps, seed=task.seed))
    models = {"classifier": sharing(model, 1.0), "network": sharing(model, 0.0), "shown": model}
    return {who: task.score(limn.predict(each, task.image)) for who, each in models.items()}


def measured(args: argparse.Namespace) -> None:
    tool, rows = read_tool(args.tool), Rows(args.output)
    for seed in range(args.first, args.first + args.seeds):
        for name in args.sets:
            for percent in args.percent:
                task = Halved(tool, args.data, name, percent, seed)
                if not task.complete or not task.test.any():
                    continue
                found = {"forest": forest(task, tool)} | with_limn(task, args.steps)
                iou = {who: round(value, 4) for who, value in found.items()}
                rows.add(set=name, percent=percent, seed=seed, steps=args.steps, iou=iou)


def table(rows: list[dict[str, Any]]) -> str:
    """IoU of each contender, means over seeds, and over the sets' means."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = ["| paint | who | mean | " + " | ".join(sets) + " |", "|" + "---|" * (len(sets) + 3)]
    for percent in sorted({row["percent"] for row in rows}):
        for who in WHO:
            found = [[row["iou"][who] for row in chosen(rows, percent=percent, set=name)] for name in sets]
            means = [np.mean(each) if each else np.nan for each in found]
            cells = ["" if np.isnan(mean) else f"{mean:.3f}" for mean in means]
            lines.append(f"| {percent:g} % | {who} | {np.nanmean(means):.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--percent", type=float, nargs="+", default=[0.1, 0.5, 2.0, 5.0, 20.0, ALL])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("-o", "--output", type=Path, default=Path("curve.json"))
    carry_out(parser.parse_args(), measured, table)


if __name__ == "__main__":
    main()
