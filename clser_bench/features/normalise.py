"""Z-scores by the statistics of a corpus, of speakers, of voices, or of the source.

The rules are those of docs/protocol.md. Every column is taken alone: (x - mean) / (deviation +
1e-6), the deviation with ddof 0, then clipped to ±5. Instants are taken over all utterances and
all instants alike. The statistics are unlabelled: no emotion enters.

Estimated speakers are clusters of utterances with like voices: k-means on `VOICE_COLUMNS`, z-scored
by the corpus and clipped, for each k from 2 to `MOST_VOICES`; the k with the largest mean
silhouette (Rousseeuw 1987) is taken. No speaker's name and no emotion enters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from clser_bench.features.cache import Part, existing_table, new_table
from clser_bench.features.columns import MINIMAL_SUMMARY
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import Floats, Rows, Table
from clser_bench.protocol import Normalisation

VERSION = 1
EPSILON = 1e-6
CLIP = 5.0

VOICES = "minimal"
"""The feature set that voices are estimated from."""

VOICE_COLUMNS = (
    "p20_pitch", "p50_pitch", "voiced_mfcc01", "voiced_mfcc02", "voiced_mfcc03", "voiced_mfcc04",
)  # fmt: skip
"""Of its summary: pitch and long-term spectrum."""

MOST_VOICES = 10

_JUDGED = 2000  # utterances that the silhouette is taken over: it needs every distance
_BLOCK_BYTES = 1 << 26

Names = npt.NDArray[np.str_]
Groups = npt.NDArray[np.int64]


def normalised(
    table: Table,
    *,
    how: Normalisation,
    speakers: Names,
    cache: Path,
    reference: Table | None = None,
    voices: Table | None = None,
    rows: Rows | None = None,
) -> Table:
    """Get the z-scored table of all n rows, from the cache if it is there.

    Args:
        table: the raw features of a corpus, n rows.
        how: whose statistics. `corpus`: of all rows. `speaker`: of each speaker's own rows.
            `source`: of all rows of `reference`, the raw table of the source.
            `estimated-speakers`: of each cluster of `voices`, the raw table of the same rows in the
            set `VOICES`. `none`: the table is handed back as it is.
        speakers: [n], who speaks; used by `speaker` only, and not stored.
        rows: the rows that statistics and clusters may be taken from (the half of the target to
            adapt to), each counted once; None for all. A speaker or cluster without any of them
            is scored and not adapted to: its statistics are those of its own rows, unlabelled,
            as if it were met as a batch. `source` does not use them.
    """
    if how == "none":
        return table
    used = None if rows is None or how == "source" else np.unique(rows)
    groups = np.unique(speakers, return_inverse=True)[1].ravel() if how == "speaker" else None
    by_voice = voices if how == "estimated-speakers" else None
    key = digest(
        {
            "normalisation": how,
            "version": VERSION,
            "epsilon": EPSILON,
            "clip": CLIP,
            "table": table.key,
            "speakers": None if groups is None else digest_array(groups.astype(np.int64)),
            "reference": reference.key if how == "source" and reference is not None else None,
            **({"voices": by_voice.key, "clusters": MOST_VOICES} if by_voice else {}),
            "rows": None if used is None else digest_array(used.astype(np.int64)),
        }
    )
    parts = _parts(table, reference if how == "source" else None, groups, by_voice, used)
    n, (t, d, f) = len(table), table.sizes
    found = existing_table(cache, key, rows=n)
    return found or new_table(cache, key, instants=(n, t, d), summary=(n, f), parts=parts)


def estimated_speakers(voices: Table, rows: Rows | None = None) -> Groups:
    """Cluster utterances by raw features of the set `VOICES`: the number of a cluster [n].

    Clusters are made of `rows` (None for all), and the others join the nearest; one cluster where
    there are fewer than three different utterances.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415 (a second)
    from sklearn.metrics import silhouette_score  # noqa: PLC0415

    columns = [MINIMAL_SUMMARY.index(name) for name in VOICE_COLUMNS]
    values = np.asarray(voices.summary[:, columns], dtype=np.float64)
    basis = values if rows is None else values[rows]
    deviation = basis.std(axis=0) + EPSILON
    every = ((values - basis.mean(axis=0)) / deviation).clip(-CLIP, CLIP)
    own = every if rows is None else every[rows]
    judged = np.arange(0, len(own), -(-len(own) // _JUDGED))
    best, found = -np.inf, np.zeros(len(values), np.int64)
    with threadpool_limits(limits=1):  # the same clusters on any number of cores
        for count in range(2, min(MOST_VOICES + 1, len(np.unique(own, axis=0)))):
            model = KMeans(count, n_init=10, random_state=0).fit(own)
            labels = model.labels_[judged]
            if not 1 < len(np.unique(labels)) < len(labels):
                continue
            score = silhouette_score(own[judged], labels)
            if score > best:
                best, found = score, model.predict(every).astype(np.int64)
    return found


def _parts(
    table: Table,
    reference: Table | None,
    groups: Groups | None,
    voices: Table | None,
    used: Rows | None,
) -> Iterator[Part]:
    """The z-scored rows, group by group, in blocks that fit into memory."""
    if voices is not None:
        groups = estimated_speakers(voices, used)
    elif groups is None:
        groups = np.zeros(len(table), np.int64)
    of = table if reference is None else reference
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        basis = members if used is None else np.intersect1d(members, used)
        if reference is not None:
            basis = np.arange(len(reference))
        blocks = _blocks(of, basis if len(basis) else members)
        long, short = (_scores(values, blocks) for values in (of.instants, of.summary))
        for block in _blocks(table, members):
            yield block, long(table.instants[block]), short(table.summary[block])


def _scores(values: Floats, blocks: list[Rows]) -> Callable[[Floats], Floats]:
    """What z-scores [..., d] by the columns of some rows, in float64 by two passes over them."""
    columns = values.shape[-1]
    count = sum(map(len, blocks)) * int(np.prod(values.shape[1:-1]))
    mean, squares = np.zeros(columns), np.zeros(columns)
    for block in blocks:
        mean += values[block].reshape(-1, columns).sum(axis=0, dtype=np.float64)
    mean /= count
    for block in blocks:
        squares += np.square(values[block].reshape(-1, columns) - mean).sum(axis=0)
    deviation = np.sqrt(squares / count) + EPSILON
    return lambda rows: ((rows - mean) / deviation).clip(-CLIP, CLIP).astype(np.float32)


def _blocks(table: Table, rows: Rows) -> list[Rows]:
    """Rows cut so that a block's float64 copy stays below 64 MiB."""
    row_bytes = 8 * (table.instants.shape[1] * table.instants.shape[2] + table.summary.shape[1])
    count = max(1, _BLOCK_BYTES // row_bytes)
    return [rows[start : start + count] for start in range(0, len(rows), count)]
