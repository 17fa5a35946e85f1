"""Which classes are listed and can be chosen, decided without a window."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_limn.annotation.classes import number_objects
from napari_limn.annotation.legend import Legend

_FEWEST = 2  # classes that are offered at least: no model learns from fewer


@dataclass(frozen=True, slots=True)
class ClassChoice:
    """The classes of one layer, and what may be painted with them.

    Parameters
    ----------
    layer
        Name of the layer; None where there is none.
    legend
        The classes that are listed.
    painted
        Values that were painted; None where that is not known.
    audited
        Whether a patch of an audit is corrected: then there are no classes but those of the labels.

    Examples
    --------
    >>> choice = ClassChoice("strokes", Legend({1: "axon", 2: "myelin"}), {1})
    >>> choice.refusal(3)
    'There is no class 3 yet; add one.'
    >>> choice.is_missing(3)
    True
    """

    layer: str | None = None
    legend: Legend = field(default_factory=Legend)
    painted: set[int] | None = None
    audited: bool = False

    @property
    def numbers_objects(self) -> bool:
        """Return whether the values number objects, and are no classes."""
        return number_objects(self.painted or ())

    @property
    def may_add(self) -> bool:
        """Return whether classes may be added."""
        return self.layer is not None and not self.audited

    def listed(self, legend: Legend) -> Legend:
        """Complete the legend of the layer to two classes at least."""
        while len(legend.values) < _FEWEST and not (self.numbers_objects or self.audited):
            legend, _ = legend.added()
        return legend

    def refusal(self, value: int) -> str:
        """Say why a class cannot be painted with; empty if it can."""
        if self.audited and value not in (*self.legend.values, *self._zero_class):
            return "Every pixel of an audit has one of the classes of its labels; choose one of these."
        if value and value not in self.legend.values:
            return f"There is no class {value} yet; add one."
        return ""

    def is_missing(self, value: int) -> bool:
        """Return whether a painted class has to be added to the list."""
        return not (self.numbers_objects or self.audited) and value not in (0, *self.legend.values)

    @property
    def sentence(self) -> str:
        """Say what is shown."""
        if self.layer is None:
            return "Add a labels layer to paint on; its classes are listed here."
        if self.numbers_objects:
            return f"“{self.layer}” has {len(self.painted or ())} values: it numbers objects, not classes."
        erasing = "" if self.audited else ", 0 erases"
        return f"Classes of “{self.layer}”. Keys 1–9 choose{erasing}."

    @property
    def _zero_class(self) -> tuple[int, ...]:
        return (0,) if self.legend.zero == "background" else ()
