"""The verb ``info``: what is in a model, image or label file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.cli.terminal.options import add_axes, add_choice, add_memory, add_overwrite

if TYPE_CHECKING:
    import argparse


def add_info(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that shows what is in a file."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "info", help="what is in a model, an image or a label file"
    )
    verb.add_argument("path", type=Path, metavar="PATH", help="a model, an image or labels")
    add_axes(verb)
    add_choice(verb)
    verb.add_argument("--figure", type=Path, metavar="OUT.png", help="draw the network of a model")
    verb.add_argument(
        "--size", type=int, nargs="+", metavar="N",
        help="[Z] Y X of the tile that it is drawn for (as in training)",
    )  # fmt: skip
    verb.add_argument(
        "--certify",
        type=Path,
        metavar="IMAGE",
        help="compare blocks of a prediction with one pass, on this image",
    )
    verb.add_argument(
        "--plan", type=Path, metavar="IMAGE", help="blocks, memory and time of a prediction of this image"
    )
    add_memory(verb, "most memory to plan with (with --plan as of predict, else 2GB)")
    add_overwrite(verb, "write over an existing picture")
    verb.set_defaults(run=_info)
    return verb


def _info(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.report.info import certify_model, draw_model, model_info, plan_model, volume_info
    from napari_limn.volume.reading.open import open_volume
    from napari_limn.volume.writing.replacing import refuse_existing

    if args.figure:
        refuse_existing(args.figure, overwrite=args.overwrite, file=True)
        return draw_model(args.path, args.figure, args.size, overwrite=args.overwrite)
    if args.certify:
        return certify_model(args.path, open_volume(args.certify, args.axes, args.which))
    if args.plan:
        return plan_model(args.path, open_volume(args.plan, args.axes, args.which), args.memory)
    if args.path.suffix.lower() == ".limn":
        return model_info(args.path, args.memory or "2GB")
    return volume_info(args.path, args.axes, args.which)
