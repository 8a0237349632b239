"""Which utterances of a source are labelled: the k-shot draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clser_bench.errors import CorpusError
from clser_bench.seeding import generator
from clser_bench.spec import Shots
from clser_bench.trial import Corpus, Labelled, Rows


def draw(corpus: Corpus, *, classes: Sequence[str], shots: Shots, seed: int) -> Labelled:
    """Draw the labelled utterances of a source.

    For each (corpus, class, seed) there is one permutation of the class's utterances; the
    first k are the shots. So a draw with fewer shots lies within one with more, and none
    depends on the method, the target or the other classes.

    Args:
        corpus: the source.
        classes: the pair's emotions, in the order of class indices.
        shots: utterances per class, or `all`.
        seed: number of the draw; of no effect with `all`.

    Returns:
        Class by class in the order drawn; with `all`, by row.

    Raises:
        CorpusError: a class has fewer utterances than shots, or none at all.
    """
    _refuse_scarce(corpus, classes, 1 if shots == "all" else shots)
    if shots == "all":
        rows, y = labelled_rows(corpus, classes)
        return Labelled(rows, y)
    drawn = [permuted(corpus, emotion, "draw", seed)[:shots] for emotion in classes]
    return Labelled(np.concatenate(drawn), np.repeat(np.arange(len(classes)), shots))


def labelled_rows(corpus: Corpus, classes: Sequence[str]) -> tuple[Rows, Rows]:
    """The utterances of a corpus that belong to some classes.

    Args:
        corpus: the corpus.
        classes: emotions, in the order of class indices.

    Returns:
        Rows [m], ascending, and the class index of each [m].
    """
    y = np.full(len(corpus.utterances), -1, dtype=np.int64)
    for index, emotion in enumerate(classes):
        y[corpus.emotions == emotion] = index
    rows = np.flatnonzero(y >= 0).astype(np.int64)
    return rows, y[rows]


def permuted(corpus: Corpus, emotion: str, purpose: str, seed: int) -> Rows:
    """The one permutation of a class's rows for a purpose and a seed.

    Args:
        corpus: the corpus.
        emotion: the class.
        purpose: what the permutation is for.
        seed: number of the draw.
    """
    rows = np.flatnonzero(corpus.emotions == emotion).astype(np.int64)
    return generator(purpose, corpus.spec.code, emotion, seed).permutation(rows)


def _refuse_scarce(corpus: Corpus, classes: Sequence[str], least: int) -> None:
    counts = {emotion: int(np.sum(corpus.emotions == emotion)) for emotion in classes}
    scarce = [f"{emotion} has {count}" for emotion, count in counts.items() if count < least]
    if scarce:
        raise CorpusError(
            f"{corpus.spec.title} ({corpus.spec.code}) in {corpus.root}: {least} labelled "
            f"utterances per class are asked for, but {', '.join(scarce)}; "
            f"{'ask for fewer shots' if min(counts.values()) else 'complete the corpus'}, "
            "or take a pair without the class"
        )
