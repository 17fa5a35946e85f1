"""The verb ``train``: from painted labels to a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_limn.cli.terminal.options import add_device, add_meaning, add_overwrite
from napari_limn.cli.terminal.progress import followed
from napari_limn.cli.terminal.signals import ended_of, rescued_by
from napari_limn.errors import LimnError
from napari_limn.files.paths import refuse_no_file
from napari_limn.specs import Preset, parse_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from napari_limn.checkpoint import Checkpoint
    from napari_limn.events import Event
    from napari_limn.model import Model
    from napari_limn.specs import DeviceName
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.volume import Volume


def add_train(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that trains a model."""
    verb: argparse.ArgumentParser = verbs.add_parser("train", help="train a model on painted labels")
    verb.add_argument("pair", nargs="*", metavar="IMAGE LABELS", help="an image and its labels")
    verb.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        dest="pairs",
        metavar=("IMAGE", "LABELS"),
        help="one more; repeatable",
    )
    verb.add_argument(
        "--pairs",
        type=Path,
        dest="table",
        metavar="LIST.csv",
        help="more of them: a table with columns image and labels",
    )
    verb.add_argument(
        "-o", "--out", type=Path, required=True, metavar="MODEL.limn", help="where the model goes"
    )
    budget = verb.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, metavar="S", help="time budget (60)")
    budget.add_argument("--steps", type=int, metavar="N", help="number of steps instead of a time budget")
    verb.add_argument("--seed", type=int, metavar="K", help="of everything random (0)")
    verb.add_argument(
        "--from", type=Path, dest="start", metavar="MODEL.limn", help="train this model further"
    )
    verb.add_argument("--spec", type=Path, metavar="SPEC.json", help="a TrainSpec as JSON")
    verb.add_argument("--preset", choices=get_args(Preset), help="how large a network (balanced)")
    add_meaning(verb)
    add_device(verb, "where to train (auto)", default=None)
    add_overwrite(verb, "write over an existing model")
    verb.set_defaults(run=_train)
    return verb


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.checkpoint import Checkpoint

    if len(args.pair) not in (0, 2) or not (args.pair or args.pairs or args.table):
        raise LimnError(
            f"found {len(args.pair)} files, expected IMAGE LABELS (more of them with --pair IMAGE LABELS or --pairs LIST.csv)."
        )
    _refuse_unwritable(args.out, overwrite=args.overwrite)
    with Checkpoint(args.out, overwrite=args.overwrite, start=args.start) as checkpoint:
        try:
            return _train_into(checkpoint, args)
        except BaseException as error:
            if checkpoint.flush() and str(checkpoint.path) not in str(error):
                sys.stderr.write(f"napari-limn: the best model so far is kept in {checkpoint.path}.\n")
            raise


def _train_into(checkpoint: Checkpoint, args: argparse.Namespace) -> dict[str, Any]:
    """Train a model that the checkpoint keeps, and describe it."""
    from napari_limn.execution.images import pairs_in
    from napari_limn.volume.intensity import refuse_no_intensities
    from napari_limn.volume.reading.open import open_volume

    pairs = [*([args.pair] if args.pair else []), *args.pairs, *(pairs_in(args.table) if args.table else [])]
    images = [open_volume(image, args.axes) for image, _ in pairs]
    for image in images:  # before PyTorch is there
        refuse_no_intensities(image)
    from napari_limn.model import Model
    from napari_limn.training.trainer import training_events

    start = Model.load(args.start) if args.start else None
    asked = _train_spec(args)
    _refuse_other_network(args, asked, start)
    run = training_events(images, [labels for _, labels in pairs], asked, model=start)
    with rescued_by(checkpoint.rescue):
        model, stopped = _best_of(run, checkpoint, args)
        checkpoint.finish(model)
    spec = model.spec
    if not (spec.network.tile_exact or args.quiet or stopped):
        sys.stderr.write(f"napari-limn: {_seams(model, images[0], asked.device)}\n")
    score = "not scored" if spec.score is None else f"held-out IoU {spec.score:.3f}"
    return {
        "text": f"{'Stopped; best so far: ' if stopped else ''}{args.out}: {model!r}, {spec.steps} steps, {score}",
        "exit": stopped,
        "model": str(args.out),
        "score": spec.score,
        "steps": spec.steps,
        "seconds": round(spec.seconds, 2),
        "classes": list(spec.classes.values),
    }


def _refuse_unwritable(out: Path, *, overwrite: bool) -> None:
    """Refuse a name that no model can have.

    Before the time to train one is spent.
    """
    from napari_limn.volume.writing.replacing import refuse_existing

    if out.suffix.lower() != ".limn":
        raise LimnError(f"{out}: found suffix {out.suffix or '(none)'!r}, expected .limn for a model.")
    if not out.parent.is_dir():
        raise LimnError(f"{out.parent}: there is no such folder to write {out.name} into; create it first.")
    refuse_existing(out, overwrite=overwrite, file=True)


def _seams(model: Model, image: Volume, device: DeviceName) -> str:
    """Describe the seams of a model whose tiles are not exact.

    Or say why it takes no image so small.
    """
    from napari_limn.inference.pipeline import certificate

    try:
        difference = certificate(model, image, device)
    except LimnError as error:
        return str(error)
    norm = model.spec.network.norm
    return f"{norm} normalisation looks at the whole tile, so predictions have seams: {difference}."


def _spec_file(path: Path) -> dict[str, Any]:
    """Read the keys of a spec file."""
    try:
        content = parse_json(refuse_no_file(path).read_bytes(), "a TrainSpec")
    except LimnError as error:
        raise LimnError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise LimnError(
            f"{path}: found a {type(content).__name__}, expected an object with the keys of a TrainSpec."
        )
    return content


def _refuse_other_network(args: argparse.Namespace, asked: TrainSpec, start: Model | None) -> None:
    """Refuse two options that ask for different networks.

    One of them would be left out without a word.
    """
    from napari_limn.training.planning.resolve import is_other_network

    own = asked.network
    size = f"--preset {args.preset}" if args.preset else ""
    axes = f"--dims {args.dims}" if args.dims else ""
    if start is not None:
        kept = start.spec.network
        given = size or (axes if args.dims != kept.ndim else "")
        if not given and own is not None and is_other_network(own, kept):
            given = "another network in --spec"
        if given:
            raise LimnError(
                f"{args.start}: found {given} with --from, expected one of the two: a model that is trained further keeps its network; leave "
                "out --from for a new one."
            )
    elif own is not None:
        same = args.preset == _spec_file(args.spec).get("preset")
        given = ("" if same else size) or (axes if args.dims != own.ndim else "")
        if given:
            raise LimnError(
                f"{args.spec}: found {given} with a network in --spec, expected one of the two: that network counts as it is; leave out "
                f"{given.split()[0]}, or the network in the file."
            )


def _train_spec(args: argparse.Namespace) -> TrainSpec:
    """Read the spec file, with the options on top."""
    from napari_limn.specs import from_json
    from napari_limn.training.spec import TrainSpec

    content = _spec_file(args.spec) if args.spec else {}
    keys = ("seconds", "steps", "seed", "zero", "objects", "preset", "dims", "device")
    asked = {k: getattr(args, k) for k in keys}
    if args.objects and args.zero is None:
        asked["zero"] = "background"
    if args.seconds is not None:
        content.pop("steps", None)  # which would count instead
    return from_json(TrainSpec, content | {k: v for k, v in asked.items() if v is not None})


def _best_of(
    run: Generator[Event, None, Model], checkpoint: Checkpoint, args: argparse.Namespace
) -> tuple[Model, int]:
    """Return the model of a run, and its exit code.

    Then it is the best so far.
    """
    from napari_limn.events import Improved

    best: list[Model] = []

    def keep(event: Event) -> None:
        before = checkpoint.fault
        if isinstance(event, Improved):
            best[:] = [event.model]
            checkpoint.keep(event.model)
        else:
            checkpoint.write_due()
        if checkpoint.fault and not before and not args.quiet:
            sys.stderr.write(f"napari-limn: {checkpoint.fault} The training goes on.\n")

    try:
        return followed(run, args, keep), 0
    except KeyboardInterrupt as stop:
        run.close()
        if not best:
            raise
        return best[0], ended_of(stop).code
