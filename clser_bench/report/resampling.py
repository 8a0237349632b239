"""Resamples of speakers and draws, for many methods at once.

A resample is a weight per speaker and a weight per draw, so resampled counts are matrix
products of weights and counts, and no utterance is touched twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clser_bench.hashing import generator
from clser_bench.protocol import Pair

Reals = npt.NDArray[np.float64]
Component = tuple[str, str]

_BLOCK = 1 << 21  # numbers held at once: small enough to stay in a processor's cache levels


@dataclass(frozen=True, eq=False, kw_only=True)
class Counts:
    """Utterances of one method on one pair, by speaker, class and draw.

    Attributes:
        pair: the pair.
        seeds: the draws, ascending.
        speakers: the target's speakers; the same for all methods and all pairs with this target.
        correct: recognised utterances [speakers, classes, draws].
        total: scored utterances [speakers, classes, draws].
    """

    pair: Pair
    seeds: tuple[int, ...]
    speakers: tuple[str, ...]
    correct: Reals
    total: Reals

    def __post_init__(self) -> None:
        ends = (len(self.speakers), len(self.seeds))
        for array in (self.correct, self.total):
            if array.ndim != 3 or (array.shape[0], array.shape[2]) != ends or 0 in array.shape:
                raise ValueError(
                    f"{self.pair}: counts {array.shape} do not fit {ends[0]} speakers and "
                    f"{ends[1]} draws"
                )

    def at(self, seeds: Sequence[int]) -> Counts:
        """The same, restricted to some of its draws."""
        if tuple(seeds) == self.seeds:
            return self
        where = [self.seeds.index(seed) for seed in seeds]
        return Counts(
            pair=self.pair,
            seeds=tuple(seeds),
            speakers=self.speakers,
            correct=self.correct[:, :, where],
            total=self.total[:, :, where],
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """Methods of one pair that have the same draws and the same answers.

    Attributes:
        rows: which methods they are.
        like: counts of one of them.
        correct: of all [speakers, methods, classes, draws].
    """

    rows: list[int]
    like: Counts
    correct: Reals


@dataclass(frozen=True, eq=False, kw_only=True)
class Resampled:
    """UAR in percent of m methods on one pair, the mean over draws.

    Attributes:
        estimate: on the data themselves [m].
        crossed: speakers and draws resampled [m, resamples].
        speakers: only speakers resampled [m, resamples].
        draws: only draws resampled [m, resamples].
        dropped: absent classes left out, over resamples and draws.
        of: classes over resamples and draws.
    """

    estimate: Reals
    crossed: Reals
    speakers: Reals
    draws: Reals
    dropped: int
    of: int


def stacks(column: Sequence[Counts]) -> Iterator[Stack]:
    """Put the methods of a pair together where they can be resampled together.

    Args:
        column: counts of one pair, a method each.
    """
    groups: dict[tuple[tuple[int, ...], bytes], list[int]] = {}
    for row, counts in enumerate(column):
        groups.setdefault((counts.seeds, counts.total.tobytes()), []).append(row)
    for rows in groups.values():
        correct = np.stack([column[row].correct for row in rows], axis=1)
        yield Stack(rows=rows, like=column[rows[0]], correct=correct)


def components(columns: Mapping[Pair, Sequence[Counts]]) -> dict[Component, int]:
    """What is resampled, and its number of clusters.

    Args:
        columns: counts by pair, a method each.

    Returns:
        `("speakers", target)` and `("draws", source)` to their number of clusters; the smallest
        above one where methods have different numbers of draws.
    """
    found: dict[Component, int] = {}
    for pair, column in columns.items():
        found["speakers", pair.target] = len(column[0].speakers)
        several = [len(counts.seeds) for counts in column if len(counts.seeds) > 1]
        draws = [found.get(("draws", pair.source), 1), *several]
        found["draws", pair.source] = min([count for count in draws if count > 1], default=1)
    return found


def resample(stack: Stack, resamples: int) -> Resampled:
    """Compute the UAR of a stack's methods in every resample.

    The resamples are named by the corpora, not by the pair, so that all pairs of a target share
    its speakers' weights and all pairs of a source its draws'.

    Args:
        stack: the methods of one pair.
        resamples: number of resamples.
    """
    like = stack.like
    speakers = _weights("speakers", like.pair.target, like.speakers, resamples)
    draws = _weights("draws", like.pair.source, like.seeds, resamples) / len(like.seeds)
    even = np.full_like(draws, 1 / len(like.seeds))
    # each draw by itself, on the data themselves: [m, draws]
    plain, _ = _uar(np.ones((1, len(like.speakers))), np.eye(len(like.seeds))[:, None], stack)
    plain = plain[:, 0].T
    held = max(1, _BLOCK // stack.correct[0].size)
    blocks = [slice(start, start + held) for start in range(0, resamples, held)]
    parts = [_uar(speakers[b], np.stack([draws[b], even[b]]), stack, plain) for b in blocks]
    uar = np.concatenate([part for part, _ in parts], axis=1)
    return Resampled(
        estimate=plain.mean(axis=-1),
        crossed=uar[0].T,
        speakers=uar[1].T,
        draws=plain @ draws.T,
        dropped=sum(absent for _, absent in parts),
        of=resamples * like.total[0].size,
    )


def _weights(what: str, corpus: str, clusters: Sequence[str | int], resamples: int) -> Reals:
    """How often each cluster is drawn in each resample [resamples, clusters]."""
    size = len(clusters)
    rng = generator("crossed bootstrap", what, corpus, list(clusters), resamples)
    drawn = rng.integers(size, size=(resamples, size)) + size * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * size)
    return counts.reshape(resamples, size).astype(np.float64)


def _uar(
    speakers: Reals, draws: Reals, stack: Stack, plain: Reals | None = None
) -> tuple[Reals, int]:
    """UAR of resampled speakers under several weightings of the draws, and absent classes.

    A class that the whole answer key lacks is not counted: it is absent from every UAR. A
    resample without any scored utterance says nothing and keeps the plain value.

    Args:
        speakers: weights [r, speakers].
        draws: weights, each row summing to 1 [k, r or 1, draws].
        stack: the methods.
        plain: UAR on the data themselves [m, draws]; None while it is computed.

    Returns:
        UAR in percent [k, r, m], and how many classes were absent from resamples and draws.
    """
    methods = stack.correct.shape[1]
    total = np.tensordot(speakers, stack.like.total, axes=1)
    present = total > 0
    count = present.sum(axis=1, keepdims=True)
    share = 100.0 * np.divide(present, total * count, out=np.zeros_like(total), where=present)
    weights = (share * draws[:, :, None]).reshape(len(draws), len(speakers), -1)
    correct = (speakers @ stack.correct.reshape(len(stack.correct), -1)).reshape(
        len(speakers), methods, -1
    )
    # one matrix product a resample: [m, classes x draws] times [classes x draws, k]
    uar: Reals = np.moveaxis(correct @ np.moveaxis(weights, 0, -1), -1, 0)
    if plain is not None and not count.all():
        uar = uar + (draws * (count[:, 0] == 0)) @ plain.T
    known = stack.like.total.any(axis=0)
    return uar, int((~present & known).sum())
