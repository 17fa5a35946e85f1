"""Full masks: how good the trainer is as an ordinary one, beside MONAI's BasicUNet trained as long on the same images.

    python benchmarks/full_masks.py STROKES.py SET [--test 2] [--seconds 900] [--preset thorough] [--seed 0]
                                    [--only limn basicunet] [-o full_masks.json]

SET holds images/NAME.tif and masks/NAME.tif, whose values are classes. The last images test, the others train. IoU of each class
over all pixels of the test images, and their mean. Masks are complete, so their 0 is background.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from learning import Basic, Rows, read_tool

import napari_limn as limn

if TYPE_CHECKING:
    from collections.abc import Callable


def with_limn(train: list[Path], test: list[Path], tool: Any, args: argparse.Namespace) -> list[np.ndarray]:
    spec = limn.TrainSpec(seconds=args.seconds, seed=args.seed, preset=args.preset, zero="background")
    model = limn.train(train, [mask_of(path) for path in train], spec)
    return [np.asarray(limn.predict(model, path)) for path in test]


def with_basicunet(
    train: list[Path], test: list[Path], tool: Any, args: argparse.Namespace
) -> list[np.ndarray]:
    planes = [tool._slices(str(path))[0] for path in train]
    masks = [tifffile.imread(mask_of(path)) for path in train]
    basic = Basic(planes, [mask + 1 for mask in masks], int(max(map(np.max, masks))) + 1, args.seed)
    basic.learn(args.seconds)
    return [basic.labels(tool._slices(str(path))[0]) - 1 for path in test]


CONTENDERS: dict[str, Callable[..., list[np.ndarray]]] = {"limn": with_limn, "basicunet": with_basicunet}


def mask_of(image: Path) -> Path:
    return image.parent.parent / "masks" / image.name


def ious(found: list[np.ndarray], truth: list[np.ndarray]) -> list[float]:
    """Of each class, over all images."""
    a, b = (np.concatenate([each.ravel() for each in part]) for part in (found, truth))
    return [float(((a == v) & (b == v)).sum() / ((a == v) | (b == v)).sum()) for v in np.unique(b)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--test", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--preset", default="thorough")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("-o", "--output", type=Path, default=Path("full_masks.json"))
    args = parser.parse_args()
    images = sorted((args.folder / "images").glob("*.tif"))
    train, test = images[: -args.test], images[-args.test :]
    truth = [tifffile.imread(mask_of(path)) for path in test]
    rows = Rows(args.output)
    for who in args.only:
        each = ious(CONTENDERS[who](train, test, read_tool(args.tool), args), truth)
        run = {"set": args.folder.name, "seed": args.seed, "seconds": args.seconds, "preset": args.preset}
        rows.add(**run, who=who, iou=[round(v, 4) for v in each], mean=round(np.mean(each), 4))


if __name__ == "__main__":
    main()
