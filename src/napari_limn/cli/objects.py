"""The verb ``objects``: from classes to objects, numbered and measured."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Literal

from napari_limn.cli.terminal.options import add_axes, add_choice, add_overwrite
from napari_limn.cli.terminal.progress import followed


def add_objects(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that makes objects of classes."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "objects", help="make objects of classes, and measure them"
    )
    verb.add_argument(
        "labels",
        type=Path,
        metavar="LABELS|MODEL.limn",
        help="labels of classes, or a model that predicts IMAGE first",
    )
    verb.add_argument("image", type=Path, nargs="?", metavar="IMAGE", help="where intensities are measured")
    verb.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.tif|OUT.ome.zarr", help="where the objects go"
    )
    verb.add_argument(
        "--class", dest="classes", action="append", metavar="NAME",
        help="name or value of the class whose objects are wanted, may be repeated (all but background)",
    )  # fmt: skip
    verb.add_argument(
        "--split", type=_split, default=0.8, metavar="0.8|off|fit",
        help="how readily objects that touch are separated: 0.4 (seldom) to 0.98 (often), or as --fit-to has them (0.8)",
    )  # fmt: skip
    verb.add_argument(
        "--fit-to", type=Path, metavar="PAINTED", help="objects painted whole, each with a value of its own"
    )
    verb.add_argument(
        "--min-size", metavar="20um2", help="least size of an object: area, volume, or a number of voxels"
    )
    verb.add_argument(
        "--table", type=Path, metavar="OUT.csv|OUT.parquet", help="write what each object measures"
    )
    add_axes(verb)
    add_choice(verb)
    add_overwrite(verb, "write over an existing output, begin an unfinished one anew")
    verb.set_defaults(run=_objects)
    return verb


def _split(text: str) -> float | Literal["fit"] | None:
    """Read how objects are split."""
    if text == "off":
        return None
    if text == "fit":
        return "fit"
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected a number such as 0.8, off or fit"
        ) from None


def _objects(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.inference.ledger import refuse_taken
    from napari_limn.instances.api import object_events
    from napari_limn.instances.spec import ObjectSpec
    from napari_limn.volume.reading.open import open_volume

    refuse_taken(args.out, overwrite=args.overwrite)
    began = time.perf_counter()
    split: float | Literal["fit"] | None = "fit" if args.fit_to is not None else args.split
    spec = ObjectSpec(classes=args.classes and tuple(args.classes), split=split, smallest=args.min_size)
    image = None if args.image is None else open_volume(args.image, args.axes, args.which)
    labels = args.labels
    if image is None and (args.axes is not None or args.which is not None):
        labels = open_volume(labels, args.axes, args.which)
    done = followed(
        object_events(
            labels, image, args.out, spec, table=args.table, painted=args.fit_to, overwrite=args.overwrite
        ),
        args,
    )
    took = time.perf_counter() - began
    count = None if done.table is None else len(done.table)
    what = "complete already" if count is None else f"{count} objects"
    return {
        "text": f"{done.labels}: {what} in {took:.1f} s",
        "output": str(done.labels),
        "table": None if args.table is None else str(args.table),
        "objects": count,
        "seconds": round(took, 2),
    }
