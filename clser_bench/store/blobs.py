"""Arrays and values as bytes and text, never as pickles.

An array is one line `dtype:shape:CRC-32` and its little-endian bytes, so that a damaged blob is
noticed whatever bit it lost.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.errors import StoreError
from clser_bench.store.records import Metrics

_KINDS = ("<f4", "<f8", "<i8", "|u1")


def pack_array(array: npt.NDArray[Any]) -> bytes:
    """Write an array of float32, float64, int64 or uint8 as bytes.

    Args:
        array: any shape.

    Raises:
        ValueError: another dtype.
    """
    kind = array.dtype.newbyteorder("<").str
    if kind not in _KINDS:
        raise ValueError(f"arrays of dtype {array.dtype} are not stored; allowed: {_KINDS}")
    body = np.ascontiguousarray(array, dtype=kind).tobytes()
    shape = ",".join(map(str, array.shape))
    return f"{kind}:{shape}:{zlib.crc32(body):08x}\n".encode("ascii") + body


def unpack_array(blob: bytes, what: str) -> npt.NDArray[Any]:
    """Read an array back, read-only.

    Args:
        blob: as `pack_array` made it.
        what: what it is, for the error message.

    Raises:
        StoreError: the bytes are damaged.
    """
    head, _, body = blob.partition(b"\n")
    try:
        kind, shape_text, check = head.decode("ascii").split(":")
        shape = tuple(int(size) for size in shape_text.split(",") if size)
    except ValueError as error:
        raise _damaged(what) from error
    expected = math.prod(shape) * int(kind[-1]) if kind in _KINDS else -1
    if len(body) != expected or f"{zlib.crc32(body):08x}" != check:
        raise _damaged(what)
    return np.frombuffer(body, dtype=kind).reshape(shape)


def pack_metrics(metrics: Metrics) -> tuple[float, float, float, str, str]:
    """Metrics as columns: UAR, WAR, macro F1, recalls as JSON (null for NaN), confusion as JSON."""
    recalls = [None if math.isnan(value) else value for value in metrics.recalls]
    confusion = json.dumps(metrics.confusion)
    return metrics.uar, metrics.war, metrics.macro_f1, json.dumps(recalls), confusion


def unpack_metrics(
    uar: float, war: float, macro_f1: float, recalls: str, confusion: str
) -> Metrics:
    """The other way round."""
    return Metrics(
        uar=uar,
        war=war,
        macro_f1=macro_f1,
        recalls=tuple(math.nan if value is None else value for value in json.loads(recalls)),
        confusion=tuple(tuple(row) for row in json.loads(confusion)),
    )


def pack_options(options: Mapping[str, Any]) -> str:
    """A run's options as JSON with sorted keys.

    Raises:
        StoreError: an option is no JSON value.
    """
    try:
        return json.dumps(options, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the run's options cannot be stored as JSON ({error}): {options}"
        ) from error


def _damaged(what: str) -> StoreError:
    return StoreError(
        f"{what}: the stored array is damaged; take the database from a backup, or delete it and "
        "run again"
    )
