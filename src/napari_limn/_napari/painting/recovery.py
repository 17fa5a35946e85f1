"""The offer to bring strokes back that are only in a journal."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.plain_text import PlainLabel
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.painting.journalling import journal_to_offer, offer_sentence
from napari_limn._napari.painting.recorder import header_of, journals_of
from napari_limn.annotation.journal.files import found_journals
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_limn._napari.painting.recorder import Journals
    from napari_limn.annotation.journal.format import Contents


class RecoveryOffer(QWidget):
    """Offers strokes of an image back; invisible while there are none.

    Where it is, the strokes of its window are journalled.

    Parameters
    ----------
    viewer
        Where the strokes come back to.
    name
        Object name; the buttons are ``<name>-back`` and ``<name>-later``.
    taken
        Called with the layer that came back.
    saved_too
        Whether to offer also what was saved to a file of its own since its last stroke.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        name: str,
        taken: Callable[[Labels], object] | None = None,
        *,
        saved_too: bool = False,
    ) -> None:
        super().__init__()
        self.setObjectName(name)
        self.viewer, self._taken, self._saved_too = viewer, taken, saved_too
        self._image: Image | None = None
        self._path: Path | None = None
        self._journals: Journals | None = None
        self.sentence = PlainLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.back, self.later = QPushButton("Bring back"), QPushButton("Not now")
        self.back.setObjectName(f"{name}-back")
        self.back.setToolTip("Add the layer with these strokes, and go on with their journal")
        self.later.setObjectName(f"{name}-later")
        self.later.setToolTip("Leave them in the journal, and do not ask again in this window")
        self.back.clicked.connect(self._bring_back)
        self.later.clicked.connect(self._decline)
        buttons = QHBoxLayout()
        buttons.addWidget(self.back)
        buttons.addWidget(self.later)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.sentence)
        column.addLayout(buttons)
        self.setVisible(False)

    def look(self, image: Image | None) -> None:
        """Offer what there is for an image."""
        self._image, self._path = image, None
        self.sentence.clear()
        journals = self._connected()
        if image is not None and journals is not None:
            with suppress(LimnError):  # nothing can be painted on it; Train says why
                self._choose(*found_journals(header_of(image), journals.open_paths | journals.declined))
        self.back.setVisible(self._path is not None)
        self.later.setVisible(self._path is not None)
        self.setVisible(bool(self.sentence.text()))

    def _choose(self, journals: list[tuple[Path, Contents]], refused: list[str]) -> None:
        """Offer the newest journal, or say which cannot be read."""
        if (chosen := journal_to_offer(journals, saved_too=self._saved_too)) is None:
            self.sentence.setText("\n".join(refused))
        else:
            self._path = chosen[0]
            self.sentence.setText(offer_sentence(*chosen))

    def _connected(self) -> Journals | None:
        if self._journals is None and (journals := journals_of(self, self.viewer)) is not None:
            self._journals = journals
            journals.turned_over.connect(self._look_again)
        return self._journals

    def _look_again(self) -> None:
        self.look(self._image)

    def _bring_back(self) -> None:
        journals = self._connected()
        if journals is None or self._image is None or self._path is None:
            return
        try:
            layer = journals.bring_back(self._image, self._path)
        except LimnError as error:
            self.sentence.setText(in_window(str(error)))
            self.back.setVisible(False)
            return
        if self._taken is not None:
            self._taken(layer)
        self.look(self._image)

    def _decline(self) -> None:
        if self._path is not None and (journals := self._connected()) is not None:
            journals.declined.add(self._path)
        self._look_again()
