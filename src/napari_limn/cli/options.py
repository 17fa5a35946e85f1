"""Options that several verbs share, and what they exit with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


INTERRUPTED = 130


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
