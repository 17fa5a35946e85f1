"""The Review widget: where to paint next, and how good a prediction is as a whole."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_limn._napari.layers.camera import look_at
from napari_limn._napari.layers.class_table import chosen_strokes, names_of, predicted_layers
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import (
    empty_labels,
    image_volume,
    insert_unchosen,
    is_painted,
    made_by,
    name_of_image,
    note_name,
    path_of,
    placement,
    remove_earlier,
    under,
    volume_of,
)
from napari_limn._napari.layers.refresh import LayerRefresher
from napari_limn._napari.panel.models import SHELF
from napari_limn._napari.panel.panel import Panel
from napari_limn._napari.prediction.auditing import AuditView
from napari_limn.annotation.journal.files import writable
from napari_limn.annotation.strokes import find_paint
from napari_limn.errors import LimnError
from napari_limn.evaluation.audit import frame_events
from napari_limn.evaluation.where_next import find_places
from napari_limn.inference.events import Planned
from napari_limn.runs import BlockDone, Event, Working
from napari_limn.volume.reading.open import open_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QPushButton

    from napari_limn.annotation.classes import Classes
    from napari_limn.evaluation.audit import Frame
    from napari_limn.evaluation.where_next import Point, Pool
    from napari_limn.model import Model
    from napari_limn.volume.volume import Volume

PATCHES = 30
"""Patches of an audit; the person may stop before, or go on."""


class ReviewWidget(Panel):
    """Show where a model is unsure and move there; audit a prediction patch by patch."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "limn-review", "Where next", "Cancel")
        self.model = self.model_field(
            "Model", "model", lambda: SHELF.names, "The model to look for doubts of"
        )
        self.image = self.layer_field("Image", "image", Image, "The image that you work on")
        self.labels = self.layer_field(
            "Labels", "labels", Labels, "The layer with your strokes; places beside them are passed over"
        )
        self.prediction = self.field(
            "Prediction",
            "prediction",
            ComboBox(choices=lambda _: self._predictions()),
            "The labels to audit: what Predict made of the image",
        )
        self.channels = self.channels_field()
        self.take_button = self._button("Take me there", "take", self.take_me_there)
        self.audit_button = self._button("Audit", "audit", self.start_audit)
        self.accept_button = self._button("Accept", "accept", self.accept)
        self.correct_button = self._button("Correct", "correct", self.correct)
        self.skip_button = self._button("Skip", "skip", self.skip)
        self._explain()
        self.starters.append(self.audit_button)
        self.found = self.sentence("estimate")
        self.lay_out(
            _row(self.take_button, self.audit_button),
            _row(self.accept_button, self.correct_button, self.skip_button),
            self.found,
        )
        self.map: Image | None = None
        self.view: AuditView | None = None
        self._follower: LayerRefresher | None = None
        self._planned: Callable[[], object] | None = None  # what to do once the map can begin
        self._pool: Pool | None = None
        self._spacing = (1.0, 1.0, 1.0)
        self._paint: NDArray[Any] | None = None
        self._visited: list[Point] = []
        self._audited: Labels | None = None
        self._set_buttons()
        self.say("Where next shows where the model is unsure; Audit says how good a prediction is.")

    def closed(self) -> None:
        """Take the box of an audit away, too: its verdicts are kept, and a new panel goes on from them."""
        super().closed()
        self._end_audit()

    # ---- where next ----------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Compute how unsure the model is of every voxel."""
        from napari_limn.inference.pipeline import check_image

        layers = self.chosen_images(self.image, self.channels)
        model, volume = SHELF[self.model.value], image_volume(layers)
        check_image(model, volume)
        strokes = self.labels.value
        if strokes is not None and not is_painted(
            strokes
        ):  # of a prediction every voxel would pass for paint
            strokes = None
        paint = None if strokes is None else open_labels(volume_of(strokes), volume)
        data = empty_labels(volume, "uint8")
        self._planned = partial(self._begin, str(self.model.value), layers[0], volume, data)
        self.say("Planning …")
        self.run(_doubting(model, volume, data, paint), self._pooled)
        self.note_order(self.model.value, layers)

    def take_me_there(self) -> None:
        """Move the view to the most useful place that was not visited yet."""
        if self._pool is None or self.map is None or self.map not in self.viewer.layers:
            raise LimnError("there is no map of doubts; press Where next first.")
        places = find_places(self._pool, self._spacing, 1, self._paint, self._visited)
        if not places:
            raise LimnError(
                "no other place is left where the model is unsure; train again, then press Where next."
            )
        place = places[0]
        self._visited.append(place.at)
        names = volume_of(self.map).axes.names
        look_at(self.viewer, self.map, names, place.box)
        strokes = self.labels.value
        if strokes is None or not is_painted(strokes):  # paint on a prediction would make it the person's own
            strokes = chosen_strokes(self.viewer)
        if strokes is not None:
            self.viewer.layers.selection.active = strokes
        at = ", ".join(f"{n.lower()} {v}" for n, v in zip("TZYX", place.at, strict=True) if n in names)
        self.say(
            f"Place {len(self._visited)}: {at}; uncertainty {place.score:.2f}. Paint what is wrong there, or press again."
        )

    def _begin(self, model: str, image: Image, volume: Volume, data: Any) -> None:
        """Replace the map that was shown before, now that the run can begin."""
        self._planned = None
        self._pool, self._visited, self._spacing = None, [], volume.axes.spacing
        self._set_buttons()
        self._show(model, image, volume, data)

    def _pooled(self, result: tuple[Pool, NDArray[Any] | None] | None) -> None:
        if self._follower is not None:
            self._follower.refresh()
        if result is None:
            begun, self._planned = self._planned is None, None
            self.say("Cancelled; the map is not whole." if begun and self._pool is None else "Cancelled.")
            return
        self._pool, self._paint = result
        self._set_buttons()
        self.say("Done. Bright is unsure; press Take me there.")

    def _show(self, model: str, image: Image, volume: Volume, data: Any) -> None:
        """The layer of doubts, above what was predicted and below the paint; the one shown before is replaced."""
        remove_earlier(self.viewer, image, "uncertainty")
        self.map = Image(
            data, name=f"{image.name} uncertainty", colormap="magma", blending="additive", opacity=0.7,
            contrast_limits=(0, 255), metadata=made_by(model, image, "uncertainty"),
            **placement(image, volume),
        )  # fmt: skip
        insert_unchosen(self.viewer, under(self.viewer, image, is_painted), self.map)
        note_name(self.map)
        self._follower = LayerRefresher(self.viewer, self.map, volume.axes.without("C").names, self)

    # ---- audit ---------------------------------------------------------------------------------------------------
    def start_audit(self) -> None:
        """Count the classes of the prediction, then ask about patch after patch."""
        layer = self.prediction.value
        if layer is None:
            raise LimnError("there are no labels to audit; predict first.")
        if facts_of(layer).unfinished:  # blocks that never came might pass for background
            raise LimnError(
                f"{layer.name}: found a prediction that did not come to its end, expected a whole one; let Predict run to its "
                "end, then press Audit."
            )
        self._end_audit()
        self._audited = layer
        self.found.clear()
        self.say("Reading the labels …")
        self.run(frame_events(volume_of(layer), self._values(layer)), self._framed)

    def accept(self) -> None:
        """The patch is right, as it is or as it was corrected."""
        view = self._view()
        try:
            wrong = view.accept()
        finally:
            self._set_buttons()
        self._ask(f"Corrected {wrong} pixels. " if wrong else "")

    def correct(self) -> None:
        """Let the person paint over a copy of the patch."""
        self._view().correct()
        self._set_buttons()
        self.say("Paint over what is wrong inside the box, then press Accept corrected.")

    def skip(self) -> None:
        """Pass over a patch that cannot be judged."""
        self._view().skip()
        self._ask()

    def _framed(self, frame: Frame | None) -> None:
        if frame is None or self._audited is None:
            self.say("Cancelled.")
            return
        classes = self._classes(self._audited)
        names = {} if classes is None else classes.name_of
        self.view = AuditView(self.viewer, self._audited, frame, self._beside(self._audited), names)
        went_on = self.view.audit.judged
        self._ask(f"Going on after {went_on} patches. " if went_on else "")

    def _ask(self, before: str = "") -> None:
        """Show the next patch, and what is known by now."""
        view = self._view()
        more = view.next()
        self._set_buttons()
        self.found.setText("\n".join(view.sentences()))
        number = view.audit.judged + 1
        if not more:
            view.close()
            self.say(f"{before}Every patch was seen; this is the score of the whole image.")
        elif number <= PATCHES:
            self.say(f"{before}Patch {number} of {PATCHES}: are the labels in the box right?")
        else:
            self.say(f"{before}Patch {number}, more than the {PATCHES} asked for: the interval narrows on.")

    def _view(self) -> AuditView:
        if self.view is None or not self.view.alive:
            self._end_audit()
            raise LimnError("the labels that were audited are gone; press Audit to begin with others.")
        return self.view

    def _end_audit(self) -> None:
        if self.view is not None:
            self.view.close()
        self.view = None
        self._set_buttons()

    def _predictions(self) -> list[Labels]:
        """Labels layers, what was predicted first; not what else was made here, nor a preview that goes on changing."""
        predicted = [x for x in predicted_layers(self.viewer) if facts_of(x).kind != "live"]
        return predicted + [x for x in self.layers(Labels) if is_painted(x)]

    def _beside(self, layer: Labels) -> Path | None:
        """The file that an audit is kept beside: that of the image which was predicted, else of the one chosen."""
        name = name_of_image(layer)
        image = next((x for x in self.layers(Image) if x.name == name), self.image.value)
        path = None if image is None else path_of(image)
        return writable(path) if path is not None and path.exists() else None

    def _classes(self, layer: Labels) -> Classes | None:
        """The classes of the model that made a prediction, if it is on the shelf."""
        name = facts_of(layer).model or ""
        return SHELF[name].spec.classes if name in SHELF.names else None

    def _values(self, layer: Labels) -> tuple[int, ...] | None:
        """Values of the classes of a prediction: those that it names, else those of its model; None where nobody knows."""
        if facts_of(layer).is_prediction and (
            names := names_of(layer)
        ):  # a model of that name may have others meanwhile
            return tuple(names)
        classes = self._classes(layer)
        return None if classes is None else classes.values

    # ---- the run -------------------------------------------------------------------------------------------------
    def heard(self, event: Event) -> None:
        """Show the plan, then blocks as they come."""
        match event:
            case Planned(plan=plan):
                self.say(str(plan))
                if self._planned is not None:
                    self._planned()
            case BlockDone():
                self.block_done(event)
                if self._follower is not None:
                    self._follower.block_done(event.box)

    def _set_buttons(self) -> None:
        """Only what can be pressed now is lit."""
        asking = self.view is not None and self.view.patch is not None
        correcting = self.view is not None and self.view.correcting
        self.take_button.setEnabled(self._pool is not None)
        self.accept_button.setText("Accept corrected" if correcting else "Accept")
        for button in (self.accept_button, self.correct_button, self.skip_button):
            button.setEnabled(asking)
        self.correct_button.setEnabled(asking and not correcting)

    def _explain(self) -> None:
        tips = {
            self.start_button: "Show where the model is unsure, as a layer over the image",
            self.take_button: "Move the view to the most unsure place away from your strokes; again for the next one",
            self.audit_button: "Look at random patches of the prediction, and learn how good it is as a whole. Objects that are missed altogether are "
            "met by chance only: where that matters, look at more patches",
            self.accept_button: "The labels in the box are right",
            self.correct_button: "Paint over what is wrong in the box",
            self.skip_button: "This patch cannot be judged",
        }
        for button, tip in tips.items():
            button.setToolTip(tip)


def _row(*buttons: QPushButton) -> QWidget:
    row, line = QWidget(), QHBoxLayout()
    line.setContentsMargins(0, 0, 0, 0)
    for button in buttons:
        line.addWidget(button)
    row.setLayout(line)
    return row


def _doubting(
    model: Model, volume: Volume, data: Any, strokes: Volume | None
) -> Generator[Event, None, tuple[Pool, NDArray[Any] | None]]:
    """The same as ``napari-limn next``; PyTorch is imported in the thread of the run."""
    from napari_limn.inference.uncertainty import uncertainty_events

    pool = yield from uncertainty_events(model, volume, data)
    yield Working()
    return pool, None if strokes is None else find_paint(strokes, "unlabelled").where
