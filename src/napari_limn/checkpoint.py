"""The best model of a training on the disk.

From the first score on it lies beside the output, as a whole model that loads and predicts. So nothing that ends a training, not
even a power cut, loses more than what was learnt since the last improvement.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults
from napari_limn.files.working import WorkingFolder, give_name, is_there, unfinished
from napari_limn.model import Model

if TYPE_CHECKING:
    from types import TracebackType

_SHARE = 0.02  # of the time, at most, goes into writing
_LOST = "the model was not saved"


class Checkpoint:
    """Keeps the best model so far; gives it its name at last.

    Nobody else trains a model of that name meanwhile. Leaving the ``with`` block keeps what was not given its name.

    Parameters
    ----------
    out
        Where the model goes.
    overwrite
        Whether `out`, and the best model of an earlier training that was ended, may be replaced.
    start
        The model that is trained further; it may be that of the earlier training.

    Raises
    ------
    LimnError
        If another run trains a model of that name, something else has the name of the working folder, the disk refuses, or the
        best model of an earlier training lies there and may not be replaced.
    """

    def __init__(self, out: Path, *, overwrite: bool, start: Path | None = None) -> None:
        self.out, self._overwrite = out, overwrite
        self.path = unfinished(out) / out.name
        """Where the best model so far lies."""
        self.fault = ""
        """Why the best model could not be written lately, in one sentence."""
        self._best: Model | None = None
        self._written: Model | None = None
        self._next = 0.0  # seconds of the clock
        self._lock = threading.RLock()
        with disk_faults(out, "nothing was trained"):
            self._work = WorkingFolder.claim(unfinished(out), out)
        if is_there(self.path) and not overwrite and not _same(self.path, start):
            self._work.close()
            raise LimnError(
                f"{self.path}: found {_described(self.path)} of a training of that name which was ended early; move it away to keep "
                "it, train it further with --from, or say --overwrite."
            )

    def keep(self, model: Model) -> None:
        """Take the best model so far; it is written now or soon."""
        self._best = model
        self.write_due()

    def write_due(self) -> None:
        """Write the best model, if that is due."""
        if self._best is not self._written and time.monotonic() >= self._next:
            self._write()

    def flush(self) -> bool:
        """Write the best model; say whether one of this run lies there."""
        self._write()
        return self._written is not None

    def _write(self) -> bool:
        """Write the best model; say whether it lies there.

        A disk that refuses does not end the run.
        """
        with self._lock:
            began, model = time.monotonic(), self._best
            try:
                if model is not None and model is not self._written:
                    model.save(self.path)
                    self._written, self.fault = model, ""
            except (LimnError, OSError) as error:
                self.fault = str(error)
            self._next = (now := time.monotonic()) + (now - began) / _SHARE
            return self._written is model

    def finish(self, model: Model | None = None) -> Path:
        """Give the model, or the best so far, its name.

        Raises
        ------
        LimnError
            If the name was taken meanwhile, or the disk refuses; it says where the model is kept then.
        """
        with self._lock:
            if model is not None:
                self._best = model
            if not self._write():
                self._refuse(self.fault)
            try:
                with disk_faults(self.out, _LOST):
                    give_name(self.path, self.out, replace=self._overwrite)
            except FileExistsError as error:
                raise LimnError(
                    f"{self.out}: found a file of that name, which came there since the training began and is not replaced; the model is "
                    f"kept in {self.path}."
                ) from error
            except LimnError as error:
                self._refuse(str(error), self.path)
            self._written = self._best = None
            self._work.remove()
            return self.out

    def _refuse(self, why: str, place: Path | None = None) -> None:
        """Say that the model has another place, which is found first."""
        place = place or self._elsewhere()
        kept = f"the model is kept in {place}" if place else f"{_LOST}, nor on any other disk"
        if not place and self._written is not None:
            kept = f"an earlier model of this training is kept in {self.path}"
        raise LimnError(f"{why.removesuffix('.').removesuffix(_LOST)}{kept}.")

    def _elsewhere(self) -> Path | None:
        """Save the best model on another disk, if one takes it."""
        for folder in (gettempdir(), Path.home()):
            with suppress(LimnError, OSError):
                if self._best is not None:
                    return self._best.save(Path(mkdtemp(prefix="limn-", dir=folder), self.out.name))
        return None

    def rescue(self) -> str:
        """Give the best model its name for a run that hangs.

        From another thread; returns what there is to say of it.
        """
        if not self._lock.acquire(timeout=0.2):
            return "" if self._written is None else f"best so far: {self.path}"
        try:
            return f"best so far: {self.finish()}" if self._best is not None else ""
        except LimnError as error:
            return str(error).removesuffix(".")
        finally:
            self._lock.release()

    def close(self) -> None:
        """Leave what is kept to another run; nothing stays of nothing."""
        with self._lock:
            if self.flush() or is_there(self.path):
                self._work.close()
            else:
                self._work.remove()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and path.samefile(other)


def _described(path: Path) -> str:
    """Describe a model file, as far as it can be read."""
    with suppress(LimnError, OSError):
        spec = Model.load(path).spec
        score = "not scored" if spec.score is None else f"held-out IoU {spec.score:.3f}"
        return f"the best model ({spec.steps} steps, {score})"
    return "the best model"
