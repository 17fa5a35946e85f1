"""Sentences of other rooms, said with the controls of the window.

Why: what refuses something does not know who asked, and names the option of the command line that allows it. Here stands what does the
same in the window. No Qt.
"""

from __future__ import annotations

import re

_CONTROLS = {
    r"\bsay --overwrite": "tick Overwrite under More",
    r" with --overwrite": ", tick Overwrite under More",
    r"; choose one with --image .* or by its path, .*\.$": "; open it and choose one.",
    r"\bsay --precision (\w+)": r"choose Precision \1 under More",
    r"\bsay what they are, for example with --axes \w+": "save the image with names of its axes, for example as OME-TIFF",
    r"\bgive more with --memory": "give more at Memory under More",
    r", by --class\b": "",
    r", say --mixed to allow [\w ]+": "",
    r"\btrain it further with --from": "load it and choose it at Start from",
}
_WORD = re.compile(r"[a-z]+(?=[ ,;])(?![^.;]*?: )")  # no name of a file or a layer, which a colon follows


def in_window(text: str) -> str:
    """Say a sentence with controls instead of options, and a capital.

    Examples
    --------
    >>> in_window("a.tif: exists already; choose another name, or say --overwrite.")
    'a.tif: exists already; choose another name, or tick Overwrite under More.'
    >>> in_window("there is no image layer; drag an image onto the window first.")
    'There is no image layer; drag an image onto the window first.'
    """
    for option, control in _CONTROLS.items():
        text = re.sub(option, control, text)
    return text[0].upper() + text[1:] if _WORD.match(text) else text
