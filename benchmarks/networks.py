"""Every network of the family, trained for the same time on the same strokes.

    python benchmarks/networks.py IMAGE TRUTH STROKES --time STEPS.json
    python benchmarks/networks.py IMAGE TRUTH STROKES --steps STEPS.json --seconds 60 [--only NAME …] [--dims 3]

TRUTH holds class v as v, STROKES hold it as v + 1 and 0 where nobody painted. The first call times a training step of
every network, interleaved, medians; run it alone on the machine. The second trains each for as many steps as it would
do in that time, in a process of its own: mean IoU over the whole image, seconds a step, memory above that of the
imports. Steps instead of seconds make its scores independent of what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

PLANES = {
    "width 16, depth 4": {},
    "unpadded, no norm (2015)": {"padding": "valid", "norm": "none"},
    "no norm": {"norm": "none"},
    "channel norm": {"norm": "channel"},
    "RMS norm": {"norm": "rms"},
    "group norm": {"norm": "group"},
    "instance norm": {"norm": "instance"},
    "strided convolution": {"down": "strided"},
    "max pool + 1×1 convolution": {"down": "max_1x1"},
    "interpolation": {"up": "interpolate"},
    "attention gates": {"skip": "attention"},
    "nested": {"skip": "nested"},
    "nested, supervised": {"skip": "nested", "supervised": True},
    "residual": {"block": "residual"},
    "dropout 0.5": {"dropout": 0.5},
    "cross-entropy + Dice": {"train": {"loss": "cross_entropy+dice"}},
    "Dice": {"train": {"loss": "dice"}},
    "focal": {"train": {"loss": "focal"}},
    "elastic 10 px": {"augment": {"elastic": 10.0}},
    "softmax, two classes": {"two": True},
    "sigmoid, two classes": {"two": True, "head": "sigmoid"},
    "width 8, depth 3": {"width": 8, "depth": 3},
    "width 8, depth 4": {"width": 8},
    "width 16, depth 3": {"depth": 3},
    "width 32, depth 3": {"width": 32, "depth": 3},
    "width 24, depth 4": {"width": 24},
    "width 32, depth 4": {"width": 32},
    "width 64, unpadded (2015)": {"width": 64, "max_width": 1024, "padding": "valid", "norm": "none"},
}
VOLUMES = {
    "3D, anisotropic, width 16, depth 3 (default)": {},
    "3D, width 8, depth 3": {"width": 8},
    "3D, width 8, depth 2": {"width": 8, "depth": 2},
    "3D, width 24, depth 3": {"width": 24},
    "3D, isotropic": {"spacing": (1.0, 1.0, 1.0)},
    "3D, nested": {"skip": "nested"},
    "3D, residual": {"block": "residual"},
    "3D, channel norm": {"norm": "channel"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs=3, metavar="IMAGE TRUTH STROKES")
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2)
    parser.add_argument("--time", type=Path)
    parser.add_argument("--steps", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+")
    parser.add_argument(
        "--test", type=Path, nargs=2, metavar=("IMAGE", "TRUTH"), help="score on another image"
    )
    parser.add_argument("--full", action="store_true", help="STROKES are full masks: hold nothing out")
    parser.add_argument("--one", action="store_true", help="train in this process")
    args = parser.parse_args()
    table = PLANES if args.dims == 2 else VOLUMES
    table = {name: table[name] for name in args.only or table}
    if args.time:
        found = timed(table, args)
        args.time.write_text(json.dumps(found, indent=1, ensure_ascii=False))
        return
    took = json.loads(args.steps.read_text())
    for name in table:
        if args.one:
            print(json.dumps(one(name, table[name], took[name], args), ensure_ascii=False))
        else:
            options = [
                "--dims",
                args.dims,
                "--steps",
                args.steps,
                "--seconds",
                args.seconds,
                "--seed",
                args.seed,
            ]
            options += ["--test", *args.test] if args.test else []
            options += ["--full"] if args.full else []
            command = [sys.executable, __file__, *args.files, *options, "--only", name, "--one"]
            subprocess.run([str(part) for part in command], check=True)


def settings(change: dict, args: argparse.Namespace) -> tuple:
    """Training spec, and images, labels and truth for one row of a table."""
    import numpy as np

    import napari_limn as limn
    from napari_limn.training.planning.presets import preset_network

    image = limn.open_volume(args.files[0])
    strokes, truth = (limn.open_volume(path).data[:] for path in args.files[2:0:-1])
    truth = np.asarray(truth) + 1
    if change.get("two"):
        strokes, truth = np.minimum(strokes, 2), np.minimum(truth, 2)
    base = preset_network("balanced", args.dims, change.get("spacing", (2.24, 1.0, 1.0)), image.grid[1])
    fields = {k: v for k, v in change.items() if k in base.__dataclass_fields__}
    factors = base.factors if args.dims == 3 else ((2, 2),) * 4  # the default row of each table
    factors = factors[: change.get("depth", len(factors))]
    network = limn.UNetSpec(**{"width": 16, "factors": factors} | fields)
    spec = limn.TrainSpec(
        network=network, augment=limn.AugmentSpec(**change.get("augment", {})), seed=args.seed,
        steps=1, held_out=0.0 if args.full else 0.1, **change.get("train", {}),
    )  # fmt: skip
    return spec, image, strokes, truth


def timed(table: dict, args: argparse.Namespace) -> dict[str, float]:
    """Seconds of a training step of every network: medians of steps taken in turn."""
    from dataclasses import replace

    from napari_limn.events import Step
    from napari_limn.training.trainer import training_events

    runs = {}
    for name, change in table.items():
        spec, image, strokes, _ = settings(change, args)
        runs[name] = training_events(image, strokes, replace(spec, steps=10**6, held_out=0.0))
    took: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(14):
        for name, run in runs.items():
            began = time.perf_counter()
            while not isinstance(next(run), Step):
                pass
            if turn > 1:
                took[name].append(time.perf_counter() - began)
    return {name: median(each) for name, each in took.items()}


def one(name: str, change: dict, step: float, args: argparse.Namespace) -> dict:
    """Train one network, and score it on the whole image."""
    import resource
    from dataclasses import replace

    import numpy as np
    import torch

    import napari_limn as limn
    from napari_limn.network.unet import UNet  # noqa: F401 counts as imported, not as used

    torch.zeros(1)
    spec, image, strokes, truth = settings(change, args)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = max(1, int(0.9 * args.seconds / step))  # a tenth of the time goes into scoring
    model = limn.train(image, strokes, replace(spec, steps=steps))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if args.test:
        image, truth = args.test[0], np.asarray(limn.open_volume(args.test[1]).data[:]) + 1
    found = limn.score(limn.predict(model, image), truth)
    weights = sum(p.numel() for p in model.network.parameters())
    return {
        "network": name, "seconds": args.seconds, "seed": args.seed, "steps": steps, "s_per_step": round(step, 3),
        "iou": round(found.mean_iou, 3), "held_out": model.spec.score and round(model.spec.score, 3),
        "memory_mb": peak // 1024, "weights": weights,
    }  # fmt: skip


if __name__ == "__main__":
    main()
