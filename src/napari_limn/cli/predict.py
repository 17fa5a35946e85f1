"""The verb ``predict``: label every voxel of an image."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_limn.cli.terminal.options import add_axes, add_choice, add_device, add_memory, add_overwrite
from napari_limn.cli.terminal.progress import followed
from napari_limn.errors import LimnError
from napari_limn.specs import Intensity, Precision, Probabilities, Suffix, to_json

if TYPE_CHECKING:
    import argparse


def add_predict(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that labels an image."""
    verb: argparse.ArgumentParser = verbs.add_parser("predict", help="label every voxel of an image")
    verb.add_argument("model", type=Path, metavar="MODEL.limn", help="that was trained")
    verb.add_argument(
        "image",
        type=Path,
        metavar="IMAGE",
        help="a file, a folder of images, a pattern, or @LIST.csv with a column image",
    )
    verb.add_argument("more", type=Path, nargs="*", metavar="IMAGE", help="more of them")
    verb.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.tif|OUT.ome.zarr|FOLDER",
        help="where the labels go: those of several images into a folder",
    )  # fmt: skip
    add_memory(verb)
    verb.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="of the computation (auto: the fastest that gives 99.95 %% of the labels that float32 gives)",
    )
    add_device(verb, "where to compute (auto)")
    add_axes(verb)
    add_choice(verb)
    verb.add_argument(
        "--prune", type=int, metavar="DEPTH", help="cut a nested, supervised network down to this depth"
    )
    verb.add_argument(
        "--probabilities",
        choices=get_args(Probabilities),
        help="write a probability for each class too (OME-Zarr)",
    )
    verb.add_argument(
        "--format", choices=[suffix.removeprefix(".") for suffix in get_args(Suffix)],
        help="of the labels of several images (that of each image)",
    )  # fmt: skip
    verb.add_argument(
        "--intensity", choices=get_args(Intensity),
        help="of several images: fit the intensities to each image, or once to all of them (each)",
    )  # fmt: skip
    verb.add_argument(
        "--mixed", action="store_true",
        help="go on also where the processor, card or PyTorch is another than before: labels may differ where classes tie",
    )  # fmt: skip
    add_overwrite(verb, "write over an existing output, begin an unfinished one anew")
    verb.set_defaults(run=_predict)
    return verb


def _predict(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.execution.images import is_plain_folder, names_several

    images = [args.image, *args.more]
    if len(images) > 1 or names_several(args.image) or is_plain_folder(args.out):
        return _predict_folder(args, images)
    return _predict_image(args)


def _predict_image(args: argparse.Namespace) -> dict[str, Any]:
    for flag in ("format", "intensity"):
        if getattr(args, flag) is not None:
            raise LimnError(
                f"found --{flag} with one image and one output, expected it with several images; leave it out, or name a folder "
                "that exists with -o."
            )
    from napari_limn.inference.ledger import refuse_taken

    refuse_taken(args.out, overwrite=args.overwrite)  # before PyTorch is there, and any file is opened
    from napari_limn.inference.pipeline import PredictSpec, prediction_events
    from napari_limn.model import Model
    from napari_limn.volume.reading.open import open_volume

    began = time.perf_counter()
    model, spec = Model.load(args.model), PredictSpec(**_spec(args))
    image = open_volume(args.image, args.axes, args.which)
    done = followed(prediction_events(model, image, args.out, spec, overwrite=args.overwrite), args)
    took = time.perf_counter() - began
    return {
        "text": f"{done}: {'×'.join(map(str, image.grid))} voxels labelled in {took:.1f} s",
        "output": str(done),
        "seconds": round(took, 2),
        "values": list(model.spec.classes.values),
        "dtype": str(model.spec.classes.dtype),
    }


def _predict_folder(args: argparse.Namespace, images: list[Path]) -> dict[str, Any]:
    from napari_limn.execution.folder import folder_events
    from napari_limn.inference.spec import PredictSpec

    for flag, given in {"axes": args.axes, "image": args.which}.items():
        if given is not None:
            raise LimnError(
                f"found --{flag} with several images, expected it with one; label that image on its own."
            )
    suffix: Any = args.format and f".{args.format}"
    run = folder_events(
        args.model, images, args.out, PredictSpec(**_spec(args)),
        suffix=suffix, intensity=args.intensity or "each", overwrite=args.overwrite,
    )  # fmt: skip
    result = followed(run, args)
    return {
        "text": str(result) + (f"; see {result.folder / 'manifest.csv'}" if result.failures else ""),
        "output": str(result.folder),
        "images": [to_json(entry) for entry in result.entries],
        "failed": len(result.failures),
        "exit": 1 if result.failures else 0,
    }


def _spec(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a spec that options set."""
    names = ("memory", "precision", "device", "prune", "probabilities", "mixed")
    return {name: getattr(args, name) for name in names}
