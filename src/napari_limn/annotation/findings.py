"""What a check-up finds: one sentence each, and what fixes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_limn.errors import LimnError
from napari_limn.runs import Warned

if TYPE_CHECKING:
    from collections.abc import Callable

FindingKind = Literal[
    "shape", "values", "depth", "numbers", "paint", "classes", "few", "slice",
    "place", "file", "axes", "constant", "saturated", "sparse", "alike", "unlike",
]  # fmt: skip
"""Of a finding.

`shape`, `values`, `depth`, `numbers`, `paint` and `classes` stop training: labels and image differ in extent; negative or broken labels; a
single plane for a network over volumes; voxels that are no intensities; nothing painted; one class only, or so many that they number objects. The others are worth knowing:
`few` voxels of a class; all strokes in one `slice`; labels lie in another `place` than the image; what a `file` holds besides; doubtful `axes`; `numbers` that are not finite; a `constant` or
`saturated` or `sparse` image; two classes painted where the image is `alike`; much of the image `unlike` anything painted.
"""

Action = Literal["select", "go", "zero", "objects", "dims", "place", "layer", "axes"]

_OF_PAINT = {"values", "paint", "classes", "few", "slice", "alike", "unlike"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What fixes a finding.

    The window does it at a click, the command line names its option.

    Parameters
    ----------
    action
        ``"select"`` the value to paint with, ``"go"`` to a place, treat ``"zero"`` as background, take values for numbers of
        ``"objects"``, train a network of other ``"dims"``, copy the image's ``"place"`` (scale and origin) to the labels, make a
        ``"layer"`` that fits, or name the ``"axes"``.
    value
        The value to select, or 2 or 3 for `dims`.
    place
        Where to go, on the TZYX grid.
    axes
        Names of the axes, in the order of the image.
    """

    action: Action
    value: int | None = None
    place: tuple[int, int, int, int] | None = None
    axes: str | None = None

    @property
    def option(self) -> str | None:
        """Return the command-line option that does it, if there is one.

        Examples
        --------
        >>> Remedy(action="dims", value=2).option
        '--dims 2'
        """
        options = {
            "zero": "--zero background", "objects": "--objects", "dims": f"--dims {self.value}", "axes": f"--axes {self.axes}",
        }  # fmt: skip
        return options.get(self.action)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check-up found.

    Parameters
    ----------
    kind
        What it is about.
    stops
        Whether nothing can be trained before it is fixed; otherwise it is worth knowing.
    sentence
        What was found, what is expected, how to fix it.
    remedies
        What fixes it; any one of them will do.
    """

    kind: FindingKind
    stops: bool
    sentence: str
    remedies: tuple[Remedy, ...] = ()

    @property
    def of_paint(self) -> bool:
        """Return whether it is about what is painted.

        Then it may pass as the user paints on.
        """
        return self.kind in _OF_PAINT

    def __str__(self) -> str:
        options = [option for remedy in self.remedies if (option := remedy.option)]
        return self.sentence + (f" [{' or '.join(options)}]" if options else "")


def findings_json(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """Return findings as plain dicts."""
    return [asdict(finding) for finding in findings]


@dataclass(frozen=True, slots=True)
class Found(Warned):
    """A warning that comes with what fixes it."""

    finding: Finding

    @classmethod
    def of(cls, finding: Finding) -> Found:
        """Make the event that reports a finding."""
        return cls(str(finding), finding)


def attempt(findings: list[Finding], kind: FindingKind, act: Callable[[], Any], *remedies: Remedy) -> Any:
    """Return what `act` returns, or None with a finding.

    That is for the error that would stop training.
    """
    try:
        return act()
    except LimnError as error:
        findings.append(Finding(kind, True, str(error), remedies))
        return None
