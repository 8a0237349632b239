"""Figures of groups of utterances: recalls and UARs, differences, correlations with people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # `scipy.stats` loads when used, in a second
from scipy.special import stdtrit

from clser_bench.hashing import generator
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.statistics import Counts, Interval, spread

GROUPS = {
    "gender": ("male", "female", "other"),
    "length": ("short", "middle", "long"),
    "loudness": ("quiet", "middle", "loud"),
    "human": ("below 80 %", "80 to <90 %", "90 to <100 %", "100 %"),
}
"""Breakdowns by facts of the utterances, and their groups in order."""

SHUFFLES = 100

_GROUP = ["group", "predicted"]
_FEWEST = 3  # utterances of a correlation


@dataclass(frozen=True, kw_only=True)
class Value:
    """One figure of a method.

    Attributes:
        group: an emotion, a speaker after the code of the corpus, or a group of utterances.
        predicted: the emotion that was predicted; empty except in confusions.
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


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The difference of two groups of a method, in points of UAR.

    Attributes:
        low: the group that is subtracted; of speakers the worst.
        high: the group that it is subtracted from; of speakers the best. Speakers who lack an
            emotion are not compared.
        mean: the difference.
        std: sample deviation over draws; None for one draw.
        n: draws.
        interval: over speakers and draws; only over all pairs, not of speakers.
        shuffled: mean gap when utterances are assigned to speakers at random, within each
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


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's correlation of people's rate and the share of draws in which a method is right.

    Attributes:
        rho: None where one of the two does not vary.
        low: lower end of a 95 % interval by the jackknife over speakers; None on single pairs.
        high: upper end.
        n: utterances.
        within: whether it is within each emotion, averaged by number of utterances.
    """

    rho: float | None
    low: float | None
    high: float | None
    n: int
    within: bool


def scores_of(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Percent by pair, group and predicted emotion, a column a draw; NaN where a draw has none."""
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


def _summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over pairs, sample deviation over the draws that all pairs share, and their number."""
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
    """The figure of each group, from its rows and their `scores_of`."""
    counts = rows.groupby(_GROUP).size().to_dict()
    classes = rows.groupby("group").true.nunique().to_dict()
    possible = {"", *rows.true.unique()}
    return tuple(
        Value(
            group=group,
            predicted=predicted,
            mean=float(mean),
            std=_or_none(std),
            n=int(n),
            count=counts.get((group, predicted), 0),
            classes=classes[group],
        )
        for (group, predicted), mean, std, n in _summary(scores).itertuples(name=None)
        if predicted in possible
    )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def gaps_of(
    rows: pd.DataFrame, scores: pd.DataFrame, values: Sequence[Value], *, by: str, whole: bool
) -> Iterator[Gap]:
    """Differences of groups; intervals and shuffles only where the rows are of all pairs."""
    if by == "speaker":
        yield from _speaker_gaps(rows, scores, values, whole=whole)
    elif by in GROUPS:
        found = [name for name in GROUPS[by] if (rows.group == name).any()]
        ends = found[:2] if by == "gender" else found[:: max(1, len(found) - 1)]
        if len(ends) == 2:
            interval = _interval(rows, ends[0], ends[1]) if whole else None
            yield _gap(scores, ends[0], ends[1], of=len(found), interval=interval)


def _speaker_gaps(
    rows: pd.DataFrame, scores: pd.DataFrame, values: Sequence[Value], *, whole: bool
) -> Iterator[Gap]:
    """One for each target, of speakers who have all emotions: a missing one may be hard."""
    for target in rows.target.unique():
        of_target = rows[rows.target == target]
        names, every = set(of_target.group.unique()), of_target.true.nunique()
        ordered = sorted(
            (value.mean, value.group)
            for value in values
            if value.group in names and value.classes == every
        )
        if len(ordered) > 1:
            alike = of_target[of_target.group.isin([name for _, name in ordered])]
            shuffled = _shuffled(alike, target) if whole else None
            ends = ordered[0][1], ordered[-1][1]
            yield _gap(scores, *ends, of=len(ordered), shuffled=shuffled)


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
    found = _summary(pd.concat({"": pairs.dropna(how="all")}, names=["group"]))
    mean, std, n = found.iloc[0]
    return Gap(
        low=low,
        high=high,
        mean=float(mean),
        std=_or_none(std),
        n=int(n),
        interval=interval,
        shuffled=shuffled,
        of=of,
    )


def _interval(rows: pd.DataFrame, low: str, high: str) -> Interval:
    """Interval of a difference of groups, as of two methods that have different utterances."""
    speakers = rows.groupby("target").speaker.unique().map(sorted).to_dict()
    counts: dict[str, list[Counts]] = {low: [], high: []}
    for name, of_pair in rows.groupby("pair"):
        pair = Pair.parse(str(name))
        if not {low, high} <= set(of_pair.group.unique()):
            continue
        axes = [speakers[pair.target], sorted(of_pair.true.unique()), sorted(of_pair.seed.unique())]
        for group, found in counts.items():
            judged = of_pair[of_pair.group == group].groupby(["speaker", "true", "seed"]).right
            cells = judged.agg(["sum", "size"])
            cells = cells.reindex(pd.MultiIndex.from_product(axes), fill_value=0)
            correct, total = (
                cells[column].to_numpy(np.float64).reshape(tuple(map(len, axes)))
                for column in ("sum", "size")
            )
            found.append(
                Counts(
                    pair=pair,
                    seeds=tuple(map(int, axes[2])),
                    speakers=tuple(axes[0]),
                    correct=correct,
                    total=total,
                )
            )
    return spread(counts).difference(high, low)


def _shuffled(rows: pd.DataFrame, target: str) -> float:
    """Expected gap of best and worst speaker of a target if all speakers were alike.

    Every utterance keeps its emotion and how often it was recognised from each source, and goes
    to a speaker at random, who keeps his number of utterances of each emotion.
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
        missing = np.full(scored.shape, np.nan)
        recalls = np.divide(cells @ np.nan_to_num(dealt), scored, out=missing, where=scored > 0)
        uars = np.ma.masked_invalid(recalls).reshape(*shape, -1).mean(axis=1).mean(axis=1)
        gaps.append(float(uars.max() - uars.min()))
    return 100 * float(np.mean(gaps))


def correlations_of(rows: pd.DataFrame, *, whole: bool) -> tuple[Correlation, ...]:
    """Correlations with people over all emotions and within them; intervals over all pairs only."""
    keys = ["name", "speaker", "true", "human"]
    shares = rows.groupby(["pair", *keys]).right.mean().groupby(keys).mean().reset_index()
    found = []
    for measure in (_rho, _rho_within):
        low, high = _jackknife(measure, shares) if whole else (None, None)
        within = measure is _rho_within
        rho = measure(shares)
        found.append(Correlation(rho=rho, low=low, high=high, n=len(shares), within=within))
    return tuple(found)


def _rho(shares: pd.DataFrame) -> float | None:
    human, right = shares.human.to_numpy(np.float64), shares.right.to_numpy(np.float64)
    if len(human) < _FEWEST or not np.ptp(human) or not np.ptp(right):
        return None
    return float(scipy.stats.spearmanr(human, right).statistic)


def _rho_within(shares: pd.DataFrame) -> float | None:
    """Mean over the emotions in which it is defined, by number of utterances."""
    found = [(_rho(of_emotion), len(of_emotion)) for _, of_emotion in shares.groupby("true")]
    defined = [(rho, size) for rho, size in found if rho is not None]
    if not defined:
        return None
    return sum(rho * size for rho, size in defined) / sum(size for _, size in defined)


def _jackknife(
    measure: Callable[[pd.DataFrame], float | None], shares: pd.DataFrame
) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of a correlation: one speaker at a time is left out."""
    whole = measure(shares)
    speakers = shares.speaker.unique()
    left = [measure(shares[shares.speaker != speaker]) for speaker in speakers]
    defined = [rho for rho in left if rho is not None]
    if whole is None or len(speakers) < 2 or len(defined) < len(left):
        return None, None
    count = len(defined)
    half = float(np.sqrt((count - 1) * np.var(defined)) * stdtrit(count - 1, 0.975))
    return max(-1.0, whole - half), min(1.0, whole + half)
