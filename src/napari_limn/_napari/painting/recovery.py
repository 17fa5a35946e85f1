"""Strokes that are in a journal and in no layer are offered back: a sentence and two buttons."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.painting.recorder import header_of, journals_of
from napari_limn.annotation.journal.files import found_journals
from napari_limn.annotation.journal.history import History
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_limn._napari.painting.recorder import Journals
    from napari_limn.annotation.journal.format import Contents

_DECLINED: set[Path] = set()  # for as long as napari is open


class RecoveryOffer(QWidget):
    """Offers strokes of an image back; invisible while there are none. Being there, it sees to it that all are journalled.

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
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.back, self.later = QPushButton("Bring back"), QPushButton("Not now")
        self.back.setObjectName(f"{name}-back")
        self.back.setToolTip("Add the layer with these strokes, and go on with their journal")
        self.later.setObjectName(f"{name}-later")
        self.later.setToolTip("Leave them in the journal, and do not ask again until napari is opened anew")
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
                self._choose(*found_journals(header_of(image), journals.open_paths | _DECLINED))
        self.back.setVisible(self._path is not None)
        self.later.setVisible(self._path is not None)
        self.setVisible(bool(self.sentence.text()))

    def _choose(self, found: list[tuple[Path, Contents]], refused: list[str]) -> None:
        """Offer the newest journal; if there is none, say which cannot be read."""
        for path, contents in found:
            if self._is_wanted(contents):
                self._path = path
                self.sentence.setText(_sentence(path, contents))
                return
        self.sentence.setText("\n".join(refused))

    def _connected(self) -> Journals | None:
        if self._journals is None and (found := journals_of(self, self.viewer)) is not None:
            self._journals = found
            found.turned_over.connect(self._look_again)
        return self._journals

    def _look_again(self) -> None:
        self.look(self._image)

    def _is_wanted(self, contents: Contents) -> bool:
        saved = contents.records[-1].kind == "saved"
        return (self._saved_too or not saved) and bool(History.of(contents.records).done)

    def _bring_back(self) -> None:
        journals = self._connected()
        if journals is None or self._image is None or self._path is None:
            return
        try:
            layer = journals.bring_back(self._image, self._path)
        except LimnError as error:
            self.sentence.setText(str(error))
            self.back.setVisible(False)
            return
        if self._taken is not None:
            self._taken(layer)
        self.look(self._image)

    def _decline(self) -> None:
        if self._path is not None:
            _DECLINED.add(self._path)
        self._look_again()


def _sentence(path: Path, contents: Contents) -> str:
    count = len(History.of(contents.records).done)
    when = datetime.fromtimestamp(contents.records[-1].time).astimezone()
    strokes = f"{count} stroke{'' if count == 1 else 's'}"
    last = contents.records[-1]
    saved = f" They were saved as {last.note}." if last.kind == "saved" else ""
    return f"{strokes} on this image, the last on {when:%d %B at %H:%M}, are in {path.name} and in no layer.{saved}"
