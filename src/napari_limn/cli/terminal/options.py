"""Options that several verbs share.

Each is written once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from napari_limn.specs import DeviceName, ZeroMeaning

if TYPE_CHECKING:
    import argparse

_DIMS = (2, 3)
_USED = "most memory to use (half of what is free, at most 4GB)"


def add_memory(verb: argparse.ArgumentParser, text: str = _USED) -> None:
    """Add the option that limits memory."""
    verb.add_argument("--memory", metavar="2GB", help=text)


def add_device(verb: argparse.ArgumentParser, text: str, default: DeviceName | None = "auto") -> None:
    """Add the option that chooses the device.

    Without a default, a spec decides where it is not given.
    """
    verb.add_argument("--device", choices=get_args(DeviceName), default=default, help=text)


def add_axes(verb: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the option that names axes, of one image or of several."""
    what = (
        "axes of the images, where the files say nothing or the wrong thing"
        if several
        else "axes of the image, where the file says nothing or the wrong thing"
    )
    verb.add_argument("--axes", metavar="ZYX", help=what)


def add_choice(verb: argparse.ArgumentParser) -> None:
    """Add the option that chooses one of several images of a path."""
    verb.add_argument(
        "--image", dest="which", metavar="N",
        help="which one, where the path holds several: its number, from 0, or its place in the folder, as A/1/0",
    )  # fmt: skip


def add_overwrite(verb: argparse.ArgumentParser, text: str) -> None:
    """Add the option that allows to write over what is there."""
    verb.add_argument("--overwrite", action="store_true", help=text)


def add_quiet_and_json(verb: argparse.ArgumentParser) -> None:
    """Add what every verb has: how much it says, and to whom."""
    verb.add_argument("--json", action="store_true", help="end with one machine-readable line")
    verb.add_argument("--quiet", action="store_true", help="say nothing but errors")


def add_meaning(verb: argparse.ArgumentParser) -> None:
    """Add options that say what labels and axes mean.

    Of training and of the check-up before it.
    """
    verb.add_argument("--zero", choices=get_args(ZeroMeaning), help="what 0 means (unlabelled)")
    verb.add_argument(
        "--objects", action="store_true", default=None,
        help="every value is an object of its own, 0 is background; objects that touch are separated",
    )  # fmt: skip
    verb.add_argument(
        "--dims", type=int, choices=_DIMS, help="a network over planes (2, the default) or over volumes (3)"
    )
    add_axes(verb, several=True)
