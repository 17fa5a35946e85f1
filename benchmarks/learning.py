"""How good a segmentation is after how many strokes and seconds, beside the pixel forest that people use today.

    python benchmarks/learning.py STROKES.py DATA [--sets NAME …] [--percent 0.1 0.5 2] [--seeds 3]
                                  [--at 5 60] [--only limn forest basicunet trainable] [-o learning.json]
    python benchmarks/learning.py --plot benchmarks/results/learning.json docs/learning.png
    python benchmarks/learning.py --table benchmarks/results/learning.json

STROKES.py is a stroke simulator with the forest baseline (functions ``paint``, ``features``, ``read_classes``, ``_slices`` and ``_walk``). DATA
holds a folder for each set, with images/NAME.tif and masks/NAME.tif. Masks of a set that is in no list here hold numbered objects;
``--sets NAME:semantic`` says that they hold classes, ``NAME:walls`` that the borders of objects are to be found. A seed chooses the image of the
set and the strokes. Every contender learns the same strokes on one image (of a stack, on one slice) and labels all of it: mean IoU over the
classes, background included. Seconds are wall time of a run, so run it alone on the machine. One run is asked what it shows at each time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

import napari_limn as limn
from napari_limn.events import Improved
from napari_limn.network.unet import UNet
from napari_limn.training.trainer import training_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETS = {  # how a mask becomes classes
    "nuclei_fluo_2d": "foreground",
    "histology_dsb": "foreground",
    "em_axon_sem": "semantic",
    "tiny_stardist": "foreground",
    "plant_cells_3d": "walls",
    "nuclei_3d_embryo": "foreground",
}


class Task:
    """One image of a set with its truth, and strokes on it; `name` is that of the set, and maybe how its masks become classes."""

    def __init__(self, tool: Any, data: Path, name: str, percent: float, seed: int) -> None:
        name, _, classes = name.partition(":")
        folder, classes = data / name, classes or SETS.get(name, "foreground")
        files = [f for f in sorted((folder / "images").glob("*.tif")) if f.stem != "3d"]
        self.image = files[seed * len(files) // 3 % len(files)]
        mask = folder / "masks" / self.image.name
        self.truth = walls(mask) if classes == "walls" else tool.read_classes(mask, classes)
        self.strokes = tool.paint(self.truth, percent, seed)
        self.planes = tool._slices(str(self.image))
        self.seed = seed

    def score(self, labels: np.ndarray) -> float:
        return mean_iou(np.asarray(labels).reshape(self.truth.shape), self.truth)

    @property
    def complete(self) -> bool:
        """Whether every class has a stroke."""
        return bool(np.isin(np.unique(self.truth) + 1, self.strokes).all())

    @property
    def painted(self) -> np.ndarray:
        """Strokes, (Z, Y, X)."""
        return self.strokes.reshape(len(self.planes), *self.planes.shape[-2:])


def mean_iou(labels: np.ndarray, truth: np.ndarray) -> float:
    """Over the classes of the truth, whose values are one less than those of labels."""
    found = labels.astype(int) - 1
    values = np.unique(truth)
    hits = [((found == v) & (truth == v)).sum() for v in values]
    unions = [((found == v) | (truth == v)).sum() for v in values]
    return float(np.mean(np.divide(hits, unions)))


def sharing(model: limn.Model, share: float) -> limn.Model:
    """The model with another share of its pixel classifier."""
    other = UNet(replace(model.spec.network, share=share))
    other.load_state_dict(model.network.state_dict())
    return limn.Model(replace(model.spec, network=other.spec), other.eval())


def walls(mask: Path) -> np.ndarray:
    """Borders of numbered objects as class 1."""
    from skimage.segmentation import find_boundaries

    numbers = tifffile.imread(mask)
    planes = numbers.reshape(-1, *numbers.shape[-2:])
    found = np.stack([find_boundaries(plane, mode="thick") for plane in planes])
    return found.reshape(numbers.shape).astype(np.uint8)


def run_limn(task: Task, tool: Any, at: list[float]) -> Iterator[tuple[float, float]]:
    """What is shown after each of the times; where that is nothing yet, 0."""
    began = time.perf_counter()
    spec = limn.TrainSpec(seconds=max(at), seed=task.seed)
    shown = [
        (time.perf_counter() - began, event.model)
        for event in training_events(task.image, task.strokes, spec)
        if isinstance(event, Improved)
    ]
    yield 0.0, shown[0][0]  # when the first answer came
    for seconds in at:
        models = [model for when, model in shown if when <= seconds]
        yield seconds, task.score(limn.predict(models[-1], task.image)) if models else 0.0


def run_pixels(task: Task, features: Callable[[np.ndarray], np.ndarray], forest: Any) -> np.ndarray:
    """What a forest on features (C, Y, X) → (F, Y, X) finds, (Z, Y, X): it has one answer, whatever the time."""
    rows = [
        features(plane)[:, paint > 0].T
        for plane, paint in zip(task.planes, task.painted, strict=True)
        if paint.any()
    ]
    values = [paint[paint > 0] for paint in task.painted if paint.any()]
    forest.fit(np.concatenate(rows), np.concatenate(values))
    found = []
    for plane in task.planes:
        bank = features(plane)
        found.append(forest.predict(bank.reshape(len(bank), -1).T).reshape(bank.shape[1:]))
    return np.stack(found)


def run_forest(task: Task, tool: Any, at: list[float]) -> Iterator[tuple[float, float]]:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(100, random_state=0, n_jobs=-1)
    reached = task.score(run_pixels(task, tool.features, forest))
    yield from ((seconds, reached) for seconds in at)


def run_trainable(task: Task, tool: Any, at: list[float]) -> Iterator[tuple[float, float]]:
    """The features and forest of scikit-image's example of trainable segmentation."""
    from skimage.feature import multiscale_basic_features
    from sklearn.ensemble import RandomForestClassifier

    def features(plane: np.ndarray) -> np.ndarray:
        found = multiscale_basic_features(plane, sigma_min=1, sigma_max=16, channel_axis=0)
        return np.moveaxis(found, -1, 0)

    forest = RandomForestClassifier(50, n_jobs=-1, max_depth=10, max_samples=0.05, random_state=0)
    reached = task.score(run_pixels(task, features, forest))
    yield from ((seconds, reached) for seconds in at)


class Basic:
    """MONAI's BasicUNet with Adam, cross-entropy and Dice on painted pixels, patches around them, flips and turns.

    Planes (C, Y, X) and strokes (Y, X) on them, 0 where nobody painted.
    """

    PAD = 48  # half of a patch

    def __init__(self, planes: list[np.ndarray], strokes: list[np.ndarray], classes: int, seed: int) -> None:
        import torch
        from monai.networks.nets import BasicUNet

        torch.manual_seed(seed)
        self.rng, pad = np.random.default_rng(seed), self.PAD
        self.network = BasicUNet(2, planes[0].shape[0], classes)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        self.images = [np.pad(p, ((0, 0), (pad, pad), (pad, pad)), "reflect") for p in planes]
        self.targets = [np.pad(s, pad).astype(np.int64) - 1 for s in strokes]
        self.places = [found for s in strokes if len(found := np.argwhere(s))]
        self.painted = [number for number, s in enumerate(strokes) if s.any()]

    def learn(self, seconds: float) -> None:
        import torch

        from napari_limn.training.losses import masked_loss

        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            image, target = (np.stack(part) for part in zip(*(self._patch() for _ in range(4)), strict=True))
            logits = self.network(torch.from_numpy(image).float())
            loss = masked_loss("cross_entropy+dice", logits, torch.from_numpy(target))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def labels(self, plane: np.ndarray) -> np.ndarray:
        """Paint values (Y, X) of a plane."""
        import torch
        from torch.nn import functional as F

        self.network.eval()
        more = [-n % 16 for n in plane.shape[1:]]
        with torch.inference_mode():
            x = F.pad(torch.from_numpy(plane)[None].float(), (0, more[1], 0, more[0]), mode="replicate")
            found = self.network(x)[0, :, : plane.shape[1], : plane.shape[2]].argmax(0).numpy() + 1
        self.network.train()
        return found

    def _patch(self) -> tuple[np.ndarray, np.ndarray]:
        which = self.rng.integers(len(self.painted))
        y, x = self.places[which][self.rng.integers(len(self.places[which]))]
        box = (slice(y, y + 2 * self.PAD), slice(x, x + 2 * self.PAD))
        number, turns = self.painted[which], self.rng.integers(4)
        flip = slice(None, None, -1 if self.rng.random() < 0.5 else 1)
        image, target = self.images[number][(slice(None), *box)], self.targets[number][box]
        return np.rot90(image[..., flip], turns, (1, 2)).copy(), np.rot90(target[..., flip], turns).copy()


def run_basicunet(task: Task, tool: Any, at: list[float]) -> Iterator[tuple[float, float]]:
    basic = Basic(list(task.planes), list(task.painted), len(np.unique(task.truth)), task.seed)
    for before, seconds in pairwise([0.0, *at]):
        basic.learn(seconds - before)
        yield seconds, task.score(np.stack([basic.labels(plane) for plane in task.planes]))


CONTENDERS = {"limn": run_limn, "forest": run_forest, "trainable": run_trainable, "basicunet": run_basicunet}


def read_tool(path: Path) -> Any:
    """The stroke simulator as a module."""
    described = importlib.util.spec_from_file_location("strokes_tool", path)
    if described is None or described.loader is None:
        raise SystemExit(f"{path}: found no Python file.")
    tool = importlib.util.module_from_spec(described)
    described.loader.exec_module(tool)
    return tool


class Rows:
    """What was measured, in a file that may hold rows already; each new one is printed and on the disk at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = json.loads(path.read_text()) if path.exists() else []

    def add(self, **row: Any) -> None:
        self._rows.append(row)
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
        self._path.write_text(json.dumps(self._rows, indent=0))


def measured(args: argparse.Namespace) -> None:
    tool, rows = read_tool(args.tool), Rows(args.output)
    for percent in args.percent:
        for name in args.sets:
            for seed in range(args.first, args.first + args.seeds):
                task = Task(tool, args.data, name, percent, seed)
                if not task.complete:
                    continue
                for who in args.only:
                    found = {str(t): round(v, 4) for t, v in CONTENDERS[who](task, tool, args.at)}
                    rows.add(set=name, percent=percent, seed=seed, who=who, iou=found)


def chosen(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def table(rows: list[dict[str, Any]]) -> str:
    """Differences to the forest by amount and time: the mean of the sets' means, and each set's."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = ["| strokes | who | after | mean | " + " | ".join(sets) + " |", "|" + "---|" * (len(sets) + 4)]
    for percent in sorted({row["percent"] for row in rows}):
        for who in dict.fromkeys(row["who"] for row in rows):
            times = sorted(
                {float(t) for row in chosen(rows, percent=percent, who=who) for t in row["iou"]} - {0.0}
            )
            for seconds in times:
                cells = [_cell(rows, name, percent, who, str(seconds)) for name in sets]
                mean = np.mean([np.mean(cell) for cell in cells if cell])
                shown = " | ".join(f"{np.mean(c):+.3f} ± {np.std(c):.3f}" if c else "" for c in cells)
                lines.append(f"| {percent} % | {who} | {seconds:g} s | {mean:+.3f} | {shown} |")
    return "\n".join(lines)


def _cell(rows: list[dict[str, Any]], name: str, percent: float, who: str, at: str) -> list[float]:
    found = []
    for row in chosen(rows, set=name, percent=percent, who=who):
        forest = chosen(rows, set=name, percent=percent, who="forest", seed=row["seed"])
        if forest and at in row["iou"]:
            reference = next(iter(forest[-1]["iou"].values()))
            found.append(row["iou"][at] if who == "forest" else row["iou"][at] - reference)
    return found


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """IoU against seconds, a panel for each set and amount; dashed, rows of another budget, who are called NAME, and what is other."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sets, amounts = list(dict.fromkeys(r["set"] for r in rows)), sorted({r["percent"] for r in rows})
    figure, panels = plt.subplots(
        len(amounts), len(sets), figsize=(3 * len(sets), 2.6 * len(amounts)), squeeze=False
    )
    times = sorted({float(t) for r in rows for t in r["iou"]} - {0.0})
    for line, percent in zip(panels, amounts, strict=True):
        for panel, name in zip(line, sets, strict=True):
            for number, who in enumerate(CONTENDERS):
                for each in dict.fromkeys(r["who"] for r in rows if r["who"].split(",")[0] == who):
                    curves = [r["iou"] for r in chosen(rows, set=name, percent=percent, who=each)]
                    style = {"color": f"C{number}", "linestyle": "-" if each == who else "--"}
                    _draw(panel, curves, style, across=who in ("forest", "trainable"))
            panel.set(title=f"{name}, {percent:g} %", xscale="log")
            panel.set_xticks(times, [f"{t:g}" for t in times])
            panel.minorticks_off()
    lines = [plt.Line2D([], [], color=f"C{number}", label=who) for number, who in enumerate(CONTENDERS)]
    figure.legend(handles=lines, loc="upper left", ncols=len(lines), fontsize=8)
    figure.supxlabel("seconds")
    figure.supylabel("mean IoU")
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=80)


def _draw(panel: Any, curves: list[dict[str, float]], style: dict[str, str], *, across: bool) -> None:
    """Means over seeds; a line `across` for who has one answer, whatever the time."""
    times = sorted({float(t) for c in curves for t in c} - {0.0})
    means = [np.mean([c[str(t)] for c in curves if str(t) in c]) for t in times]
    if across and means:
        panel.axhline(means[0], **style)
    elif times:
        panel.plot(times, means, marker=".", **style)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every study of strokes on the sets is told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", type=Path, metavar="JSON")
    return parser


def carry_out(
    args: argparse.Namespace,
    measured: Callable[[argparse.Namespace], None],
    table: Callable[[list[dict[str, Any]]], str],
) -> None:
    """Print the table of rows that there are, or measure."""
    if args.table:
        print(table(json.loads(args.table.read_text())))
    else:
        measured(args)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--percent", type=float, nargs="+", default=[0.1, 0.5, 2.0])
    parser.add_argument("--at", type=float, nargs="+", default=[5.0, 60.0])
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=["forest", "limn"])
    parser.add_argument("-o", "--output", type=Path, default=Path("learning.json"))
    parser.add_argument("--plot", type=Path, nargs=2, metavar=("JSON", "PNG"))
    args = parser.parse_args()
    if args.plot:
        plot(json.loads(args.plot[0].read_text()), args.plot[1])
    else:
        carry_out(args, measured, table)


if __name__ == "__main__":
    main()
