"""The verb ``demo``: the whole way on real strokes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.cli.terminal.progress import followed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from napari_limn.events import Event


def add_demo(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that does the whole job on shipped images."""
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


def _demo(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.demo import run_demo

    def watch(run: Generator[Event, None, Any]) -> Any:
        return followed(run, args)

    def say(text: str) -> None:
        if not args.quiet:
            sys.stdout.write(text + "\n")

    return run_demo(args.out, args.seconds, window=not args.no_window, watch=watch, say=say)
