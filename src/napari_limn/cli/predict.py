"""The verb ``predict``: label every voxel of an image."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_limn.cli.terminal.options import add_axes, add_device, add_memory, add_overwrite
from napari_limn.cli.terminal.progress import followed
from napari_limn.specs import Precision, Probabilities

if TYPE_CHECKING:
    import argparse


def add_predict(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that labels an image."""
    verb: argparse.ArgumentParser = verbs.add_parser("predict", help="label every voxel of an image")
    verb.add_argument("model", type=Path, metavar="MODEL.limn")
    verb.add_argument("image", type=Path, metavar="IMAGE")
    verb.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.tif|OUT.ome.zarr", help="where the labels go"
    )
    add_memory(verb)
    verb.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="of the computation (auto: the fastest that gives 99.95 %% of the labels that float32 gives)",
    )
    add_device(verb, "where to compute (auto)")
    add_axes(verb)
    verb.add_argument(
        "--prune", type=int, metavar="DEPTH", help="cut a nested, supervised network down to this depth"
    )
    verb.add_argument(
        "--probabilities",
        choices=get_args(Probabilities),
        help="write a probability for each class too (OME-Zarr)",
    )
    add_overwrite(verb, "write over an existing output, begin an unfinished one anew")
    verb.set_defaults(run=_predict)
    return verb


def _predict(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.inference.ledger import refuse_taken

    refuse_taken(args.out, overwrite=args.overwrite)  # before PyTorch is there, and any file is opened
    from napari_limn.inference.pipeline import PredictSpec, prediction_events
    from napari_limn.model import Model
    from napari_limn.volume.reading.open import open_volume

    began = time.perf_counter()
    model = Model.load(args.model)
    spec = PredictSpec(
        memory=args.memory, precision=args.precision, device=args.device, prune=args.prune,
        probabilities=args.probabilities,
    )  # fmt: skip
    image = open_volume(args.image, args.axes)
    done = followed(prediction_events(model, image, args.out, spec, overwrite=args.overwrite), args)
    took = time.perf_counter() - began
    return {
        "text": f"{done}: {'×'.join(map(str, image.grid))} voxels labelled in {took:.1f} s",
        "output": str(done),
        "seconds": round(took, 2),
        "values": list(model.spec.classes.values),
        "dtype": str(model.spec.classes.dtype),
    }
