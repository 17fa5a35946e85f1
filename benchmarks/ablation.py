"""What each choice of the recipe is worth: one changed at a time, as many steps for all, so that load changes nothing.

    python benchmarks/ablation.py STROKES.py DATA [--sets NAME …] [--percent 0.5] [--seeds 2] [--steps 300]
                                  [--only NAME …] [--as-long] [-o ablation.json]
    python benchmarks/ablation.py --table benchmarks/results/ablation.json

Files as in learning.py. Mean IoU over the whole painted image, of the network alone and of what is shown: nothing is shown that held-out
strokes do not prefer, so a bad choice shows in the first of the two. With ``--as-long`` a choice whose steps are cheaper gets more of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from learning import Rows, Task, arguments, carry_out, read_tool, sharing

import napari_limn as limn
from napari_limn.training.data.patches import PatchSampler
from napari_limn.training.planning.presets import pixel_features, preset_network
from napari_limn.training.spec import AugmentSpec

if TYPE_CHECKING:
    import argparse

    from napari_limn.training.data.patches import Patch

NETWORK = replace(preset_network("balanced", 2), pixels=pixel_features(2))
Change = dict[str, Any]
SPECS: dict[str, Change] = {
    "as it is": {},
    "without soft targets": {"soft_targets": 0.0},
    "soft targets, weight 1": {"soft_targets": 1.0},
    "rate 5e-4": {"rate": 5e-4},
    "rate 5e-3": {"rate": 5e-3},
    "batch 2": {"batch": 2},
    "batch 8": {"batch": 8},
    "patches of 48²": {"patch": (48, 48)},
    "patches of 96²": {"patch": (96, 96)},
    "patches of 160²": {"patch": (160, 160)},
    "Dice": {"loss": "dice"},
    "cross-entropy and Dice": {"loss": "cross_entropy+dice"},
    "focal loss": {"loss": "focal"},
    "not turned or stretched": {"augment": AugmentSpec(warped=0.0)},
    "elastic, 10 pixels": {"augment": AugmentSpec(elastic=10.0)},
    "grey values as they are": {"augment": AugmentSpec(gain=0.0, offset=0.0, noise=0.0)},
    "no norm": {"network": replace(NETWORK, norm="none")},
    "channel norm": {"network": replace(NETWORK, norm="channel")},
    "group norm (not exact)": {"network": replace(NETWORK, norm="group")},
    "residual blocks": {"network": replace(NETWORK, block="residual")},
    "preset fast": {"preset": "fast"},
    "preset thorough": {"preset": "thorough"},
}


PACE = {  # seconds of a step over those of the recipe as it is; one thread of a Xeon, medians
    "batch 2": 0.55, "batch 8": 1.9, "patches of 48²": 0.67, "patches of 96²": 1.9, "patches of 160²": 5.8,
    "preset fast": 0.55, "preset thorough": 3.0,
}  # fmt: skip


def by_paint(
    sampler: PatchSampler, turn: int, rng: np.random.Generator, draw: Any = PatchSampler.draw
) -> Patch:
    """A patch around any painted voxel, whatever its class."""
    stops = np.cumsum([len(seeds) for seeds in sampler._seeds])
    return draw(sampler, int(np.searchsorted(stops, rng.integers(stops[-1]), side="right")), rng)


def warmed(begun: float) -> float:
    """Learning rate, as a share of its peak, of a schedule that does not fall."""
    return min(1.0, (begun + 1e-3) / 0.05)


PARTS: dict[str, tuple[str, Any]] = {  # what no spec says
    "weights not averaged": ("napari_limn.training.learner._EMA", 0.0),
    "gradients not clipped": ("torch.nn.utils.clip_grad_norm_", lambda *_: None),
    "rate constant": (
        "napari_limn.training.learner._schedule",
        lambda done, begun: warmed(begun),
    ),
    "rate falls in the last third": (
        "napari_limn.training.learner._schedule",
        lambda done, begun: warmed(begun) * min(1.0, 3 * (1 - done)),
    ),
    "no warm-up": ("napari_limn.training.learner._WARM_UP", 1e-6),
    "classifier and network count the same": ("napari_limn.training.selection._TOGETHER", 0.5),
    "classes by their paint, not in turn": ("napari_limn.training.data.patches.PatchSampler.draw", by_paint),
}


def run(task: Task, change: Change, steps: int) -> tuple[float, float]:
    """Mean IoU of the network alone, and of what is shown."""
    spec = limn.TrainSpec(**{"steps": steps, "seed": task.seed} | change)
    model = limn.train(task.image, task.strokes, spec)
    first, last = (task.score(limn.predict(m, task.image)) for m in (sharing(model, 0.0), model))
    return first, last


def measured(args: argparse.Namespace) -> None:
    tool, rows = read_tool(args.tool), Rows(args.output)
    for seed in range(args.first, args.first + args.seeds):
        for name in args.sets:
            task = Task(tool, args.data, name, args.percent, seed)
            if not task.complete:
                continue
            for what in args.only:
                with ExitStack() as stack:
                    if what in PARTS:
                        stack.enter_context(patch(*PARTS[what]))
                    steps = round(args.steps / PACE.get(what, 1.0)) if args.as_long else args.steps
                    alone, shown = run(task, SPECS.get(what, {}), steps)
                rows.add(
                    set=name, percent=args.percent, seed=seed, steps=steps, what=what,
                    alone=round(alone, 4), shown=round(shown, 4),
                )  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Differences to the recipe as it is, network alone and shown, mean over sets and seeds, and by set."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = ["| | network alone | shown | " + " | ".join(sets) + " |", "|" + "---|" * (len(sets) + 3)]
    case = itemgetter("set", "percent", "seed")
    base = {case(row): row for row in rows if row["what"] == "as it is"}
    for what in dict.fromkeys(row["what"] for row in rows):
        cells = [
            [
                tuple(
                    row[key] - (0 if what == "as it is" else base[case(row)][key])
                    for key in ("alone", "shown")
                )
                for row in rows
                if (row["what"], row["set"]) == (what, name) and case(row) in base
            ]
            for name in sets
        ]
        means = [np.mean(cell, axis=0) for cell in cells if cell]
        sign = "" if what == "as it is" else "+"
        alone, shown = np.mean(means, axis=0)
        each = " | ".join(f"{np.mean(c, axis=0)[0]:{sign}.3f}" if c else "" for c in cells)
        lines.append(f"| {what} | {alone:{sign}.3f} | {shown:{sign}.3f} | {each} |")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--percent", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=[*SPECS, *PARTS], default=[*SPECS, *PARTS])
    parser.add_argument("--as-long", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("ablation.json"))
    parser.set_defaults(seeds=2)
    carry_out(parser.parse_args(), measured, table)


if __name__ == "__main__":
    main()
