"""Differences of groups: their intervals, and what best and worst differ by through chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clser_bench.hashing import generator
from clser_bench.protocol import Pair
from clser_bench.report.breakdown_rows import GROUPS
from clser_bench.report.breakdown_scores import Value, known_or_none, summary
from clser_bench.report.crossed_statistics import Interval, crossed_bootstrap
from clser_bench.report.resampling import Counts

SHUFFLES = 100


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The difference of two groups of a method, in points of UAR.

    Attributes:
        low: the group that is taken away; of speakers the worst.
        high: the group that it is taken away from; of speakers the best. Speakers who lack an
            emotion are not compared.
        mean: the difference.
        std: sample deviation over draws; None for one draw.
        n: draws.
        interval: over resampled speakers and draws; only over all pairs, not of speakers.
        shuffled: the mean gap when utterances are dealt to speakers at random, within each
            emotion: only of speakers, over all pairs.
        of: number of groups that were compared.
    """

    low: str
    high: str
    mean: float
    std: float | None
    n: int
    interval: Interval | None = None
    shuffled: float | None = None
    of: int = 2


def gaps_of(
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    values: Sequence[Value],
    *,
    by: str,
    whole: bool,
    resamples: int,
) -> Iterator[Gap]:
    """The differences of groups of a method that a breakdown tells, if any.

    Args:
        rows: as `Reader.rows`.
        scores: of the rows, as `scores_of`.
        values: of the rows, as `values_of`.
        by: the breakdown.
        whole: whether the rows are of all pairs; only then there are intervals and shuffles.
        resamples: of the interval.
    """
    if by == "speaker":
        yield from _speaker_gaps(rows, scores, values, whole=whole)
    elif by in GROUPS:
        found = [name for name in GROUPS[by] if (rows.group == name).any()]
        ends = found[:2] if by == "gender" else found[:: max(1, len(found) - 1)]
        if len(ends) == 2:
            interval = _interval(rows, ends[0], ends[1], resamples) if whole else None
            yield _gap(scores, ends[0], ends[1], of=len(found), interval=interval)


def _speaker_gaps(
    rows: pd.DataFrame, scores: pd.DataFrame, values: Sequence[Value], *, whole: bool
) -> Iterator[Gap]:
    """One for each target, of speakers who have all emotions: a missing one may be hard."""
    for target in rows.target.unique():
        of_target = rows[rows.target == target]
        names = set(of_target.group.unique())
        every = of_target.true.nunique()
        ordered = sorted(
            (value.mean, value.group)
            for value in values
            if value.group in names and value.classes == every
        )
        if len(ordered) > 1:
            alike = of_target[of_target.group.isin([name for _, name in ordered])]
            shuffled = _shuffled(alike, target) if whole else None
            worst, best = ordered[0][1], ordered[-1][1]
            yield _gap(scores, worst, best, of=len(ordered), shuffled=shuffled)


def _gap(
    scores: pd.DataFrame,
    low: str,
    high: str,
    *,
    of: int,
    interval: Interval | None = None,
    shuffled: float | None = None,
) -> Gap:
    pairs = scores.xs(high, level="group") - scores.xs(low, level="group")
    found = summary(pd.concat({"": pairs.dropna(how="all")}, names=["group"]))
    mean, std, n = found.iloc[0]
    return Gap(
        low=low,
        high=high,
        mean=float(mean),
        std=known_or_none(std),
        n=int(n),
        interval=interval,
        shuffled=shuffled,
        of=of,
    )


def _interval(rows: pd.DataFrame, low: str, high: str, resamples: int) -> Interval:
    """Interval of a difference of groups, as of two methods that have different utterances."""
    speakers = rows.groupby("target").speaker.unique().map(sorted).to_dict()
    counts: dict[str, list[Counts]] = {low: [], high: []}
    for name, of_pair in rows.groupby("pair"):
        pair = Pair.parse(str(name))
        if not {low, high} <= set(of_pair.group.unique()):
            continue
        axes = [speakers[pair.target], sorted(of_pair.true.unique()), sorted(of_pair.seed.unique())]
        shape = tuple(map(len, axes))
        for group, found in counts.items():
            judged = of_pair[of_pair.group == group].groupby(["speaker", "true", "seed"]).right
            cells = judged.agg(["sum", "size"]).reindex(
                pd.MultiIndex.from_product(axes), fill_value=0
            )
            correct, total = (
                cells[column].to_numpy(np.float64).reshape(shape) for column in ("sum", "size")
            )
            seeds = tuple(map(int, axes[2]))
            found.append(
                Counts(
                    pair=pair, seeds=seeds, speakers=tuple(axes[0]), correct=correct, total=total
                )
            )
    return crossed_bootstrap(counts, resamples=resamples).difference(high, low)


def _shuffled(rows: pd.DataFrame, target: str) -> float:
    """The gap of best and worst speaker of a target that is there though all are alike.

    Every utterance keeps its emotion and how often it was recognised from each source, and goes
    to a speaker at random, who keeps the number of his utterances of each emotion.
    """
    shares = rows.groupby(["true", "speaker", "name", "pair"]).right.mean().unstack("pair")
    right = shares.to_numpy(np.float64)
    emotion, speaker = (
        pd.factorize(shares.index.get_level_values(level))[0] for level in ("true", "speaker")
    )
    shape = (speaker.max() + 1, emotion.max() + 1)
    cells = np.eye(shape[0] * shape[1])[speaker * shape[1] + emotion].T
    rng = generator("shuffled speakers", target, SHUFFLES)
    gaps = []
    for _ in range(SHUFFLES):
        # rows lie by emotion, so sorting numbers drawn within each emotion shuffles within it
        dealt = right[np.lexsort((rng.random(len(right)), emotion))]
        scored = cells @ ~np.isnan(dealt)
        recalls = np.ma.masked_invalid(
            np.divide(
                cells @ np.nan_to_num(dealt),
                scored,
                out=np.full(scored.shape, np.nan),
                where=scored > 0,
            )
        )
        uars = recalls.reshape(*shape, -1).mean(axis=1).mean(axis=1)
        gaps.append(float(uars.max() - uars.min()))
    return 100 * float(np.mean(gaps))
