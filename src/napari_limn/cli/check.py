"""The verb ``check``: what would stop or spoil a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.cli.terminal.options import add_choice, add_meaning

if TYPE_CHECKING:
    import argparse

    from napari_limn.annotation.classes import ZeroMeaning


def add_check(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that checks paint before training."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "check", help="what would stop or spoil a training on painted labels"
    )
    verb.add_argument("image", type=Path, metavar="IMAGE", help="a TIFF or an OME-Zarr folder")
    verb.add_argument("labels", type=Path, metavar="LABELS", help="what was painted on it, of the same shape")
    add_meaning(verb)
    add_choice(verb)
    verb.set_defaults(run=_check)
    return verb


def _check(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.annotation.checkup import checkup
    from napari_limn.annotation.findings import findings_json
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.reading.open import open_volume

    zero: ZeroMeaning = args.zero or ("background" if args.objects else "unlabelled")
    # refuses what training would
    spec = TrainSpec(zero=zero, dims=args.dims or 2, objects=bool(args.objects))
    image, labels = open_volume(args.image, args.axes, args.which), open_volume(args.labels)
    findings = checkup(image, labels, zero=zero, dims=spec.dims, objects=spec.objects)
    lines = [f"{'stops training' if f.stops else 'worth knowing'}: {f}" for f in findings]
    stops = any(f.stops for f in findings)
    return {
        "text": "\n".join(lines or [f"{args.labels.name}: no problem found; ready to train."]),
        "exit": int(stops),
        "stops": stops,
        "findings": findings_json(findings),
    }
