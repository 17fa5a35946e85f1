"""The verb ``next``: where a model is unsure."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.cli.terminal.options import add_axes, add_choice, add_device, add_memory
from napari_limn.cli.terminal.progress import followed
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    import argparse


def add_next(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that names places to paint next."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "next", help="where a model is unsure: places to paint next"
    )
    verb.add_argument("model", type=Path, metavar="MODEL.limn", help="that was trained")
    verb.add_argument("image", type=Path, metavar="IMAGE", help="a TIFF or an OME-Zarr folder")
    verb.add_argument(
        "--labels",
        type=Path,
        metavar="STROKES",
        help="what is painted already; places beside it are passed over",
    )
    verb.add_argument("-n", "--count", type=int, default=5, metavar="N", help="how many places (5)")
    add_memory(verb)
    add_device(verb, "where to compute (auto)")
    add_axes(verb)
    add_choice(verb)
    verb.set_defaults(run=_next)
    return verb


def _next(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.annotation.strokes import find_paint
    from napari_limn.evaluation.where_next import find_places
    from napari_limn.inference.pipeline import PredictSpec
    from napari_limn.inference.uncertainty import uncertainty_events
    from napari_limn.volume.reading.open import open_labels, open_volume

    if args.count < 1:
        raise LimnError(f"found -n {args.count}, expected 1 or more places.")
    image = open_volume(args.image, args.axes, args.which)
    strokes = find_paint(open_labels(args.labels, image), "unlabelled").where if args.labels else None
    spec = PredictSpec(memory=args.memory, device=args.device)
    pool = followed(uncertainty_events(args.model, image, spec=spec), args)
    places = find_places(pool, image.axes.spacing, args.count, strokes)
    axes = image.axes.without("C").names
    rows = [
        ", ".join(f"{n.lower()} {v}" for n, v in zip("TZYX", place.at, strict=True) if n in axes)
        + f": uncertainty {place.score:.3f}"
        for place in places
    ]
    return {
        "text": "\n".join(rows) or "The model is certain everywhere.",
        "places": [asdict(place) for place in places],
    }
