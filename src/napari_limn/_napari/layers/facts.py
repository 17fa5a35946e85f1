"""What a layer is: its model, image, file, and classes.

Why one record of plain values: metadata belong to everybody. A user's copy of a layer takes them along, other plugins replace
them, writers save them as JSON. So all facts stand under one key, in a form that survives that; they are checked whenever they
are read, and whatever is not what it should be counts as missing. Nothing else reads or writes them.

Why an identity beside a name: users rename images, and open others under a name that was there. What belongs to an image is found by
the identity that napari gives each layer; a copy has one of its own. It holds in one session, as layers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.legend import names_from

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_limn.annotation.classes import ZeroMeaning

KEY = "napari-limn"
"""The key in a layer's metadata under which its facts stand."""

# keys of single facts, in layers that an earlier version made
_EARLIER = {
    f"{KEY} image": "image",
    f"{KEY} file": "file",
    f"{KEY} unfinished": "unfinished",
    f"{KEY} classes": "class_names",
    f"{KEY} zero": "zero",
}


_TEXTS = ("model", "kind", "audit", "image", "name", "file", "image_id", "channels")


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What is known of a layer besides what napari knows.

    Parameters
    ----------
    model, kind
        Name of the model that computed it, and what that was: ``"labels"``, ``"live"``, ``"uncertainty"`` or ``"objects"``, which no model computes.
    difference
        Names of the two predictions whose difference it shows.
    audit
        Identity of the audit whose patches are corrected in it.
    image
        Name of the image that it was computed of, or is painted for.
    name
        The name that the window gave it when it was shown; a layer of another name was renamed, or is a copy.
    file
        The file that it shows.
    unfinished
        Whether its computation did not come to the end.
    class_names
        Names of its values.
    zero
        What a 0 means in training; None where the user never chose.
    image_id
        Identity of that image; None in layers that an earlier version made.
    channels
        What the layers of one image share that are its channels; None for an image of one layer.

    Examples
    --------
    >>> facts = LayerFacts(model="axons", image="brain", kind="labels")
    >>> facts.is_prediction, facts.is_comparison
    (True, False)
    >>> LayerFacts.from_metadata(facts.to_metadata()) == facts
    True
    """

    model: str | None = None
    kind: str | None = None
    difference: tuple[str, ...] = ()
    audit: str | None = None
    image: str | None = None
    name: str | None = None
    file: str | None = None
    unfinished: bool = False
    class_names: dict[int, str] = field(default_factory=dict)
    zero: ZeroMeaning | None = None
    image_id: str | None = None
    channels: str | None = None

    @classmethod
    def of(cls, image: Layer, **more: Any) -> LayerFacts:
        """Give the facts of a layer that belongs to an image."""
        return cls(image=image.name, image_id=layer_id(image), **more)

    @classmethod
    def from_metadata(cls, metadata: Mapping[Any, Any]) -> LayerFacts:
        """Read the facts in a layer's metadata, those of earlier versions too."""
        kept = metadata.get(KEY)
        given = dict(kept) if isinstance(kept, Mapping) else {}
        # a key of its own that stands beside the record is newer, since writing the record removes them
        given |= {name: metadata[key] for key, name in _EARLIER.items() if key in metadata}
        return cls(
            **{name: _text(given.get(name)) for name in _TEXTS},
            difference=_texts(given.get("difference")),
            unfinished=given.get("unfinished") is True,
            class_names=names_from(given.get("class_names")),
            zero=_zero(given.get("zero")),
        )

    def to_metadata(self) -> dict[str, Any]:
        """Give metadata for a new layer: plain values, what is known."""
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        known = {name: value for name, value in known.items() if value not in (None, False, (), {})}
        if self.difference:
            known["difference"] = list(self.difference)
        return {KEY: known} if known else {}

    @property
    def is_made_here(self) -> bool:
        """Return whether the layer was computed, not opened or painted."""
        return self.is_prediction or self.is_comparison or self.kind == "objects"

    @property
    def is_prediction(self) -> bool:
        """Return whether a model computed the layer."""
        return self.model is not None

    @property
    def is_comparison(self) -> bool:
        """Return whether the layer says something about predictions, not about the image."""
        return bool(self.difference) or self.audit is not None

    def belongs_to(self, image: Layer) -> bool:
        """Return whether the layer is of this image, whatever its name."""
        return self.image == image.name if self.image_id is None else self.image_id == layer_id(image)

    def has_image_of(self, other: LayerFacts) -> bool:
        """Return whether two layers belong to one image."""
        if self.image_id is None or other.image_id is None:
            return self.image == other.image
        return self.image_id == other.image_id

    def handed_over(self) -> LayerFacts:
        """Give the facts after the user began to paint on it."""
        return replace(self, model=None, kind=None, difference=(), audit=None, name=None)


def layer_id(layer: Layer) -> str:
    """Return what a layer keeps under any name, and shares with none."""
    return str(layer.unique_id)


def names_by_identity(layers: Iterable[Layer]) -> dict[str, str]:
    """List what layers are called now, in their order."""
    return {layer_id(layer): layer.name for layer in layers}


def facts_of(layer: object) -> LayerFacts:
    """Read the facts of a layer; whatever has no metadata has none."""
    metadata = getattr(layer, "metadata", None)
    return LayerFacts.from_metadata(metadata) if isinstance(metadata, Mapping) else LayerFacts()


def set_facts(layer: Layer, facts: LayerFacts) -> None:
    """Replace the facts of a layer; metadata of other plugins stay.

    Those who listen to the layer's metadata are called if something changed.
    """
    if facts != facts_of(layer):
        others = {key: value for key, value in layer.metadata.items() if key != KEY and key not in _EARLIER}
        layer.metadata = {**others, **facts.to_metadata()}


def note(layer: Layer, **changes: Any) -> None:
    """Change some facts of a layer, named as in :class:`LayerFacts`."""
    set_facts(layer, replace(facts_of(layer), **changes))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, (list, tuple)) else ()


def _zero(value: Any) -> ZeroMeaning | None:
    return "background" if value == "background" else "unlabelled" if value == "unlabelled" else None
