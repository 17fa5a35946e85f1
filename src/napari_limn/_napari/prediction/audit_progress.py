"""An audit patch by patch: what was judged, what is refused.

No Qt: the box is drawn elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.classes import default_name
from napari_limn.errors import LimnError
from napari_limn.evaluation.audit import AUDIT_SUFFIX, Audit, estimate, joint_counts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.evaluation.audit import Frame
    from napari_limn.volume.boxes import Box


class AuditProgress:
    """One audit of the labels of one layer.

    Parameters
    ----------
    frame
        All patches of these labels.
    beside
        File that the audit is saved beside, under a name that says of which labels it is; None keeps it in memory.

    Raises
    ------
    LimnError
        If there is a file of that name which is no audit of these labels.
    """

    def __init__(self, frame: Frame, beside: Path | None) -> None:
        self.frame = frame
        self.path = beside and beside.with_name(f"{beside.name}.{frame.digest}{AUDIT_SUFFIX}")
        self.audit = Audit.load(self.path, frame) if self.path else Audit(frame.digest)
        self.patch: int | None = None
        """The patch that is asked about; None before the first and after the last one."""
        self.correcting = False
        """Whether the user is painting over the patch."""

    @property
    def box(self) -> Box | None:
        """Return where the patch lies that is asked about."""
        return None if self.patch is None else self.frame.box(self.patch)

    def next(self) -> Box | None:
        """Ask about the next patch; return its box.

        None when every one was seen.
        """
        _, self.patch = self.audit.drawn(self.frame)
        self.correcting = False
        return self.box

    def end(self) -> None:
        """Ask about no patch any more."""
        self.patch, self.correcting = None, False

    def accept(self, labels: NDArray[Any], corrected: NDArray[Any] | None) -> int:
        """Take the patch as right; return how many pixels were corrected.

        Parameters
        ----------
        labels
            What the audited labels hold in the box.
        corrected
            What the layer of corrections holds there; None if it was removed, or nothing was corrected.

        Raises
        ------
        LimnError
            If something was painted that is no class of the labels, or on the labels themselves, or the corrections are gone.
        """
        if self.patch is None:
            return 0
        counts = [np.count_nonzero(labels == value) for value in self.frame.values]
        if counts != [*self.frame.counts[self.patch]]:
            raise LimnError(
                "the labels in the box are not those that the audit began with; undo what was painted on them and press Correct, "
                "or press Audit to begin with the labels of now."
            )
        right = labels
        if self.correcting:
            if corrected is None:
                self.correcting = False
                raise LimnError(
                    "the layer with your corrections of this patch was removed; press Correct to paint them again, or Accept if "
                    "the labels in the box are right as they are."
                )
            right = corrected
        self._judge(joint_counts(labels, right, self.frame.values))
        return int(np.count_nonzero(labels != right))

    def skip(self) -> None:
        """Pass over the patch."""
        self._judge(None)

    def _judge(self, counts: Any) -> None:
        if self.patch is not None:
            audit = self.audit.with_verdict(self.patch, counts)
            if self.path is not None:  # a verdict that cannot be kept does not count
                audit.save(self.path)
            self.audit = audit

    # ---- what is shown -------------------------------------------------------------------------------------------
    def names(self, known: Mapping[int, str]) -> dict[int, str]:
        """Return a name for each class, the `known` ones first."""
        return {value: known.get(value, default_name(value)) for value in self.frame.values}

    def sentences(self, known: Mapping[int, str]) -> list[str]:
        """Return what is known of each class by now."""
        names = self.names(known)
        return [
            f"Dice of {names[value]} {dice} for the whole image; IoU {dice.iou}"
            for value, dice in estimate(self.frame, self.audit).items()
        ]

    def brush(self, selected: int) -> int:
        """Return the class to correct with.

        The one selected, or the largest of the patch if that is none of the labels.
        """
        values = self.frame.values
        if selected in values or self.patch is None:
            return selected
        counts = np.where(values, self.frame.counts[self.patch], 0)  # background is no paint to begin with
        return max(zip(counts.tolist(), values, strict=True))[1]
