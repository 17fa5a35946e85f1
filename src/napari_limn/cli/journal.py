"""The verb ``journal``: labels out of a journal, and its facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.cli.terminal.options import add_overwrite
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    import argparse


def add_journal(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb to the parser of the command line."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "journal", help="rebuild labels from a journal of strokes, or show what is in it"
    )
    verb.add_argument("deed", choices=("replay", "info"), help="rebuild the labels, or show what is in it")
    verb.add_argument("path", type=Path, metavar="JOURNAL", help="IMAGE.strokes.jsonl")
    verb.add_argument(
        "-o", "--out", type=Path, metavar="OUT.tif|OUT.ome.zarr", help="where the labels go (replay)"
    )
    add_overwrite(verb, "write over existing labels")
    verb.set_defaults(run=_journal)
    return verb


def _journal(args: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.annotation.journal.export import journal_info, replay_events
    from napari_limn.runs import drain

    if args.deed == "info":
        return journal_info(args.path)
    if args.out is None:
        raise LimnError(f"{args.path}: found no name for the labels, expected -o OUT.tif or -o OUT.ome.zarr.")
    done = drain(replay_events(args.path, args.out, overwrite=args.overwrite))
    return {"text": f"{done}: the labels of {args.path.name}", "output": str(done)}
