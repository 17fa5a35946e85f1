"""Where a widget goes that is opened beside others of ours.

Below them while there is room in the window, else as a tab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel

Group = Literal["paint", "run"]
"""Which widgets share tabs: those that one paints with, and those that run something."""


class DockPlace:
    """Find a widget its place when it is first docked.

    Later it stays where the user moved it. Without this, napari puts each widget below the others, and the window grows beyond the screen.

    Parameters
    ----------
    widget, viewer
        What is going to be shown, and where.
    group
        With which others it shares tabs.
    """

    def __init__(self, widget: QWidget, viewer: ViewerModel, group: Group) -> None:
        self.widget, self.group = widget, group
        window = getattr(viewer, "window", None)
        self._height = 0 if window is None else window.geometry()[3]  # before the widget was added
        self._covered: Callable[[bool], object] | None = None
        self._followed: QDockWidget | None = None
        self._timer = QTimer(widget)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._settle)
        widget.setProperty("limn-group", group)

    def when_covered(self, act: Callable[[bool], object]) -> None:
        """Call `act` when a tab covers the widget, or uncovers it.

        With whether it is in front. Qt neither hides nor shows the widget then.
        """
        self._covered = act

    def shown(self) -> None:
        """Call in the widget's ``showEvent``."""
        held = _dock_and_window(self.widget)
        if held is not None and self._covered is not None and held[0] is not self._followed:
            self._followed = held[0]
            held[0].visibilityChanged.connect(self._covered)
        if self._height and _dock_and_window(self.widget) is not None:
            self._timer.start(0)

    def _settle(self) -> None:
        held, most, self._height = _dock_and_window(self.widget), self._height, 0
        if held is None:
            return
        dock, window = held
        for pairs in (self._with_mates(dock, window), self._of_others(dock, window)):
            for one, other in pairs:
                if window.minimumSizeHint().height() <= most:
                    break
                _tabify(window, one, other)
        dock.raise_()
        self._share_out(window)
        if window.height() > most and not window.isMaximized():
            if (layout := window.layout()) is not None:
                layout.activate()
            window.resize(window.width(), most)

    def _share_out(self, window: QMainWindow) -> None:
        """Give the height that is left to what runs.

        That has more to say.
        """
        docks = [
            dock
            for dock in window.findChildren(QDockWidget)
            if _group(dock) and not dock.visibleRegion().isEmpty()
        ]
        weights = [1 if _group(dock) == "paint" else 1000 for dock in docks]
        if len(set(weights)) > 1:
            window.resizeDocks(docks, weights, Qt.Orientation.Vertical)

    def _with_mates(
        self, dock: QDockWidget, window: QMainWindow
    ) -> Iterator[tuple[QDockWidget, QDockWidget]]:
        """Yield the newest of the group, and the new one."""
        mates = [other for other in _docks(window, dock) if _group(other) == self.group]
        yield from ((mate, dock) for mate in mates[-1:])

    def _of_others(self, dock: QDockWidget, window: QMainWindow) -> Iterator[tuple[QDockWidget, QDockWidget]]:
        """Yield the first of each group, and one more of it.

        The group of the new one comes last.
        """
        for group in sorted(("paint", "run"), key=lambda name: name == self.group):
            members = [d for d in (*_docks(window, dock), dock) if _group(d) == group]
            yield from ((members[0], other) for other in members[1:])


class DockedWidget(QWidget):
    """A widget that finds its place, and notices when it is closed.

    It does nothing else: its parts do the work.

    Parameters
    ----------
    viewer
        Of the window.
    group
        With which others it shares tabs.
    """

    def __init__(self, viewer: ViewerModel, group: Group) -> None:
        super().__init__()
        self.viewer, self._place = viewer, DockPlace(self, viewer, group)

    def showEvent(self, event: Any) -> None:
        """Find the place."""
        super().showEvent(event)
        self._place.shown()

    def changeEvent(self, event: Any) -> None:
        """Notice that the widget is closed."""
        super().changeEvent(event)
        if is_closed(self, event):
            self.closed()

    def closed(self) -> None:
        """Leave nothing behind, now that the widget is closed."""


def is_closed(widget: QWidget, event: QEvent) -> bool:
    """Return whether a widget is taken out of its dock.

    That is all that napari does at the × of a dock.
    """
    return event.type() == QEvent.Type.ParentChange and widget.parent() is None


def window_of(widget: QWidget) -> QMainWindow | None:
    """Return the window that a widget is in, None if none."""
    window: QWidget | None = widget.window()
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()  # a dock that floats is a window in the window
    return window


def _dock_and_window(widget: QWidget) -> tuple[QDockWidget, QMainWindow] | None:
    """Return the dock of a widget and its window.

    None where it floats, or is in no dock.
    """
    held: QWidget | None = widget
    while held is not None and not isinstance(held, QDockWidget):
        held = held.parentWidget()
    if held is None or held.isFloating():
        return None
    window = held.parentWidget()
    return (held, window) if isinstance(window, QMainWindow) else None


def _docks(window: QMainWindow, dock: QDockWidget) -> list[QDockWidget]:
    """Return other docks of ours in the area of this one."""
    area = window.dockWidgetArea(dock)
    return [
        other
        for other in window.findChildren(QDockWidget)
        if other is not dock and not other.isFloating() and not other.isHidden()
        and window.dockWidgetArea(other) == area and _group(other)
    ]  # fmt: skip


def _group(dock: QDockWidget) -> Group | None:
    inner = dock.widget()
    return None if inner is None else inner.property("limn-group")


def _tabify(window: QMainWindow, one: QDockWidget, other: QDockWidget) -> None:
    if other not in window.tabifiedDockWidgets(one):
        for dock in (one, other):
            dock.setWindowTitle(
                dock.windowTitle().split(" (")[0]
            )  # without the plugin's name: a tab is narrow
        window.tabifyDockWidget(one, other)
