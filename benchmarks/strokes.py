"""How good a segmentation is after a few strokes: mean IoU over the whole painted image.

    python benchmarks/strokes.py IMAGE TRUTH STROKES [STROKES …] [--seconds 120] [--ablate]

TRUTH holds class v as v, STROKES hold it as v + 1 and 0 where nobody painted. One line a file of strokes; with
--ablate one line for each change of one default.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import tifffile

import napari_limn as limn
from napari_limn.training.spec import AugmentSpec

ABLATIONS = {
    "default": {},
    "nothing held out": {"held_out": 0.0},
    "twice held out": {"held_out": 0.2},
    "rate 5e-4": {"rate": 5e-4},
    "rate 1e-3": {"rate": 1e-3},
    "patch 96": {"patch": (96, 96)},
    "depth 3": {"network": limn.UNetSpec(factors=((2, 2),) * 3)},
    "width 24": {"network": limn.UNetSpec(width=24)},
    "no norm": {"network": limn.UNetSpec(norm="none")},
    "not turned or stretched": {"augment": AugmentSpec(warped=0.0)},
    "no noise": {"augment": AugmentSpec(noise=0.0)},
    "elastic 5 px": {"augment": AugmentSpec(elastic=5.0)},
    "elastic 10 px": {"augment": AugmentSpec(elastic=10.0)},
    "no change of grey values": {"augment": AugmentSpec(gain=0.0, offset=0.0, noise=0.0)},
    "Dice": {"loss": "dice"},
    "cross-entropy and Dice": {"loss": "cross_entropy+dice"},
    "focal": {"loss": "focal"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("strokes", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--ablate", action="store_true")
    args = parser.parse_args()
    truth = tifffile.imread(args.truth) + 1
    for what, change in (ABLATIONS if args.ablate else {"default": {}}).items():
        found = [
            run(args.image, truth, path, args.seconds, dict(change), seed)
            for seed, path in enumerate(args.strokes)
        ]
        print(
            json.dumps(
                {
                    "what": what,
                    "mean_iou": [round(x, 3) for x in found],
                    "mean": round(float(np.mean(found)), 3),
                }
            )
        )
        sys.stdout.flush()


def run(
    image: Path, truth: np.ndarray, strokes: Path, seconds: float, change: dict[str, object], seed: int
) -> float:
    spec = limn.TrainSpec(seconds=seconds, seed=seed, **change)
    model = limn.train(image, strokes, spec)
    return limn.score(limn.predict(model, image), truth).mean_iou


if __name__ == "__main__":
    main()
