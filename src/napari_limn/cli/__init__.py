"""The command line: ``napari-limn VERB``, with one file a verb."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

from napari_limn.cli.check import add_check
from napari_limn.cli.demo import add_demo
from napari_limn.cli.diagnose import add_diagnose
from napari_limn.cli.info import add_info
from napari_limn.cli.journal import add_journal
from napari_limn.cli.next import add_next
from napari_limn.cli.objects import add_objects
from napari_limn.cli.predict import add_predict
from napari_limn.cli.score import add_score
from napari_limn.cli.terminal.options import add_quiet_and_json
from napari_limn.cli.terminal.progress import telling
from napari_limn.cli.terminal.signals import ended_by_signals, ended_of, leave
from napari_limn.cli.train import add_train
from napari_limn.errors import LimnError
from napari_limn.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


@telling
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process where not given.

    Returns
    -------
    0 when done, 1 for an error of the user's (one sentence on stderr), 2 for wrong usage, 130 when interrupted; 143 and 129 when
    ended by SIGTERM or SIGHUP.
    """
    try:
        args = make_parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    if argv is None and not sys.warnoptions:
        warnings.simplefilter(
            "ignore"
        )  # of libraries, to programmers; what users must know is said in sentences
    try:
        with ended_by_signals(alone=argv is None):
            return leave(_run(args))
    except LimnError as error:
        sys.stderr.write(f"napari-limn: {error}\n")
    except OSError as error:
        if error.errno is None:
            raise
        sys.stderr.write(
            f"napari-limn: {error.filename or 'the disk'}: {error.strerror}; fix that and try again.\n"
        )
    except KeyboardInterrupt as stop:
        ended = ended_of(stop)
        sys.stderr.write(f"napari-limn: {ended}.\n")
        return leave(ended.code)
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


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="napari-limn", description="From a few strokes to a seam-free label volume."
    )
    parser.add_argument("--version", action="version", version=f"napari-limn {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in (
        add_demo, add_check, add_train, add_predict, add_objects, add_next, add_score, add_info, add_journal, add_diagnose,
    ):  # fmt: skip
        verb = add(verbs)
        add_quiet_and_json(verb)
    return parser
