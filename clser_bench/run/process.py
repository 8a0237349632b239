"""Processes that a command starts, and messages between them.

A child is a clean interpreter that runs one module, which answers on its standard output and ends
when its input does: whichever way the command ends, its children follow. Between our own processes
messages are pickled; outcomes of a process that runs methods are not, since unpickling executes
code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import Any, BinaryIO, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from clser_bench.problem import Job, Outcome

_LENGTH = struct.Struct("<Q")
_LIMIT = 2**33
"""Bytes of the longest message: a process that announces more is at fault."""


class ChildProcess:
    """A child, from the side of the process that starts it; a context manager.

    Args:
        module: what it runs, as `python -m` would.
        environment: variables that it gets besides those of this process.
        grace: seconds in which it may end in order.
    """

    def __init__(self, module: str, *, environment: dict[str, str], grace: float) -> None:
        self._grace = grace
        # -P: no module of the folder that the command runs in is taken for one of ours. A session
        # of its own: Ctrl-C in a terminal is for the command, which ends its children.
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
            bufsize=0,  # `select` does not see what lies in a buffer
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: object) -> None:
        """Send a message; EOFError says how the child has ended."""
        try:
            send(self._pipe("stdin"), pickle.dumps(message))
        except OSError as error:
            raise EOFError(self._end()) from error

    def next(self, *, timeout: float | None = None) -> Any:
        """The next message; None where there is none within `timeout` seconds (None: wait)."""
        stream = self._pipe("stdout")
        if not select.select([stream], [], [], timeout)[0]:
            return None
        try:
            return pickle.loads(receive(stream))  # noqa: S301 (of our own process)
        except EOFError:
            raise EOFError(self._end()) from None

    def close(self) -> None:
        """End the child and whatever it is running."""
        for name in ("stdin", "stdout"):
            with contextlib.suppress(OSError):
                self._pipe(name).close()
        try:
            self._process.wait(timeout=self._grace)  # it ends when its input does
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _pipe(self, name: str) -> Any:
        return getattr(self._process, name)

    def _end(self) -> str:
        return exit_in_words(self._process.wait())


@contextlib.contextmanager
def channel() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """In a child: its input, and its output freed from whatever code prints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as sink:
        os.dup2(2, 1)
        yield sys.stdin.buffer, sink


def pack_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Outcomes as a line of JSON and their scores as safetensors."""
    names = [item.name for item in dataclasses.fields(Outcome) if item.name != "scores"]
    heads = [{name: getattr(outcome, name) for name in names} for outcome in outcomes]
    scores = {str(n): np.ascontiguousarray(one.scores) for n, one in enumerate(outcomes)}
    data: bytes = save(scores)
    return json.dumps(heads).encode() + b"\n" + data


def unpack_outcomes(message: bytes, jobs: Sequence[Job]) -> list[Outcome]:
    """Read the outcomes of some jobs, in order, from `pack_outcomes` in an untrusted process.

    Raises:
        ValueError: they are not, or the message is damaged (also KeyError, TypeError).
    """
    heads, _, data = message.partition(b"\n")
    try:
        scores = load(data)
    except SafetensorError as error:
        raise ValueError(f"its scores cannot be read: {error}") from error
    outcomes = [Outcome(**head, scores=scores[str(n)]) for n, head in enumerate(json.loads(heads))]
    if [outcome.id for outcome in outcomes] != [job.id for job in jobs]:
        raise ValueError("they are of other trials")
    return outcomes


def send(stream: BinaryIO, message: bytes) -> None:
    """Write a message with its length."""
    left = memoryview(_LENGTH.pack(len(message)) + message)
    while left:
        left = left[stream.write(left) :]
    stream.flush()


def receive(stream: BinaryIO | FileIO) -> bytes:
    """Read what `send` wrote: EOFError where the stream ends, ValueError for too long a message."""
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


def exit_in_words(code: int) -> str:
    """How a process ended, in words; the exit code is negative where a signal ended it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
