"""What can be undone and redone, by a journal's records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_limn.annotation.journal.format import Record


@dataclass(slots=True)
class History:
    """What can be undone, and what can be made again.

    The latest last.
    """

    done: list[Record] = field(default_factory=list)
    undone: list[Record] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Take note of a record."""
        match record.kind:
            case "undo":
                self.undone.append(self.done.pop())
            case "redo":
                self.done.append(self.undone.pop())
            case "stroke" | "edit" | "replace":
                self.done.append(record)
                self.undone.clear()

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Find what the records of a journal leave to undo and redo.

        Raises
        ------
        LimnError
            If they undo or redo what is not there.
        """
        history = cls()
        for record in records:
            turned = {"undo": history.done, "redo": history.undone}.get(record.kind)
            if turned is not None and (not turned or turned[-1].number != record.of):
                raise LimnError(
                    f"the journal says {record.kind} of record {record.of} in record {record.number}, expected the latest "
                    "one; it is damaged, take a copy of it from a backup."
                )
            history.take(record)
        return history
