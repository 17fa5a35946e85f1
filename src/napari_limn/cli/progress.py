"""A run as the terminal shows it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator

    from napari_limn.runs import Event


def followed(
    run: Generator[Event, None, Any], args: argparse.Namespace, listen: Callable[[Event], None] | None = None
) -> Any:
    """Run to the end, and show progress in the terminal.

    Warnings to stderr, a progress bar where stderr is a terminal; neither where nothing is to be said.
    """
    from tqdm import tqdm

    from napari_limn.runs import BlockDone, Noted, Warned, drain
    from napari_limn.training.events import Scored, Step

    with tqdm(
        total=1.0,
        disable=args.quiet or not sys.stderr.isatty(),
        bar_format="{l_bar}{bar}| {elapsed} {postfix}",
    ) as bar:

        def on_event(event: Event) -> None:
            match event:
                case Warned(message) | Noted(message):
                    if not args.quiet:
                        sys.stderr.write(f"napari-limn: {message}\n")
                case Step(step=step, loss=loss, done=done):
                    bar.set_postfix_str(f"step {step}, loss {loss:.3f}", refresh=False)
                    bar.update(done - bar.n)
                case Scored(score=score):
                    bar.set_description_str(f"held-out IoU {score:.3f}")
                case BlockDone(done=done, total=total):
                    bar.update(done / total - bar.n)
            if listen is not None:
                listen(event)

        return drain(run, on_event)
