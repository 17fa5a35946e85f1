"""What the user set under Preferences → Limn.

The manifest says what there is to set.
"""

from __future__ import annotations

from typing import Any

_PLUGIN = "napari-limn"


def preferred(name: str, otherwise: Any) -> Any:
    """Return a preference, or `otherwise` where napari has none.

    Parameters
    ----------
    name
        A property of ``configurations.runs`` in the manifest.
    otherwise
        The value of the spec.
    """
    try:
        from napari.settings import get_plugin_settings

        return getattr(get_plugin_settings(_PLUGIN).runs, name)
    except (ImportError, KeyError, AttributeError):  # napari before 0.9; a plugin that is switched off
        return otherwise
