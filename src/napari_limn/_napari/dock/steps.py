"""Steps that fold: a head to press, and what stands below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.plain_text import set_tip

if TYPE_CHECKING:
    from collections.abc import Iterable


class DockStep(QWidget):
    """A head, and the sections that it unfolds.

    Parameters
    ----------
    name, title, tip
        Its object name ``limn-step-<name>``, what the head says and what its tooltip.
    """

    asked = Signal(str)
    """The head was pressed: with the name of the step."""

    def __init__(self, name: str, title: str, tip: str) -> None:
        super().__init__()
        self.name = name
        self.sections: list[QWidget] = []
        self.inner: StepStack | None = None
        """The sections that have heads of their own."""
        self.head = QToolButton()
        self.head.setObjectName(f"limn-step-{name}")
        self.head.setText(title)
        set_tip(self.head, tip)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setCheckable(True)
        self.head.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.head.clicked.connect(lambda _=False: self.asked.emit(self.name))
        self.body = QWidget()
        self._inside = QVBoxLayout(self.body)
        self._inside.setContentsMargins(0, 0, 0, 4)
        self._inside.setSpacing(4)
        self._line = QHBoxLayout()
        self._line.addWidget(self.head)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self._line)
        column.addWidget(self.body, 1)
        self.unfold(on=False)

    def add(self, section: QWidget, folded: DockStep | None = None) -> None:
        """Put a section below the others.

        Those with a head of their own, `folded`, unfold one at a time, the first of them first.
        """
        self.sections.append(section)
        if folded is None:
            for number in range(self._inside.count()):
                self._inside.setStretch(number, 0)
            self._inside.addWidget(section, 1)  # what is left goes to the last
            return
        folded.add(section)
        if self.inner is None:
            self.inner = StepStack([folded])
            self._inside.addWidget(self.inner)
            self.inner.unfold(folded.name)
        else:
            self.inner.add(folded)

    def put_beside_head(self, control: QWidget) -> None:
        """Show a control in sight even when the step is folded."""
        self._line.addWidget(control, 0)

    def unfold(self, *, on: bool) -> None:
        """Show the sections, or hide them."""
        self.head.setChecked(on)
        self.head.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self.body.setVisible(on)
        vertical = QSizePolicy.Policy.Expanding if on else QSizePolicy.Policy.Fixed
        self.setSizePolicy(QSizePolicy.Policy.Preferred, vertical)


class StepStack(QWidget):
    """Steps of which one at a time is unfolded.

    Parameters
    ----------
    steps
        From the first to the last.
    """

    unfolded = Signal(str)
    """Another step was unfolded: with its name."""

    def __init__(self, steps: Iterable[DockStep]) -> None:
        super().__init__()
        self.steps: dict[str, DockStep] = {}
        self._now = ""
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addStretch(0)
        for step in steps:
            self.add(step)

    def add(self, step: DockStep) -> None:
        """Put a step below the others, folded."""
        self.steps[step.name] = step
        step.asked.connect(self.unfold)
        self._column.insertWidget(len(self.steps) - 1, step)

    @property
    def now(self) -> str:
        """Return the name of the step that is unfolded."""
        return self._now

    def unfold(self, name: str) -> None:
        """Unfold a step, and fold the others."""
        self._now = name
        for number, step in enumerate(self.steps.values()):
            step.unfold(on=step.name == name)
            self._column.setStretch(number, int(step.name == name))
        self.unfolded.emit(name)
