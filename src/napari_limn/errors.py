"""The one error that is the user's to mend."""

from __future__ import annotations


class LimnError(ValueError):
    """Bad input: one sentence that says what was found, what was expected and how to mend it.

    The command line prints it and exits 1, the window shows it; anything else is a bug and keeps its traceback.
    """
