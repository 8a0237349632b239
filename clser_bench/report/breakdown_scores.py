"""Recalls, shares and UARs of groups, from rows of predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clser_bench.protocol import EMOTIONS

_GROUP = ["group", "predicted"]


@dataclass(frozen=True, kw_only=True)
class Value:
    """One figure of a method.

    Attributes:
        group: an emotion, a speaker after the code of the corpus, or a group of utterances.
        predicted: the emotion that was taken for it; empty except in confusions.
        mean: recall or UAR, of a confusion the share of the emotion's utterances; percent.
        std: sample deviation over draws; None for one draw.
        n: draws.
        count: predictions that it is made of, over draws and pairs.
        classes: emotions that occur in the group.
    """

    group: str
    predicted: str = ""
    mean: float
    std: float | None
    n: int
    count: int
    classes: int


def scores_of(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Percent by pair, group and predicted emotion, a column a draw; NaN where a draw has none.

    Args:
        rows: as `Reader.rows`.
        by: the breakdown.
    """
    names = ["pair", *_GROUP]
    if rows.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[], [], []], names=names))
    keys = ["pair", "seed", "group"]
    if by == "confusion":
        emotions = [emotion for emotion in EMOTIONS if (rows.true == emotion).any()]
        counts = rows.groupby([*keys, "predicted"]).size().unstack("predicted")
        counts = counts.reindex(columns=emotions).fillna(0.0)
        found = counts.div(counts.sum(axis=1), axis=0).T.unstack()
    else:
        recalls = rows.groupby([*keys, "predicted", "true"]).right.mean()
        found = recalls.groupby([*keys, "predicted"]).mean()
    wide = pd.DataFrame(100.0 * found.unstack("seed"))
    return wide.set_index(wide.index.set_names(names))


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over the pairs, sample deviation over the draws that all pairs share, and their number.

    Args:
        scores: by pair, group and predicted emotion, a column a draw.

    Returns:
        Columns mean, std (NaN for one draw) and n, by group and predicted emotion.
    """
    drawn = scores.notna().groupby(level="pair").any().all()
    by_draw = scores.loc[:, drawn].groupby(level=_GROUP).mean()
    return pd.DataFrame(
        {
            "mean": scores.mean(axis=1).groupby(level=_GROUP).mean(),
            "std": by_draw.std(axis=1, ddof=1),
            "n": int(drawn.sum()),
        }
    )


def values_of(rows: pd.DataFrame, scores: pd.DataFrame) -> tuple[Value, ...]:
    """The figure of each group.

    Args:
        rows: as `Reader.rows`.
        scores: of the rows, as `scores_of`.
    """
    found = summary(scores)
    counts = rows.groupby(_GROUP).size().to_dict()
    classes = rows.groupby("group").true.nunique().to_dict()
    possible = {"", *rows.true.unique()}
    return tuple(
        Value(
            group=group,
            predicted=predicted,
            mean=float(mean),
            std=known_or_none(std),
            n=int(n),
            count=counts.get((group, predicted), 0),
            classes=classes[group],
        )
        for (group, predicted), mean, std, n in found.itertuples(name=None)
        if predicted in possible
    )


def known_or_none(value: float) -> float | None:
    """A figure, None where it is NaN.

    Args:
        value: the figure.
    """
    return None if np.isnan(value) else float(value)
