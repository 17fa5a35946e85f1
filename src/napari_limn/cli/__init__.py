"""The command line: ``napari-limn demo | check | train | predict | next | score | info | journal | diagnose``."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from napari_limn.cli.check import add_check, add_diagnose, add_meaning
from napari_limn.cli.journal import add_journal
from napari_limn.cli.next import add_next
from napari_limn.cli.progress import followed
from napari_limn.errors import LimnError
from napari_limn.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_limn.events import Event
    from napari_limn.model import Model
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.volume import Volume

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process where not given.

    Returns
    -------
    0 when done, 1 for an error of the user's (one sentence on stderr), 2 for wrong usage, 130 when interrupted.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have letters that the console does not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return _run(args)
    except LimnError as error:
        sys.stderr.write(f"napari-limn: {error}\n")
    except OSError as error:
        if error.errno is None:
            raise
        sys.stderr.write(
            f"napari-limn: {error.filename or 'the disk'}: {error.strerror}; mend that and try again.\n"
        )
    except KeyboardInterrupt:
        sys.stderr.write("napari-limn: interrupted.\n")
        return INTERRUPTED
    return 1


def _run(args: argparse.Namespace) -> int:
    result: dict[str, Any] = args.run(args)
    code = int(result.pop("exit", 0))
    text = str(result.pop("text"))
    if not args.quiet:
        sys.stdout.write(text + "\n")
    if args.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="napari-limn", description="From a few strokes to a seam-free label volume."
    )
    parser.add_argument("--version", action="version", version=f"napari-limn {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in (
        _add_demo, add_check, _add_train, _add_predict, add_next, _add_score, _add_info, add_journal, add_diagnose,
    ):  # fmt: skip
        verb = add(verbs)
        verb.add_argument("--json", action="store_true", help="end with one machine-readable line")
        verb.add_argument("--quiet", action="store_true", help="say nothing but errors")
    return parser


def _add_demo(verbs: Any) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        "demo", help="train on real strokes, predict, score, take a screenshot"
    )
    verb.add_argument(
        "--out", type=Path, default=Path("limn-demo"), metavar="DIR", help="where results go (limn-demo)"
    )
    verb.add_argument("--seconds", type=float, default=60, metavar="S", help="training time (60)")
    verb.add_argument("--no-window", action="store_true", help="do not open napari")
    verb.set_defaults(run=_demo)
    return verb


def _add_train(verbs: Any) -> argparse.ArgumentParser:
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
    verb.add_argument(
        "--preset", choices=("fast", "balanced", "thorough"), help="how large a network (balanced)"
    )
    add_meaning(verb)
    verb.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), help="where to train (auto)")
    verb.add_argument("--overwrite", action="store_true", help="write over an existing model")
    verb.set_defaults(run=_train)
    return verb


def _add_predict(verbs: Any) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser("predict", help="label every voxel of an image")
    verb.add_argument("model", type=Path, metavar="MODEL.limn")
    verb.add_argument("image", type=Path, metavar="IMAGE")
    verb.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.tif|OUT.ome.zarr", help="where the labels go"
    )
    verb.add_argument(
        "--memory", metavar="2GB", help="most memory to use (half of what is free, at most 4GB)"
    )
    verb.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="of the computation (auto: the fastest that gives 99.95 %% of the labels that float32 gives)",
    )
    verb.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute (auto)"
    )
    verb.add_argument(
        "--axes", metavar="ZYX", help="axes of the image, where the file says nothing or the wrong thing"
    )
    verb.add_argument(
        "--prune", type=int, metavar="DEPTH", help="cut a nested, supervised network down to this depth"
    )
    verb.add_argument(
        "--probabilities",
        choices=("uint8", "float16"),
        help="write a probability for each class too (OME-Zarr)",
    )
    verb.add_argument(
        "--overwrite", action="store_true", help="write over an existing output, begin an unfinished one anew"
    )
    verb.set_defaults(run=_predict)
    return verb


def _add_score(verbs: Any) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser("score", help="compare labels with the truth")
    verb.add_argument("prediction", type=Path, metavar="PRED")
    verb.add_argument("truth", type=Path, metavar="TRUTH")
    verb.add_argument(
        "--zero", choices=("auto", "unlabelled", "background"), default="auto",
        help="whether 0 in TRUTH is a class (auto: if PRED has it too)",
    )  # fmt: skip
    verb.set_defaults(run=_score)
    return verb


def _add_info(verbs: Any) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        "info", help="what is in a model, an image or a label file"
    )
    verb.add_argument("path", type=Path, metavar="PATH")
    verb.add_argument(
        "--axes", metavar="ZYX", help="axes of the image, where the file says nothing or the wrong thing"
    )
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
    verb.add_argument(
        "--memory", metavar="2GB", help="most memory to plan with (with --plan as of predict, else 2GB)"
    )
    verb.add_argument("--overwrite", action="store_true", help="write over an existing picture")
    verb.set_defaults(run=_info)
    return verb


def _demo(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.demo import run_demo

    def watch(run: Generator[Event, None, Any]) -> Any:
        return followed(run, args)

    def say(text: str) -> None:
        if not args.quiet:
            sys.stdout.write(text + "\n")

    return run_demo(args.out, args.seconds, window=not args.no_window, watch=watch, say=say)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.model import Model
    from napari_limn.training.trainer import training_events
    from napari_limn.volume.reading.open import open_volume

    if len(args.pair) not in (0, 2) or not args.pair + args.pairs:
        raise LimnError(
            f"found {len(args.pair)} files, expected IMAGE LABELS (more of them with --pair IMAGE LABELS)."
        )
    _refuse_unwritable(args.out, overwrite=args.overwrite)
    pairs = ([args.pair] if args.pair else []) + args.pairs
    images = [open_volume(image, args.axes) for image, _ in pairs]
    start = Model.load(args.start) if args.start else None
    if start is not None and (args.preset or args.dims not in (None, start.spec.network.ndim)):
        given = f"--preset {args.preset}" if args.preset else f"--dims {args.dims}"
        raise LimnError(
            f"{args.start}: found {given} with --from, expected one of the two: a model that is trained further keeps its network; leave "
            "out --from for a new one."
        )
    run = training_events(images, [labels for _, labels in pairs], _train_spec(args), model=start)
    model, stopped = _best_of(run, args)
    model.save(args.out)
    spec = model.spec
    if not spec.network.tile_exact and not args.quiet:
        sys.stderr.write(f"napari-limn: {_seams(model, images[0])}\n")
    score = "not scored" if spec.score is None else f"held-out IoU {spec.score:.3f}"
    return {
        "text": f"{'Stopped; best so far: ' if stopped else ''}{args.out}: {model!r}, {spec.steps} steps, {score}",
        "exit": INTERRUPTED if stopped else 0,
        "model": str(args.out),
        "score": spec.score,
        "steps": spec.steps,
        "seconds": round(spec.seconds, 2),
        "classes": list(spec.classes.values),
    }


def _refuse_unwritable(out: Path, *, overwrite: bool) -> None:
    """Refuse a name that no model can have, before the time to train one is spent."""
    from napari_limn.durable import disk_faults
    from napari_limn.volume.writing.destination import refuse_existing

    if out.suffix.lower() != ".limn":
        raise LimnError(f"{out}: found suffix {out.suffix or '(none)'!r}, expected .limn for a model.")
    if not out.parent.is_dir():
        raise LimnError(f"{out.parent}: there is no such folder to write {out.name} into; create it first.")
    refuse_existing(out, overwrite=overwrite)
    if out.is_dir():
        raise LimnError(f"{out}: found a folder, expected the name of a model file; choose another name.")
    # a file with a name of its own, since another run may be saving to OUT.partial; it is as long
    with disk_faults(out, "nothing was trained"), NamedTemporaryFile(prefix=out.name, dir=out.parent):
        pass


def _seams(model: Model, image: Volume) -> str:
    """What is to be said of a model whose tiles differ from the whole image, or why it takes no image so small."""
    from napari_limn.report.info import certificate

    try:
        found = certificate(model, image)
    except LimnError as error:
        return str(error)
    norm = model.spec.network.norm
    return f"{norm} normalisation looks at the whole tile, so predictions have seams: {found}."


def _train_spec(args: argparse.Namespace) -> TrainSpec:
    """The spec file with the options on top."""
    from napari_limn.specs import from_json
    from napari_limn.training.spec import TrainSpec

    found: dict[str, Any] = {}
    if args.spec:
        try:
            found = json.loads(args.spec.read_text())
        except ValueError as error:
            raise LimnError(f"{args.spec}: found no valid JSON ({error}), expected a TrainSpec.") from error
    keys = ("seconds", "steps", "seed", "zero", "objects", "preset", "dims", "device")
    asked = {k: getattr(args, k) for k in keys}
    if args.objects and args.zero is None:
        asked["zero"] = "background"
    if not isinstance(found, dict):
        raise LimnError(
            f"{args.spec}: found a {type(found).__name__}, expected an object with the keys of a TrainSpec."
        )
    if args.seconds is not None:
        found.pop("steps", None)  # which would count instead
    return from_json(TrainSpec, found | {k: v for k, v in asked.items() if v is not None})


def _best_of(run: Generator[Event, None, Model], args: argparse.Namespace) -> tuple[Model, bool]:
    """The model of a run, or the best so far of one that was interrupted."""
    from napari_limn.events import Improved

    best: list[Model] = []

    def keep(event: Event) -> None:
        if isinstance(event, Improved):
            best[:] = [event.model]

    try:
        return followed(run, args, keep), False
    except KeyboardInterrupt:
        run.close()
        if not best:
            raise
        return best[0], True


def _predict(args: argparse.Namespace) -> dict[str, Any]:
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


def _score(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.evaluation.scores import score

    found = score(args.prediction, args.truth, args.zero)
    rows = [f"  {value}: IoU {found.iou[value]:.4f}, Dice {found.dice[value]:.4f}" for value in found.iou]
    return {
        "text": "\n".join([f"mean IoU {found.mean_iou:.4f}, mean Dice {found.mean_dice:.4f}", *rows]),
        **asdict(found),
    }


def _info(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.report.info import certify_model, draw_model, model_info, plan_model, volume_info
    from napari_limn.volume.writing.destination import refuse_existing

    if args.figure:
        refuse_existing(args.figure, overwrite=args.overwrite)
        return draw_model(args.path, args.figure, args.size)
    if args.certify:
        return certify_model(args.path, args.certify, args.axes)
    if args.plan:
        return plan_model(args.path, args.plan, args.memory, args.axes)
    if args.path.suffix.lower() == ".limn":
        return model_info(args.path, args.memory or "2GB")
    return volume_info(args.path, args.axes)
