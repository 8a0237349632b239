"""Messages between processes: lengths before bytes, and outcomes without pickle."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Sequence
from io import FileIO
from typing import Any, BinaryIO

import numpy as np

from clser_bench.problem import Job, Outcome

_LENGTH = struct.Struct("<Q")
_LIMIT = 2**33
"""Bytes of the longest message: a process that announces more is at fault."""


def pack_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Outcomes as a line of JSON and the bytes of their arrays.

    Args:
        outcomes: any number.
    """
    heads, arrays = [], []
    for outcome in outcomes:
        head: dict[str, Any] = {}
        for item in dataclasses.fields(outcome):
            value = getattr(outcome, item.name)
            if isinstance(value, np.ndarray):
                head[item.name] = {"dtype": value.dtype.str, "shape": value.shape}
                arrays.append(np.ascontiguousarray(value).tobytes())
            else:
                head[item.name] = value
        heads.append(head)
    return json.dumps(heads).encode() + b"\n" + b"".join(arrays)


def unpack_outcomes(message: bytes, jobs: Sequence[Job]) -> list[Outcome]:
    """Read what `pack_outcomes` wrote.

    Args:
        message: from a process that is not trusted.
        jobs: whose outcomes they must be, in order.

    Raises:
        ValueError: they are not, or the message is damaged (also KeyError, TypeError).
    """
    text, _, data = message.partition(b"\n")
    place, outcomes = 0, []
    for head in json.loads(text):
        values = {}
        for name, value in head.items():
            if not isinstance(value, dict):
                values[name] = value
                continue
            kind, shape = np.dtype(value["dtype"]), tuple(map(int, value["shape"]))
            if kind.kind not in "fiu" or min(shape, default=0) < 0:
                raise ValueError(f"{name} is an array of {kind}")
            size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
            piece = data[place : place + size]
            values[name] = np.frombuffer(piece, kind).reshape(shape).copy()
            place += size
        outcomes.append(Outcome(**values))
    if [outcome.id for outcome in outcomes] != [job.id for job in jobs] or place != len(data):
        raise ValueError("they are of other trials")
    return outcomes


def send(stream: BinaryIO, message: bytes) -> None:
    """Write a message with its length."""
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def receive(stream: BinaryIO | FileIO) -> bytes:
    """Read what `send` wrote.

    Raises:
        EOFError: the stream ends before.
        ValueError: the message is longer than any outcome is.
    """
    (size,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    if size > _LIMIT:
        raise ValueError(f"a message of {size} bytes")
    return _read(stream, size)


def _read(stream: BinaryIO | FileIO, size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(min(size, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
