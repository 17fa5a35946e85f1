"""The verbs ``check`` and ``diagnose``: what is wrong with the paint, or with the machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from napari_limn.annotation.classes import Zero


def add_check(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that checks paint before training."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "check", help="what would stop or spoil a training on painted labels"
    )
    verb.add_argument("image", type=Path, metavar="IMAGE")
    verb.add_argument("labels", type=Path, metavar="LABELS")
    add_meaning(verb)
    verb.set_defaults(run=_check)
    return verb


def add_diagnose(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that describes the machine."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "diagnose", help="versions, device, memory and a short test of them, to copy into a report"
    )
    verb.set_defaults(run=_diagnose)
    return verb


def add_meaning(verb: argparse.ArgumentParser) -> None:
    """Add options that say what labels and axes mean, of training and of the check-up before it."""
    verb.add_argument("--zero", choices=("unlabelled", "background"), help="what 0 means (unlabelled)")
    verb.add_argument(
        "--objects", action="store_true", default=None,
        help="every value is an object of its own, 0 is background; objects that touch are parted",
    )  # fmt: skip
    verb.add_argument(
        "--dims", type=int, choices=(2, 3), help="a network over planes (2, the default) or over volumes (3)"
    )
    verb.add_argument(
        "--axes", metavar="ZYX", help="axes of the images, where the files say nothing or the wrong thing"
    )


def _check(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.annotation.checkup import checkup
    from napari_limn.annotation.findings import findings_json
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.reading.open import open_volume

    zero: Zero = args.zero or ("background" if args.objects else "unlabelled")
    # refuses what training would
    spec = TrainSpec(zero=zero, dims=args.dims or 2, objects=bool(args.objects))
    image, labels = open_volume(args.image, args.axes), open_volume(args.labels)
    found = checkup(image, labels, zero=zero, dims=spec.dims, objects=spec.objects)
    lines = [f"{'stops training' if f.stops else 'worth knowing'}: {f}" for f in found]
    stops = any(f.stops for f in found)
    return {
        "text": "\n".join(lines or [f"{args.labels.name}: nothing to mend; ready to train."]),
        "exit": int(stops),
        "stops": stops,
        "findings": findings_json(found),
    }


def _diagnose(_: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.report.diagnose import diagnose

    found = diagnose()
    return {"text": str(found), "exit": int(not found.works), **asdict(found)}
