"""Labelled utterances that are kept back, to see how well a method does on what it was not told.

Each class gives up a fifth of its labels, so that a method is trained on the others and scored on
these: the only labels that unsupervised model selection may look at are those of the source.
"""

from __future__ import annotations

import numpy as np

from clser_bench.seeding import generator
from clser_bench.trial import Labelled

SHARE = 5
"""One label in so many is kept back."""

LEAST_SHOTS = 10
"""Below this a class would be judged by one utterance: `source-risk` and the like do not apply."""


def hold_out(labelled: Labelled, *, source: str, seed: int) -> tuple[Labelled, Labelled]:
    """Part labelled utterances into those to train on and those kept back.

    Args:
        labelled: of a draw.
        source: the source's code.
        seed: number of the draw.

    Returns:
        The rest, in its order; and a fifth of each class, rounded down but at least one of two.
    """
    kept = np.zeros(len(labelled.y), dtype=bool)
    for label in np.unique(labelled.y):
        members = np.flatnonzero(labelled.y == label)
        count = max(len(members) // SHARE, int(len(members) > 1))
        order = generator("held out", source, int(label), seed).permutation(members)
        kept[order[:count]] = True
    return (
        Labelled(labelled.rows[~kept], labelled.y[~kept]),
        Labelled(labelled.rows[kept], labelled.y[kept]),
    )
