"""Stored values: metrics, records of trials, notes on methods, and arrays as bytes."""

from __future__ import annotations

import functools
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clser_bench.errors import DamagedError
from clser_bench.problem import Floats, Rows, Trial
from clser_bench.protocol import Condition, Pair

STATUSES = ("ok", "failed", "not_applicable")
ROLES = ("ranked", "bound", "reference", "submitted")
RENAMED = {"target-oracle": "within-target"}
"""Names of methods in older files; they are shown under the new ones."""

IMPORTED = "imported"
"""Key of a request that came with a file of others; its value is the name of that file."""

CLOSE = 1e-6
"""Difference of two percentages that are the same."""

Guesses = npt.NDArray[np.uint8]
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]")
_KINDS = ("<f4", "<f8", "<i8", "|u1")
_CHECK = 4  # bytes of the CRC-32 behind an array
_RIGHT = 0x2144DF1C  # the CRC-32 of any bytes with their own behind them


def predictions(scores: Floats) -> Guesses:
    """The class of each utterance [n]: the largest of its scores [n, c], ties to the lowest."""
    return np.asarray(np.argmax(scores, axis=1), dtype=np.uint8)


def recall_weights(y: Rows) -> npt.NDArray[np.float64]:
    """Percent that each utterance [n] adds to the UAR where it is recognised."""
    total = np.bincount(y)
    return np.asarray(100.0 / (total[y] * np.count_nonzero(total)), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How well the scored utterances of a trial were recognised."""

    uar: float  # mean of the recalls of the classes that occur, percent
    war: float  # share of correct utterances, percent
    macro_f1: float  # mean F1 of the classes that occur, percent
    recalls: tuple[float, ...]  # recall of each class, percent; NaN for a class that does not occur
    confusion: tuple[tuple[int, ...], ...]  # utterances by true class (rows) and predicted class

    @classmethod
    def of(cls, predicted: Guesses, y: Rows, *, classes: int) -> Metrics:
        """Compare predicted classes with the answers.

        With n[i, j] utterances of class i taken for class j, recall[i] = n[i, i] / sum_j n[i, j],
        UAR is their mean, WAR = sum_i n[i, i] / n, F1[i] = 2 n[i, i] / (sum_j n[i, j] + sum_j
        n[j, i]). Means run over the classes that occur (resampled targets may lack one).
        """
        confusion = np.bincount(y * classes + predicted, minlength=classes * classes)
        confusion = confusion.reshape(classes, classes)
        hits, true, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        present = true > 0
        recalls = np.full(classes, np.nan)
        np.divide(100.0 * hits, true, out=recalls, where=present)
        f1 = 200.0 * hits[present] / (true + guessed)[present]
        return cls(
            uar=float(recalls[present].mean()),
            war=float(100.0 * hits.sum() / true.sum()),
            macro_f1=float(f1.mean()),
            recalls=tuple(recalls.tolist()),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """A trial and its result."""

    trial: Trial
    status: str  # `ok`, `failed` or `not_applicable`
    reason: str = ""  # why it is not ok, with the traceback where there is one
    metrics: Metrics | None = None  # None unless ok
    # float32 [n, c]; empty unless ok, and where a result was imported without scores
    scores: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # uint8 [n], predicted classes; found from the scores where left out
    predicted: Guesses = field(default_factory=lambda: np.zeros(0, np.uint8))
    # int64 [n], true classes; empty unless ok
    y: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    names: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    seconds: float = 0.0  # time spent; a packed trial's share of its pack
    # joules of the processors, likewise; None where it was not measured
    energy: float | None = None
    attempts: int = 1  # how often it was tried; counted by the store, so `put` ignores it
    pack: str = ""  # name of the pack it ran in

    def __post_init__(self) -> None:
        what, shape = f"{self.trial.method} {self.trial.pair}", self.scores.shape
        if self.status not in STATUSES:
            raise ValueError(f"status '{self.status}' of {self.trial.method}: one of {STATUSES}")
        if (self.status == "ok") != (self.metrics is not None):
            raise ValueError(f"{what}: metrics if and only if ok")
        if self.scores.ndim != 2:
            raise ValueError(f"{what}: scores {shape}, wanted [n, c]")
        if len(self.scores) and not len(self.predicted):
            object.__setattr__(self, "predicted", predictions(self.scores))
        sizes = {len(self.predicted), len(self.y), len(self.names), len(self.speakers)}
        sizes |= {len(self.scores)} if len(self.scores) else set()
        if self.status == "ok" and len(sizes) > 1:
            differ = "predictions, y, names and speakers differ in length"
            raise ValueError(f"{what}: scores {shape}, {differ}: {sorted(sizes)}")


@dataclass(frozen=True, kw_only=True)
class MethodNote:
    """Facts of a method for tables, which need not import it then."""

    assumes_prior: str = "none"  # `none`, `uniform` or `estimated`
    # `ranked`, `bound` (chance and the like), `reference` (uses target labels) or `submitted`
    # (predictions made elsewhere)
    role: str = "ranked"
    note: str = ""  # a footnote, such as "equations reconstructed from the abstract"; may be empty
    title: str = ""  # the name that is shown; empty for the method's own
    uses: tuple[str, ...] = ()  # the data that it is given, such as `labelled`, `source`, `target`
    kind: str = ""  # `fitted`, `trained` or `routine`; empty where unknown
    version: int = 0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role '{self.role}': one of {ROLES}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A plan as stored: what one command asked for."""

    id: int
    suite: str
    pairs: tuple[Pair, ...]  # the suite's ordered pairs, in table order
    text: str  # the request, JSON
    methods: Mapping[str, MethodNote]
    trials: int

    @functools.cached_property
    def request(self) -> Mapping[str, Any]:
        """The request, enough for `resume`."""
        found = from_json(self.text, f"the request of plan {self.id}")
        if not isinstance(found, dict):
            raise DamagedError(f"the request of plan {self.id} is damaged; repeat its command")
        return found

    @property
    def imported(self) -> str:
        """Name of the file that it came from; empty for a run of this file."""
        return str(self.request.get(IMPORTED, ""))


class Tally(NamedTuple):
    """How far the planned trials are."""

    planned: int
    ok: int
    failed: int
    not_applicable: int


class Line(NamedTuple):
    """A method under one condition, as the latest plan that asked for it had it."""

    id: int
    request: int
    condition: Condition
    method: str
    note: MethodNote
    configuration: int | None  # number of the candidate; None where it belongs to a table


class Fault(NamedTuple):
    """Something in a results file that is not as it was written."""

    place: str
    name: str
    problem: str


def pack_array(array: npt.NDArray[Any]) -> bytes:
    """Write an array of float32, float64, int64 or uint8 as a `.npy` file and its CRC-32."""
    kind = array.dtype.newbyteorder("<").str
    if kind not in _KINDS:
        raise ValueError(f"arrays of dtype {array.dtype} are not stored; allowed: {_KINDS}")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, kind, order="C"), allow_pickle=False)
    content = buffer.getvalue()
    return content + zlib.crc32(content).to_bytes(_CHECK, "little")


def unpack_array(blob: bytes, what: str) -> npt.NDArray[Any]:
    """Read an array back, read-only; those of schema 2 too. Damage raises StoreError."""
    try:
        if blob[:1] in b"<|":  # schema 2: one line `dtype:shape:CRC-32` and the bytes
            head, _, body = blob.partition(b"\n")
            name, sizes, check = head.decode("ascii").split(":")
            _check(name in _KINDS and f"{zlib.crc32(body):08x}" == check)
            return np.frombuffer(body, name).reshape([int(n) for n in sizes.split(",") if n])
        _check(zlib.crc32(blob) == _RIGHT)
        start = 10 + int.from_bytes(blob[8:10], "little")
        shape, kind = _header(blob[:start])
        size = (len(blob) - start - _CHECK) // kind.itemsize
        return np.frombuffer(blob, kind, size, start).reshape(shape)
    except (TypeError, ValueError, IndexError) as error:
        remedy = "take the file from a backup, or delete it and run again"
        raise DamagedError(f"{what}: the stored array is damaged; {remedy}") from error


def unpack_alike(blobs: Sequence[bytes], size: int) -> Guesses | None:
    """Vectors of uint8 [size], read at once into [k, size]; None where one is something else."""
    head = pack_array(np.zeros(size, np.uint8))[: -size - _CHECK]
    length = len(head) + size + _CHECK
    for blob in blobs:
        alike = isinstance(blob, bytes) and len(blob) == length and blob.startswith(head)
        if not alike or zlib.crc32(blob) != _RIGHT:
            return None
    whole = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), length)
    return whole[:, len(head) : -_CHECK]


@functools.lru_cache(4096)
def _header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    stream = io.BytesIO(head)
    np.lib.format.read_magic(stream)
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    if kind.str not in _KINDS:
        raise ValueError(f"dtype {kind}")
    return shape, kind


def _check(same: bool) -> None:
    if not same:
        raise ValueError("another checksum")


def one_line(reason: str) -> str:
    """The line of a reason that says most: the last of a traceback, else the first."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason given"]
    return lines[-1] if any(line.startswith("Traceback (") for line in lines) else lines[0]


def plain(text: str) -> str:
    """A text without what steers a terminal, at most 20,000 characters."""
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)[:20_000]


def from_json(text: str, what: str) -> Any:
    """Read stored JSON, an array or an object; anything else raises DamagedError."""
    try:
        found, problem = json.loads(text), "it holds a single value"
    except (TypeError, ValueError) as error:
        found, problem = None, str(error)
    if not isinstance(found, (list, dict)):
        remedy = "take the file from a backup, or repeat the command with another --results"
        raise DamagedError(f"{what} is damaged ({problem}); {remedy}")
    return found
