"""Reads ``manifest.json`` into the values of ``worthit.contract.manifest``, and checks it."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from worthit.contract.manifest import (
    FORMAT_VERSION,
    Arm,
    Block,
    CrossCheck,
    Generator,
    Manifest,
    Placed,
    Recorded,
    Step,
    Verdict,
    Worker,
)

__all__ = [
    "FORMAT_VERSION",
    "Arm",
    "Block",
    "CrossCheck",
    "Generator",
    "Manifest",
    "Placed",
    "Recorded",
    "Step",
    "Verdict",
    "Worker",
    "parse",
]

_MANIFEST = TypeAdapter(Manifest)


def parse(content: dict[str, Any]) -> Manifest:
    """Turn the decoded file into a checked manifest; keys that it does not know are left out.

    Older files have ``witnesses``, each with a ``witness``, for ``cross_checks`` and
    ``counted_by``.

    Raises
    ------
    pydantic.ValidationError
        When something is missing or of the wrong type.
    """
    content = _renamed(content, "witnesses", "cross_checks")
    rows = content.get("cross_checks")
    if isinstance(rows, list):
        renamed = [
            _renamed(row, "witness", "counted_by") if isinstance(row, dict) else row
            for row in rows
        ]
        content = {**content, "cross_checks": renamed}
    return _MANIFEST.validate_python(content)


def _renamed(row: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old and new not in row else key: value for key, value in row.items()}
