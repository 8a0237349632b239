"""Hashes of values (canonical JSON, all bytes, SHA-256) and seeds as hashes of their purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Leaf = str | int | float | bool | None
Hashable: TypeAlias = "Leaf | Sequence[Hashable] | Mapping[str, Hashable]"


def digest(value: Hashable) -> str:
    """Hash a JSON-like value: 64 hexadecimal digits.

    Key order does not matter, element order does; `1` and `1.0` differ.

    Raises:
        ValueError: a float is not finite.
        TypeError: a leaf is of another type.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def digest_array(array: npt.NDArray[np.generic]) -> str:
    """Hash dtype, shape and every byte of an array, taken contiguous and little-endian."""
    import numpy as np  # noqa: PLC0415 (a tenth of a second, for listing and completion too)

    ordered = np.ascontiguousarray(array)
    little = ordered.astype(ordered.dtype.newbyteorder("<"), copy=False)
    state = hashlib.sha256(f"{little.dtype.str}{little.shape}".encode("ascii"))
    state.update(little.data.cast("B") if little.size else b"")
    return state.hexdigest()


def seed_of(*purpose: Hashable) -> int:
    """An integer of 63 bits from what random numbers are for: `("draw", "B", "anger", 3)`."""
    return int(digest(list(purpose))[:16], 16) >> 1


def generator(*purpose: Hashable) -> np.random.Generator:
    """The random generator of a purpose (PCG64)."""
    import numpy as np  # noqa: PLC0415 (as above)

    return np.random.Generator(np.random.PCG64(seed_of(*purpose)))
