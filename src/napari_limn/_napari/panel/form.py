"""Rows of a form: layers, models, channels, values of a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from magicgui.widgets import ComboBox, Select, create_widget
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_limn._napari.layers.facts import names_by_identity
from napari_limn._napari.layers.layers import being_renamed, is_made_here
from napari_limn._napari.layers.plain_text import set_tip, show_whole_names
from napari_limn._napari.panel.choices import in_channel_order, kept_choice
from napari_limn._napari.panel.docking import DockedWidget
from napari_limn._napari.panel.job import warm_up
from napari_limn._napari.panel.keyboard import operable, skipping
from napari_limn._napari.panel.run_box import RunBox
from napari_limn._napari.panel.session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from magicgui.widgets import FileEdit
    from magicgui.widgets.bases import ValueWidget
    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtWidgets import QPushButton

    from napari_limn._napari.panel.docking import Group
    from napari_limn._napari.panel.job import Job
    from napari_limn._napari.panel.session import Session, Sight

_WIDTH, _HEIGHT = 300, 260  # pixels at least, so that two panels below each other show their buttons


class Form:
    """Rows of a label and a control; some are folded away.

    Parameters
    ----------
    owner
        The widget that shows it.
    viewer
        Whose layers are offered.
    session
        Whose models are offered.
    prefix
        Object names begin with it: ``<prefix>-image``, ….
    """

    def __init__(self, owner: QWidget, viewer: ViewerModel, session: Session, prefix: str) -> None:
        self.viewer, self._owner, self._session, self._prefix = viewer, owner, session, prefix
        self.rows, self.more = _form_layout(), _form_layout()
        self.advanced: QCollapsible | None = None  # what the rows under "More" are folded into
        self._fields: dict[str, ValueWidget[Any] | FileEdit] = {}  # by the last part of their object names
        self._models: Any = None  # the choice of a model, of forms that have one
        self.on_choice: Callable[[], object] = lambda: None
        """Called when another layer or model is chosen."""

    # ---- rows ----------------------------------------------------------------------------------------------------
    def field(
        self, label: str, name: str, widget: ValueWidget[Any] | FileEdit, tip: str, *, more: bool = False
    ) -> Any:
        """Add a row; the native widget is named ``<prefix>-<name>``.

        It is folded under "More" if `more`.
        """
        widget.native.setObjectName(f"{self._prefix}-{name}")
        set_tip(widget.native, tip)
        widget.native.setMinimumWidth(80)
        widget.native.setSizePolicy(QSizePolicy.Policy.Ignored, widget.native.sizePolicy().verticalPolicy())
        (self.more if more else self.rows).addRow(label, widget.native)
        self._fields[name] = widget
        return widget

    def named_field(self, label: str, name: str, choices: Callable[[], list[Any]], tip: str) -> Any:
        """Add a choice of what has a name given by the user."""
        choice = self.field(label, name, ComboBox(choices=lambda _: choices()), tip)
        choice.changed.connect(lambda _: self.on_choice())
        show_whole_names(choice.native, tip)
        return choice

    def layer_field(self, label: str, name: str, kind: type[Layer], tip: str) -> Any:
        """Add a choice among the layers of one kind, the topmost first."""
        return self.named_field(label, name, lambda: self.layers(kind), tip)

    def model_field(self, label: str, name: str, choices: Callable[[], list[str]], tip: str) -> Any:
        """Add a choice of a model; new ones are chosen at once.

        Those of another window are offered only.
        """
        self._models = self.named_field(label, name, choices, tip)
        end = self._session.models.listen(self._on_model)
        self._owner.destroyed.connect(lambda *_: end())  # a closed widget is offered nothing
        return self._models

    def _on_model(self, model: str, origin: object) -> None:
        self._models.reset_choices()
        if self._session.is_of(origin):
            self._models.value = model
        self.on_choice()

    def channels_field(self) -> Any:
        """Add a choice of further image layers."""
        choice = Select(choices=lambda _: self.layers(Image), allow_multiple=True)
        choice.native.setMaximumHeight(70)
        return self.field(
            "Channels",
            "channels",
            choice,
            "Further image layers to use as channels, besides the image above",
            more=True,
        )

    def value_field(
        self, label: str, name: str, value: Any, annotation: Any, tip: str, *, more: bool = False
    ) -> Any:
        """Add a control for a value of a spec.

        The annotation gives its kind and its bounds.
        """
        widget = cast("ValueWidget[Any]", create_widget(value=value, annotation=annotation))
        return self.field(label, name, widget, tip, more=more)

    def follow(self, sight: Sight) -> None:
        """Choose what the user works on, where it is offered.

        For another image than before that is also the newest model trained on it, else whatever is offered beside models.
        """
        fields = self._fields
        before = _value_of(fields.get("image"))
        _choose(fields.get("image"), sight.image)
        _choose(fields.get("labels"), sight.strokes)
        if isinstance(channels := fields.get("channels"), Select):
            channels.value = [one for one in sight.channels if one in channels.choices]
        if self._models is not None and sight.image is not None and before is not sight.image:
            models = self._session.models
            images = names_by_identity([sight.image, *sight.channels])
            others = [one for one in self._models.choices if one not in models.names]
            _choose(self._models, models.of_images(images) or next(iter(others), None))

    def fold_followed(self, *further: QWidget) -> None:
        """Move the rows under "More" that :meth:`follow` chooses for."""
        self.fold(
            *(self._fields[name].native for name in ("image", "labels") if name in self._fields), *further
        )

    def take_out(self, native: QWidget) -> QWidget | None:
        """Take a control out of its row, to be shown elsewhere.

        Returns its label, which is hidden; None if it has none.
        """
        row = self.rows.takeRow(native)
        label = None if row.labelItem is None else row.labelItem.widget()
        if label is not None:
            label.hide()
        return label

    def fold(self, *fields: QWidget) -> None:
        """Move rows under "More": what is chosen for the user elsewhere."""
        for native in fields:
            if (label := self.take_out(native)) is not None:
                label.show()
                self.more.addRow(label, native)
            else:
                self.more.addRow(native)
        if self.advanced is not None:
            self.advanced.setVisible(self.more.rowCount() > 0)

    # ---- layers --------------------------------------------------------------------------------------------------
    def layers(self, kind: type[Layer]) -> list[Layer]:
        """Return the layers of a kind, the topmost first.

        Those that were made here come last.
        """
        layers = [layer for layer in reversed(self.viewer.layers) if type(layer) is kind]
        return sorted(layers, key=is_made_here)

    def chosen_images(self, image: Any, channels: Any) -> list[Image]:
        """Return the image layer chosen and the further channels.

        These are in the order of the layer list.
        """
        return in_channel_order(image.value, channels.value, self.viewer.layers)

    def reset_choices(self) -> None:
        """Offer the layers that are there now."""
        if being_renamed(self.viewer):
            return
        for widget in self._fields.values():
            if isinstance(widget, (ComboBox, Select)):
                _offer_anew(widget)


class FormWidget(DockedWidget):
    """A docked widget with a form and the run that it starts.

    Parameters
    ----------
    viewer, group
        As of every docked widget.
    prefix
        Object names begin with it: ``<prefix>-image``, ….
    start, stop
        What the buttons say that begin and end a run.
    tip
        What the first of them does.
    """

    def __init__(
        self, viewer: ViewerModel, group: Group, prefix: str, start: str, stop: str, tip: str
    ) -> None:
        super().__init__(viewer, group)
        self.session = session_of(viewer)
        self.form = Form(self, viewer, self.session, prefix)
        self.run_box = RunBox(self, prefix, start, stop, tip)
        self.run_box.queue = self.session.queue
        viewer.layers.events.removed.connect(self.run_box.on_removed)
        self.run_box.lacking = self.lacking
        self.form.on_choice = self.run_box.light

    @property
    def job(self) -> Job | None:
        """Return the run under way."""
        return self.run_box.job

    def lacking(self) -> dict[QPushButton, str]:
        """Say what must be there before a button can be pressed."""
        return {}

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that are there now.

        napari calls this when they change.
        """
        self.form.reset_choices()
        self.run_box.light()

    def showEvent(self, event: Any) -> None:
        """Offer the layers of now, and get PyTorch ready."""
        super().showEvent(event)
        self.reset_choices()
        warm_up()

    def closed(self) -> None:
        """End the run: there is no button left to stop it with."""
        self.run_box.stop()

    def stand_among_others(self) -> None:
        """Fold away what the dock around this widget chooses for it."""
        self.form.fold_followed()
        self.setMinimumSize(0, 0)

    def follow(self, sight: Sight) -> None:
        """Choose what the user works on."""
        self.form.follow(sight)

    def lend_status(self) -> QWidget:
        """Give away progress, state and sentence, to be shown elsewhere.

        The widget goes on writing them.
        """
        page, box = QWidget(), self.run_box
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for widget in (box.progress, box.state, box.message):
            column.addWidget(widget)
        box.message.follow_text()
        return page


def lay_out(owner: QWidget, form: Form, box: RunBox, *below: QWidget) -> None:
    """Put a form, its run and more into a column that scrolls."""
    inner, column = QWidget(), QVBoxLayout()
    column.setContentsMargins(6, 4, 6, 4)
    column.setSpacing(4)
    column.addLayout(form.rows)
    advanced, held = QCollapsible("More"), QWidget()
    form.advanced = advanced
    held.setLayout(form.more)
    advanced.addWidget(held)
    if (folded := advanced.layout()) is not None:
        folded.setContentsMargins(0, 0, 0, 0)
    column.addWidget(advanced)
    advanced.setVisible(form.more.rowCount() > 0)
    buttons = QHBoxLayout()
    buttons.addWidget(box.start_button)
    buttons.addWidget(box.stop_button)
    column.addLayout(buttons)
    for widget in (box.progress, box.state, box.message, *below):
        column.addWidget(widget, int(widget is box.message))
    column.addStretch()
    inner.setLayout(column)
    _scroll(owner, inner)
    operable(owner)
    visit = skipping(held)
    visit(False)
    advanced.toggled.connect(visit)


def _scroll(owner: QWidget, inner: QWidget) -> None:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setSizeAdjustPolicy(QScrollArea.SizeAdjustPolicy.AdjustToContents)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(inner)
    owner.setMinimumSize(_WIDTH, _HEIGHT)
    outer = QVBoxLayout(owner)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)


def _value_of(choice: Any) -> Any:
    return None if choice is None else choice.value


def _choose(choice: Any, value: Any) -> None:
    """Choose a value where it is offered."""
    if choice is not None and value is not None and choice.value != value and value in choice.choices:
        choice.value = value


def _offer_anew(choice: ComboBox | Select) -> None:
    """Offer what there is now.

    `changed` is emitted only when something else is chosen. By itself, magicgui forgets the choice of what was renamed.
    """
    before, offered = choice.value, list(choice.choices)
    kept: Any
    with choice.changed.blocked():
        choice.reset_choices()
        if isinstance(choice, Select):
            kept = [one for one in before if one in choice.choices]
        else:
            kept = kept_choice(before, offered, list(choice.choices), choice.value, is_made_here)
        if choice.value != kept:
            choice.value = kept
    if kept != before:
        choice.changed.emit(kept)


def _form_layout() -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form
