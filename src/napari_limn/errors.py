"""The one error that is the user's to fix."""

from __future__ import annotations


class LimnError(ValueError):
    """Bad input, in one sentence.

    It says what was found, what was expected and how to fix it.

    The command line prints it and exits 1, the window shows it; anything else is a bug and keeps its traceback.
    """
