"""The Review widget: where to paint next, how good a prediction is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_limn._napari.layers.camera import look_at
from napari_limn._napari.layers.class_table import chosen_strokes, names_of, predicted_layers
from napari_limn._napari.layers.facts import facts_of, names_by_identity
from napari_limn._napari.layers.layers import (
    empty_labels,
    image_of,
    image_volume,
    insert_unchosen,
    is_painted,
    made_by,
    note_name,
    path_of,
    placement,
    remove_earlier,
    under,
    volume_of,
)
from napari_limn._napari.layers.overlay import OutlineOnly, predictions_of
from napari_limn._napari.layers.refresh import LayerRefresher
from napari_limn._napari.panel.choices import NO_IMAGE, NO_MODEL
from napari_limn._napari.panel.form import FormWidget, lay_out
from napari_limn._napari.panel.status import sentence_label
from napari_limn._napari.prediction.audit_progress import AuditProgress
from napari_limn._napari.prediction.auditing import AuditView
from napari_limn._napari.prediction.marked_box import MarkedBox
from napari_limn._napari.prediction.review_controller import ReviewController
from napari_limn._napari.prediction.review_view import AuditedLabels, ReviewButtons
from napari_limn._napari.training.run import labels_on
from napari_limn.annotation.image_checks import check_place
from napari_limn.annotation.journal.files import writable
from napari_limn.errors import LimnError
from napari_limn.volume.reading.open import open_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.viewer import Viewer
    from qtpy.QtWidgets import QPushButton

    from napari_limn.evaluation.audit import Frame
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_TIPS = {
    "start": "Show where the model is unsure, as a layer over the image",
    "take": "Move the view to the most unsure place away from your strokes; again for the next one",
    "back": "Show all layers again, and the part of the image that was shown before",
    "audit": "Look at random patches of the prediction, and learn how good it is as a whole. Objects that are missed "
    "altogether are met by chance only: where that matters, look at more patches",
    "accept": "The labels in the box are right",
    "correct": "Paint over what is wrong in the box",
    "skip": "This patch cannot be judged",
    "finish": "End the audit, take its layers away, and go on with the layer from before; what you judged is kept",
}


class ReviewWidget(FormWidget):
    """Show where a model is unsure; audit a prediction."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "run", "limn-review", "Where next", "Cancel", _TIPS["start"])
        self.controller = ReviewController(self, self.run_box, self.session)
        self.run_box.handler = self.controller
        self.map: Image | None = None
        self._image_of_map: Image
        self._refresher: LayerRefresher | None = None
        self._box, self._outline = MarkedBox(napari_viewer, "place to look at"), OutlineOnly(napari_viewer)
        self._audited: Labels | None = None
        self._predicted = False  # whether there was a prediction to audit
        self._add_rows()
        self._add_buttons()
        self.estimate = sentence_label("limn-review-estimate")
        lay_out(
            self,
            self.form,
            self.run_box,
            _row(self.take_button, self.back_button, self.audit_button),
            _row(self.accept_button, self.correct_button, self.skip_button, self.finish_button),
            self.estimate,
        )
        napari_viewer.layers.events.removed.connect(self._on_removed)
        self.reset_choices()
        self.controller.light_buttons()
        self.back_button.setEnabled(False)
        self.run_box.say("Where next shows where the model is unsure; Audit says how good a prediction is.")

    # ---- building ------------------------------------------------------------------------------------------------
    def _add_rows(self) -> None:
        form, models = self.form, self.session.models
        self.model = form.model_field(
            "Model", "model", lambda: models.names, "The model to look for doubts of"
        )
        self.image = form.layer_field("Image", "image", Image, "The image that you work on")
        self.labels = form.layer_field(
            "Labels", "labels", Labels, "The layer with your strokes; places beside them are passed over"
        )
        self.prediction = form.named_field(
            "Prediction",
            "prediction",
            self._predictions,
            "The labels to audit: what Predict made of the image",
        )
        self.channels = form.channels_field()
        self.image.changed.connect(lambda _: self._follow_image())

    def _add_buttons(self) -> None:
        act = self.controller

        def button(text: str, name: str, act: Callable[[], object]) -> QPushButton:
            return self.run_box.button(text, name, act, _TIPS[name])

        self.take_button = button("Take me there", "take", act.take_me_there)
        self.back_button = button("Back", "back", self.leave_place)
        self.audit_button = button("Audit", "audit", act.start_audit)
        self.accept_button = button("Accept", "accept", act.accept)
        self.correct_button = button("Correct", "correct", act.correct)
        self.skip_button = button("Skip", "skip", act.skip)
        self.finish_button = button("Finish", "finish", act.finish)
        self.run_box.starters.append(self.audit_button)

    def lacking(self) -> dict[QPushButton, str]:
        """Say what must be there before a button can be pressed."""
        why = NO_IMAGE if self.image.value is None else NO_MODEL if self.model.value is None else ""
        none = "" if self.prediction.value is not None else "Predict an image first."
        return {self.run_box.start_button: why, self.audit_button: none}

    # ---- what napari and Qt call ---------------------------------------------------------------------------------
    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that are there now.

        napari calls this when they change.
        """
        before = self.prediction.value
        super().reset_choices()
        first = next(iter(self._predictions()), None)
        came = not self._predicted and first is not None and not is_painted(first)
        self._predicted = first is not None and not is_painted(first)
        if came and before is not first:  # strokes were offered for want of a prediction
            self.prediction.value = first

    def _follow_image(self) -> None:
        """Choose a prediction of the image, where there is one."""
        of_image = [x for x in self.prediction.choices if self._is_of_image(x)]
        if of_image and self.prediction.value not in of_image:
            self.prediction.value = of_image[0]

    def _is_of_image(self, layer: Labels) -> bool:
        facts = facts_of(layer)
        image = self.image.value
        return image is not None and facts.is_prediction and facts.belongs_to(image)

    def _on_removed(self, event: Any) -> None:
        if event.value is self.map:
            self.leave_place()
        of_audit = self.view is not None and event.value is self.view.layer
        if of_audit or event.value is self.map:
            self.controller.layer_removed(event.value.name, of_audit=of_audit)

    def closed(self) -> None:
        """End the run, and take the box of an audit away.

        A new panel goes on with that audit.
        """
        super().closed()
        self.leave_place()
        self.controller.end_audit()

    # ---- what the controller asks for: where next ----------------------------------------------------------------
    def model_name(self) -> str:
        """Return the name of the model chosen."""
        return str(self.model.value) if self.model.value is not None else ""

    def _images(self) -> list[Image]:
        return self.form.chosen_images(self.image, self.channels)

    def image_names(self) -> dict[str, str]:
        """Return the names of the image layers by identity."""
        return names_by_identity(self._images())

    def volume(self) -> Volume:
        """Return the image chosen, with its channels."""
        return image_volume(self._images())

    def strokes(self, volume: Volume) -> Volume | None:
        """Return the strokes chosen, None if there are none.

        Of a prediction every voxel would pass for paint.
        """
        layer = self.labels.value
        if layer is None or not is_painted(layer):
            return None
        strokes = labels_on(volume, volume_of(layer))
        for finding in check_place(volume, strokes, shown=True):
            raise LimnError(finding.sentence)
        return open_labels(strokes, volume)

    def layers_of_map(self) -> list[Any]:
        """Return the layers that a map is made of, as chosen now."""
        return [*self._images(), self.labels.value]

    def begin_map(self, volume: Volume) -> Any:
        """Remember the image chosen; return zeros for its map."""
        self._image_of_map = self._images()[0]
        return empty_labels(volume, "uint8")

    @property
    def map_axes(self) -> str | None:
        """Return the axes of the map, None if it is gone."""
        if self.map is None or self.map not in self.viewer.layers:
            return None
        return volume_of(self.map).axes.names

    def show_map(self, model: str, volume: Volume, data: Any) -> None:
        """Show the doubts in the place of the last map.

        Above what was predicted and below the paint.
        """
        image = self._image_of_map
        self.leave_place()
        remove_earlier(self.viewer, image, "uncertainty")
        self.map = Image(
            data, name=f"{image.name} uncertainty", colormap="magma", blending="additive", opacity=0.7,
            contrast_limits=(0, 255), metadata=made_by(model, image, "uncertainty"),
            **placement(image, volume),
        )  # fmt: skip
        insert_unchosen(self.viewer, under(self.viewer, image, is_painted), self.map)
        note_name(self.map)
        self.run_box.need(self.map)
        self._refresher = LayerRefresher(self.viewer, self.map, volume.axes.without("C").names, self)

    def block_done(self, box: Box) -> None:
        """Show a block that is done, if it is in sight."""
        if self._refresher is not None:
            self._refresher.block_done(box)

    def refresh(self) -> None:
        """Show all blocks that are done."""
        if self._refresher is not None:
            self._refresher.refresh()

    def look_at(self, box: Box) -> None:
        """Move the view to a box, ready to paint strokes.

        Only the image and outlines of its predictions are shown there.
        """
        shown = [x for x in predictions_of(self.viewer, self._image_of_map) if x.visible]
        shown.sort(key=lambda layer: facts_of(layer).kind == "live")  # which is empty when it begins
        self._outline.begin(shown[:1])
        self._box.show(self.map, box)
        self.back_button.setEnabled(True)
        look_at(self.viewer, self.map, self.map_axes or "", box)
        strokes = self.labels.value
        if strokes is None or not is_painted(strokes):  # paint on a prediction would make it the user's own
            strokes = chosen_strokes(self.viewer)
        if strokes is not None:
            self.viewer.layers.selection.active = strokes

    def leave_place(self) -> None:
        """Show everything as it was before the first place."""
        self._box.hide()
        self._outline.end()
        self.back_button.setEnabled(False)

    # ---- what the controller asks for: audit ---------------------------------------------------------------------
    @property
    def view(self) -> Any:
        """Return the audit that is shown."""
        return self.controller.audit

    def audited(self) -> AuditedLabels | None:
        """Return what is chosen to be audited."""
        layer = self.prediction.value
        if layer is None:
            return None
        facts = facts_of(layer)
        return AuditedLabels(
            name=layer.name,
            unfinished=facts.unfinished,
            model=facts.model,
            class_names=names_of(layer),
        )

    def take_audited(self) -> Volume:
        """Remember what is chosen to be audited, and return its labels."""
        self._audited = self.prediction.value
        return volume_of(self._audited)

    def layers_of_audit(self) -> list[Any]:
        """Return the layer that an audit is made of."""
        return [self._audited]

    def begin_audit(self, frame: Frame, class_names: dict[int, str]) -> AuditView:
        """Show an audit of the labels taken."""
        layer = self._audited
        return AuditView(self.viewer, layer, AuditProgress(frame, self._beside(layer)), class_names)

    def show_estimate(self, text: str) -> None:
        """Show what is known of each class."""
        self.estimate.setText(text)

    def set_buttons(self, buttons: ReviewButtons) -> None:
        """Light the buttons that can be pressed."""
        self.take_button.setEnabled(buttons.take)
        self.accept_button.setText(buttons.accept_text)
        for button in (self.accept_button, self.correct_button, self.skip_button):
            button.setEnabled(buttons.asking)
        self.correct_button.setEnabled(buttons.correct)
        self.finish_button.setEnabled(buttons.finish)

    def _predictions(self) -> list[Labels]:
        """Return labels layers, what was predicted first.

        Not what else was made here, nor a preview that goes on changing.
        """
        predicted = [x for x in predicted_layers(self.viewer) if facts_of(x).kind != "live"]
        return predicted + [x for x in self.form.layers(Labels) if is_painted(x)]

    def _beside(self, layer: Labels) -> Path | None:
        """Return the file that an audit is kept beside.

        That of the image predicted, else of the one chosen.
        """
        image = image_of(self.viewer, layer) or self.image.value
        path = None if image is None else path_of(image)
        return writable(path) if path is not None and path.exists() else None


def _row(*buttons: QPushButton) -> QWidget:
    row, line = QWidget(), QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    for button in buttons:
        line.addWidget(button)
    row.setLayout(line)
    return row
