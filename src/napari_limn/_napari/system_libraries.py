"""The system libraries that a Qt window needs on Linux.

Say which are missing, or install them where that is allowed.

``python -m napari_limn._napari.system_libraries [--install]``; needs nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
}
"""Debian's package for each library that Qt's xcb platform plugin loads."""


def missing() -> list[str]:
    """Name the Debian packages whose library cannot be loaded.

    And those of a virtual display where there is no real one.
    """
    if sys.platform != "linux":
        return []
    missing = [package for library, package in PACKAGES.items() if not _loads(library)]
    if not os.environ.get("DISPLAY") and not (shutil.which("Xvfb") and shutil.which("xvfb-run")):
        missing += ["xvfb", "xauth"]
    return missing


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install(packages: list[str]) -> bool:
    """Install packages with apt-get as root; whether that was possible and worked."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    steps = (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    )
    return all(
        subprocess.run(step, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0
        for step in steps
    )


def main(arguments: list[str]) -> int:
    """Report, or install with ``--install``; return 0.

    A missing window must not stop what needs none.
    """
    wanted = missing()
    if not wanted:
        sys.stdout.write("The libraries that a napari window needs are there.\n")
    elif "--install" not in arguments or not install(wanted):
        sys.stdout.write(
            f"A napari window needs system libraries: sudo apt-get install -y --no-install-recommends {' '.join(wanted)}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
