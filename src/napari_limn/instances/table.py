"""A table of objects: columns with units, as CSV or Parquet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults
from napari_limn.files.working import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES = (".csv", ".parquet")
_AT_ONCE = 1 << 15  # rows that are turned into text together
_SHORT = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured of objects, a row each.

    Rows are in the order of the ids.

    Parameters
    ----------
    columns
        Values by name, all of one length; ``label`` is the id in the label volume.
    units
        Of columns that have one, such as ``"micrometer"`` or ``"micrometer2"``.

    Examples
    --------
    >>> import numpy as np
    >>> table = Table({"label": np.array([1, 2]), "area": np.array([2.5, 4.0])}, {"area": "micrometer2"})
    >>> len(table), table["area"].tolist(), table.header
    (2, [2.5, 4.0], ['label', 'area [um2]'])
    """

    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    @property
    def header(self) -> list[str]:
        """Name each column with its unit, as files do."""
        return [
            f"{name} [{short_unit(self.units[name])}]" if name in self.units else name
            for name in self.columns
        ]

    def save(self, path: Path, *, replace: bool = False) -> Path:
        """Write the table, whole or not at all.

        Parameters
        ----------
        path
            Ends in ``.csv``, with units in the header, or ``.parquet``, with units in the metadata of the columns.
        replace
            Whether a file of that name may go.

        Raises
        ------
        LimnError
            For another suffix, for Parquet where pyarrow is missing, if `path` exists, or the disk refuses.
        """
        refuse_no_table(path)
        with disk_faults(path, "nothing of it is written"), whole_file(path, replace=replace) as file:
            if path.suffix.lower() == ".parquet":
                _write_parquet(self, file)
            else:
                file.writelines(part.encode() for part in self._lines())
        return path

    def _lines(self) -> Iterable[str]:
        """Yield the CSV in parts of many rows."""
        yield ",".join(map(_quoted, self.header)) + "\n"
        for start in range(0, len(self), _AT_ONCE):
            columns = [_texts(column[start : start + _AT_ONCE]) for column in self.columns.values()]
            yield "\n".join(map(",".join, zip(*columns, strict=True))) + "\n"


def refuse_no_table(path: Path) -> None:
    """Refuse a path that is no table's; nothing is written.

    Raises
    ------
    LimnError
        For another suffix, a folder that is not there, or Parquet where pyarrow is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LimnError(
            f"{path.name}: found suffix {path.suffix or '(none)'!r}, expected .csv or .parquet for the table."
        )
    if not path.parent.is_dir():
        raise LimnError(f"{path.parent}: there is no such folder to write {path.name} into; create it first.")
    if path.suffix.lower() == ".parquet":
        _refuse_no_pyarrow(path)


def short_unit(unit: str) -> str:
    """Return a unit as files write it, in plain letters.

    Examples
    --------
    >>> short_unit("micrometer2"), short_unit("pixel")
    ('um2', 'pixel')
    """
    name = unit.rstrip("23")
    return _SHORT.get(name, name) + unit[len(name) :]


def _texts(column: NDArray[Any]) -> list[str]:
    if column.dtype.kind == "O":
        return [_quoted(text) for text in column.tolist()]
    if column.dtype.kind == "b":
        return ["True" if value else "False" for value in column.tolist()]
    return list(map(repr, column.tolist()))


def _quoted(text: str) -> str:
    """Return a text as a cell of CSV.

    No spreadsheet takes it for a formula.
    """
    text = f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text


def _refuse_no_pyarrow(path: Path) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise LimnError(
            f"{path.name}: Parquet needs pyarrow, which is not installed; install it (pip install pyarrow), or choose a name that "
            "ends in .csv."
        ) from error


def _write_parquet(table: Table, file: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    fields, arrays = [], []
    for name, column in table.columns.items():
        array = pa.array(column.tolist() if column.dtype.kind == "O" else column)
        unit = {"unit": table.units[name]} if name in table.units else None
        fields.append(pa.field(name, array.type, metadata=unit))
        arrays.append(array)
    parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), file)
