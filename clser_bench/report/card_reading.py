"""Reading a card that somebody else may have written; nothing in it is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clser_bench.errors import SpecError
from clser_bench.hashing import digest
from clser_bench.report.card import FORMAT, Card, faults

LARGEST = 32 * 2**20
"""The most bytes that a card may have."""


def read_card(path: Path) -> Card:
    """Read a card that somebody else may have written; nothing in it is trusted.

    Args:
        path: a JSON file.

    Raises:
        SpecError: it cannot be read, is too large, is of another format, does not fit its hash,
            has an unknown field or a value of another kind.
    """
    values = _values(path)
    try:
        return Card.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise SpecError(f"card {path}: {faults(error)}") from error


def _values(path: Path) -> dict[str, Any]:
    """The JSON of a card of this format that fits its hash."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise SpecError(f"card {path}: cannot be read ({error.strerror})") from error
    if len(text) > LARGEST:
        raise SpecError(f"card {path}: has more than {LARGEST // 2**20} MiB, so it is no card")
    try:
        values: dict[str, Any] = json.loads(text)
        found = digest({name: value for name, value in values.items() if name != "sha256"})
    except (ValueError, RecursionError, AttributeError) as error:
        raise SpecError(f"card {path}: is not the JSON of a card ({str(error)[:200]})") from error
    if values.get("format") != FORMAT:
        got = ascii(values.get("format"))[:20]
        raise SpecError(
            f"card {path}: is of format {got}, this clser-bench reads {FORMAT}; upgrade the older "
            "of the two"
        )
    if values.get("sha256") != found:
        raise SpecError(
            f"card {path}: does not fit its own SHA-256, so it was changed or damaged since it was "
            "written; get it again from its author"
        )
    return values
