"""The data model: what a method is given, what it gives back, what only scoring sees.

Axis letters, everywhere: n utterances, t instants, d features of an instant, f features of a
summary, c classes, k trials in a pack.

The boundary: `Problem` has no names and no target labels; `AnswerKey` has them; no field leads
from one to the other. docs/architecture.md has what stands around it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
import secrets
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench.errors import FeatureError
from clser_bench.hashing import digest
from clser_bench.protocol import Condition, Pair, Shots

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same array, marked so that nobody writes into it."""
    view = array.view()
    view.flags.writeable = False
    return view


def _freeze(owner: object, *names: str) -> None:
    """Mark arrays of a frozen dataclass so that nobody writes into them."""
    for name in names:
        object.__setattr__(owner, name, read_only(getattr(owner, name)))


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that was left out because `--skip-bad` was given, and why."""

    corpus: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something odd about a corpus or a pair: stops no run, but belongs below its table."""

    kind: str  # one of `FINDINGS`
    corpus: str  # code of the corpus, `B`, or the pair, `B→C`
    sentence: str  # what was seen and what was done about it
    files: tuple[str, ...] = ()  # names of the recordings concerned, relative to the corpus folder


FINDINGS = (
    "copies",  # recordings of the same audio in one corpus; one is kept
    "alike",  # recordings that differ in gain or encoding only, as far as can be seen
    "shared",  # recordings that both corpora of a pair have
    "namesakes",  # recordings of the same speaker, emotion and file name in two folders
    "overlap",  # segments of one file that overlap
    "gender",  # a speaker of two genders
    "speaker",  # names of speakers that differ by case, zeros or punctuation only
    "language",  # one language under two tags
    "differs",  # numbers are not those of the definition
    "stray",  # recordings that belong to no corpus, or are of a format that is not read
    "short",  # recordings shorter than 0.1 s
    "silent",  # recordings without sound
    "scale",  # samples beyond full scale
    "index",  # the index of decoded files was damaged or cannot be written
)
"""Every kind of finding."""


@dataclass(frozen=True, eq=False)
class Table:
    """Features of every utterance of a corpus; read-only, and memory-mapped where it has a folder.

    Pickles as its folder, never as its bytes, when it has one.
    """

    key: str  # hash of everything that determines the values
    instants: Floats  # float32 [n, t, d]
    summary: Floats  # float32 [n, f]
    folder: Path | None = None  # where the two arrays lie on disk; None for a table in memory

    def __post_init__(self) -> None:
        one, other = self.instants.shape, self.summary.shape
        if (len(one), len(other), one[:1]) != (3, 2, other[:1]):
            raise FeatureError(
                f"table {self.key[:12]}: instants must be [n, t, d] and summary [n, f], "
                f"got {one} and {other}"
            )
        _freeze(self, "instants", "summary")

    def __len__(self) -> int:
        return len(self.summary)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return open_table, (self.key, self.folder)
        return Table, (self.key, np.array(self.instants), np.array(self.summary), None)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """t, d and f."""
        return *self.instants.shape[1:], self.summary.shape[1]

    def stored_rows(self, rows: Rows) -> tuple[Table, Rows]:
        """The table whose arrays hold some rows, and which of its rows they are."""
        return self, rows

    @functools.cached_property
    def anonymous(self) -> Table:
        """The same arrays under a random key, without the folder and the names of files."""
        return Table(secrets.token_hex(16), _unnamed(self.instants), _unnamed(self.summary))

    def in_order(self, seed: int) -> Reordered:
        """The table in the order of a number; the same object whenever it is asked for."""
        orders = vars(self).setdefault("_orders", {})
        if seed not in orders:
            orders[seed] = Reordered(self, seed)
        found: Reordered = orders[seed]
        return found


def _unnamed(array: Floats) -> Floats:
    """The array, over the mapping itself where it is one of a file, which numpy would name."""
    named: Any = array
    while isinstance(named, np.ndarray) and not isinstance(named.base, mmap.mmap):
        named = named.base
    if not isinstance(named, np.memmap):
        return array
    start = named.offset % mmap.ALLOCATIONGRANULARITY
    mapping: Any = named.base
    flat = np.frombuffer(mapping, array.dtype, count=array.size, offset=start)
    return flat.reshape(array.shape)


class Reordered(Table):
    """A table with its rows in another order, which is drawn from a number.

    Each array is gathered when it is first asked for. Pickles as the stored table and the number.
    """

    stored: Table
    seed: int
    order: Rows  # int64 [n], the stored row of each row

    def __init__(self, stored: Table, seed: int) -> None:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(stored))
        vars(self).update(stored=stored, seed=seed, order=read_only(order), folder=None)
        vars(self)["key"] = digest(["order", stored.key, seed])

    @functools.cached_property
    def instants(self) -> Floats:
        """As in `Table`."""
        return read_only(self.stored.instants[self.order])

    @functools.cached_property
    def summary(self) -> Floats:
        """As in `Table`."""
        return read_only(self.stored.summary[self.order])

    def __len__(self) -> int:
        return len(self.order)

    def __reduce__(self) -> tuple[Any, ...]:
        return Table.in_order, (self.stored, self.seed)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """t, d and f."""
        return self.stored.sizes

    def stored_rows(self, rows: Rows) -> tuple[Table, Rows]:
        """The table whose arrays hold some rows, and which of its rows they are."""
        return self.stored, self.order[rows]

    @functools.cached_property
    def anonymous(self) -> Table:
        """As in `Table`."""
        return self.stored.anonymous.in_order(self.seed)

    def intact(self) -> bool:
        """Whether the gathered arrays are still those of the stored table."""
        return all(
            np.array_equal(getattr(self, name), getattr(self.stored, name)[self.order])
            for name in ("instants", "summary")
            if name in vars(self)
        )


ARRAYS = ("instants.npy", "summary.npy")
CHECKSUMS = "sha256.json"  # beside the arrays of a table: the SHA-256 of each


def array_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of the files of a table's arrays, by name."""
    sums = {}
    for name in ARRAYS:
        with (folder / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


@functools.lru_cache(maxsize=64)
def open_table(key: str, folder: Path) -> Table:
    """Memory-map the table that lies in a folder, once its checksums are found to fit.

    FeatureError where a file is missing, is not an array, or is damaged.
    """
    arrays = []
    try:
        stored = json.loads((folder / CHECKSUMS).read_text(encoding="ascii"))
        found = array_checksums(folder)
    except (OSError, ValueError, RecursionError) as error:
        raise FeatureError(f"{folder}: its checksums cannot be read ({error})") from error
    wrong = [
        name for name in ARRAYS if not isinstance(stored, dict) or stored.get(name) != found[name]
    ]
    if wrong:
        raise FeatureError(f"{folder / wrong[0]}: the checksum does not fit")
    for name in ARRAYS:
        try:
            arrays.append(np.load(folder / name, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
            raise FeatureError(f"{folder / name}: cannot be read as an array ({error})") from error
    return Table(key, arrays[0], arrays[1], folder)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled rows of the source."""

    rows: Rows  # int64 [m], rows of the source table
    y: Rows  # int64 [m], class indices

    def __post_init__(self) -> None:
        if self.rows.shape != self.y.shape or self.rows.ndim != 1:
            raise ValueError(f"rows {self.rows.shape} and y {self.y.shape} must be equal and flat")
        _freeze(self, "rows", "y")


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """All that a method is given. No names of utterances or speakers, no target label.

    The order of rows is drawn for each pair and side, so a row number means nothing elsewhere.
    """

    classes: tuple[str, ...]  # the emotions, in the order of class indices
    source: Table  # normalised features of the source corpus
    target: Table  # normalised features of the target corpus
    labelled: Labelled  # the k-shot draw
    unlabelled: Rows  # rows of the source whose labels are withheld, ascending
    adapt: Rows  # rows of the target to adapt to, ascending
    # rows of the target whose classes are asked for, ascending; the same as `adapt` in the
    # transductive setting
    scored: Rows
    # those of `unlabelled` that belong to other corpora (`--unlabelled`), ascending
    added: Rows = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        _freeze(self, "unlabelled", "added", "adapt", "scored")


@dataclass(frozen=True, eq=False, kw_only=True)
class AnswerKey:
    """The answers to a problem; never leaves the process that scores."""

    classes: tuple[str, ...]  # as in the problem
    y: Rows  # int64 [n], the class of each scored row
    speakers: tuple[str, ...]  # of each scored row
    names: tuple[str, ...]  # of each scored row, the utterance's name

    def __post_init__(self) -> None:
        _freeze(self, "y")


Value = int | float | bool | str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Everything that determines a result; its hash is its name."""

    pair: Pair  # source and target codes
    classes: tuple[str, ...]  # the pair's emotions
    seed: int  # number of the draw
    method: str  # registered name
    version: int  # the method's integer version
    parameters: tuple[tuple[str, Value], ...]  # its hyper-parameters, sorted by name
    # the shared rules; its `suite`, `selection` and `unlabelled` do not enter the hash (the same
    # configuration is the same result whoever chose it, and for whichever table; of added corpora,
    # `added` has those that the trial is given)
    condition: Condition
    # key of the source's normalised feature table (audio content, feature code, normalisation)
    source_key: str
    target_key: str  # the target's
    # `CODE:KEY` of each corpus whose unlabelled speech the trial is given beside those of the pair,
    # KEY the hash of its normalised features; by code
    added: tuple[str, ...] = ()
    engine_version: int = 0  # of the training engine; 0 for fitted methods
    synthetic: bool = False  # whether a corpus is synthetic

    @property
    def shots(self) -> Shots:
        """Labelled utterances of each class."""
        return self.condition.shots

    @functools.cached_property
    def id(self) -> str:
        """64 hexadecimal digits."""
        condition = self.condition
        values: dict[str, Any] = {
            "pair": [self.pair.source, self.pair.target],
            "classes": list(self.classes),
            "shots": condition.shots,
            "seed": self.seed,
            "method": self.method,
            "version": self.version,
            "parameters": [[name, value] for name, value in self.parameters],
            "features": condition.features_label,
            "normalisation": condition.normalisation,
            "setting": condition.setting,
            "prior": condition.prior,
            "source": self.source_key,
            "target": self.target_key,
            "engine": self.engine_version,
            "protocol": condition.protocol_version,
        }
        if self.added:
            values["unlabelled"] = "+".join(self.added)
        # a rule that came later is part of the id where it is in force
        return digest(values | condition.unusual())


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """One problem to solve with one method; what travels to the process that runs it."""

    id: str  # names the job in its outcome; tells nothing about the answers
    method: str  # registered name
    parameters: tuple[tuple[str, Value], ...]  # hyper-parameters, sorted by name
    problem: Problem  # the problem
    seed: int  # of all random numbers of the job


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What came of a job: scores, or why there are none."""

    id: str  # of the job
    status: str  # `ok`, `failed` or `not_applicable`
    # float32 [n, c] for the scored rows, larger is likelier; empty unless ok
    scores: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    reason: str = ""  # why not, with the traceback where there is one; empty if ok
    seconds: float = 0.0  # time spent; a packed job's share of its pack
    # joules of the processors, a share likewise; None where it was not measured
    energy: float | None = None
