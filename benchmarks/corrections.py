"""Whether corrections count: rounds of one stroke on the largest error, each followed by some seconds of training.

    python benchmarks/corrections.py STROKES.py DATA [--sets NAME …] [--percent 0.5] [--seeds 3] [--rounds 5]
                                     [--seconds 30] [--only limn forest] [-o corrections.json]
    python benchmarks/corrections.py --table benchmarks/results/corrections.json

Files and contenders as in learning.py. Every contender begins with the same strokes and is then corrected where *it* is most
wrong: one smooth stroke, up to 60 pixels long and 3 wide, of the true class, inside the largest connected error of a plane. The
network goes on from what it was; the forest is fitted anew. Mean IoU over the whole image, at the start and after each round.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from learning import Rows, Task, arguments, carry_out, read_tool, run_pixels
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

import napari_limn as limn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

LENGTH = 60  # pixels of a corrective stroke, at most


class Limn:
    """Trains further on the strokes of each round."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.model = seconds, None

    def __call__(self, task: Task, tool: Any) -> np.ndarray:
        spec = limn.TrainSpec(seconds=self.seconds, seed=task.seed)
        self.model = limn.train(task.image, task.strokes, spec, model=self.model)
        return np.asarray(limn.predict(self.model, task.image))


class Forest:
    """Is fitted anew; how long it may take does not matter."""

    def __init__(self, seconds: float) -> None:
        pass

    def __call__(self, task: Task, tool: Any) -> np.ndarray:
        return run_pixels(task, tool.features, RandomForestClassifier(100, random_state=0, n_jobs=-1))


CONTENDERS: dict[str, Callable[[float], Callable[[Task, Any], np.ndarray]]] = {"limn": Limn, "forest": Forest}


def correct(task: Task, tool: Any, found: np.ndarray, rng: np.random.Generator) -> None:
    """Add a stroke inside the largest error of the labels `found`."""
    painted = task.painted
    truth = task.truth.reshape(painted.shape)
    wrong = found.reshape(truth.shape) != truth + 1
    errors = (
        (largest(wrong[z] & (truth[z] == value)), z, int(value))
        for z in range(len(truth))
        for value in np.unique(truth[z])
    )
    inside, z, value = max(errors, key=lambda error: error[0].sum())
    if not inside.any():
        return
    depth = ndimage.distance_transform_edt(inside)
    start = tuple(int(i) for i in np.unravel_index(depth.argmax(), depth.shape))
    stroke = np.zeros_like(inside)
    stroke[tuple(np.array(tool._walk(inside, start, LENGTH, rng)).T)] = True
    painted[z][ndimage.binary_dilation(stroke) & inside] = value + 1


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask."""
    numbers, count = ndimage.label(mask)
    if not count:
        return mask
    return numbers == np.bincount(numbers.ravel())[1:].argmax() + 1


def rounds(task: Task, tool: Any, who: str, args: argparse.Namespace) -> list[float]:
    answer, rng = CONTENDERS[who](args.seconds), np.random.default_rng(task.seed)
    found = answer(task, tool)
    scores = [round(task.score(found), 4)]
    for _ in range(args.rounds):
        correct(task, tool, found, rng)
        found = answer(task, tool)
        scores.append(round(task.score(found), 4))
    return scores


def measured(args: argparse.Namespace) -> None:
    tool, rows = read_tool(args.tool), Rows(args.output)
    for seed in range(args.first, args.first + args.seeds):
        for name in args.sets:
            for who in args.only:
                task = Task(tool, args.data, name, args.percent, seed)
                if not task.complete:
                    continue
                scores = rounds(task, tool, who, args)
                rows.add(set=name, percent=args.percent, seed=seed, who=who, iou=scores)


def table(rows: list[dict[str, Any]]) -> str:
    """Mean IoU of each set and contender by round, over seeds."""
    count = len(rows[0]["iou"])
    head = ["set", "who", "start", *(f"round {i}" for i in range(1, count)), "runs below their start"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in dict.fromkeys(row["set"] for row in rows):
        for who in dict.fromkeys(row["who"] for row in rows):
            runs = [row["iou"] for row in rows if (row["set"], row["who"]) == (name, who)]
            if runs:
                below = sum(min(run[1:]) < run[0] - 0.01 for run in runs)
                cells = [f"{mean:.3f}" for mean in np.mean(runs, axis=0)]
                lines.append("| " + " | ".join([name, who, *cells, f"{below} of {len(runs)}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--percent", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=["forest", "limn"])
    parser.add_argument("-o", "--output", type=Path, default=Path("corrections.json"))
    carry_out(parser.parse_args(), measured, table)


if __name__ == "__main__":
    main()
