"""How the C library's allocator is to treat the large tensors of a step."""

from __future__ import annotations

import ctypes
import functools

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 32 << 20
"""The most that glibc takes for its threshold."""


@functools.cache
def keep_freed_memory() -> bool:
    """Let freed blocks stay with the process, once; whether the allocator could be told.

    Every step allocates the same tensors. By default glibc gives blocks back to the system as
    they are freed and the next step faults every page in again: thousands of page faults a step,
    a fifth of a pack's time where tensors are large (benchmarks/packing.py).
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False  # another C library: slower, nothing else
    return bool(tell(_MMAP_THRESHOLD, _LARGEST)) and bool(tell(_TRIM_THRESHOLD, 2**31 - 1))
