"""A seed is the hash of its purpose: no counters, no global state."""

from __future__ import annotations

import numpy as np

from clser_bench.hashing import Hashable, digest


def seed_of(*purpose: Hashable) -> int:
    """Turn a purpose into a seed.

    Args:
        purpose: what the random numbers are for, e.g. `("draw", "B", "anger", 3)`.

    Returns:
        An integer of 63 bits, the same on every machine.
    """
    return int(digest(list(purpose))[:16], 16) >> 1


def generator(*purpose: Hashable) -> np.random.Generator:
    """Make the random generator of a purpose (PCG64).

    Args:
        purpose: as for `seed_of`.
    """
    return np.random.Generator(np.random.PCG64(seed_of(*purpose)))
