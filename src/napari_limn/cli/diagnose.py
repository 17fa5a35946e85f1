"""The verb ``diagnose``: what a report about a fault needs to say."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def add_diagnose(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb that describes the machine."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "diagnose", help="versions, device, memory and a short test of them, to copy into a report"
    )
    verb.set_defaults(run=_diagnose)
    return verb


def _diagnose(_: argparse.Namespace) -> dict[str, Any]:
    from napari_limn.report.diagnose import diagnose

    diagnosis = diagnose()
    return {"text": str(diagnosis), "exit": int(not diagnosis.works), **asdict(diagnosis)}
