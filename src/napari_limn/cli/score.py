"""The verb ``score``: labels beside the truth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_limn.specs import ZeroMeaning

if TYPE_CHECKING:
    import argparse


def add_score(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that compares labels with the truth."""
    verb: argparse.ArgumentParser = verbs.add_parser("score", help="compare labels with the truth")
    verb.add_argument("prediction", type=Path, metavar="PRED", help="labels that were predicted")
    verb.add_argument("truth", type=Path, metavar="TRUTH", help="labels that are right")
    verb.add_argument(
        "--zero", choices=("auto", *get_args(ZeroMeaning)), default="auto",
        help="whether 0 in TRUTH is a class (auto: if PRED has it too)",
    )  # fmt: skip
    verb.set_defaults(run=_score)
    return verb


def _score(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.evaluation.scores import score

    result = score(args.prediction, args.truth, args.zero)
    rows = [f"  {value}: IoU {result.iou[value]:.4f}, Dice {result.dice[value]:.4f}" for value in result.iou]
    return {
        "text": "\n".join([f"mean IoU {result.mean_iou:.4f}, mean Dice {result.mean_dice:.4f}", *rows]),
        **asdict(result),
    }
