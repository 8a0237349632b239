"""Where methods fail: by emotion, speaker, gender, length, loudness, and where people fail.

A figure over all pairs is the mean over the pairs that have the group, as in a leaderboard; its
deviation is over the draws that the pairs share. The figure of a group of utterances is its UAR, so
that a group does not look hard because a hard emotion is frequent in it; an emotion that a group
lacks is left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy  # `scipy.stats` loads when used, in a second
from scipy.special import stdtrit

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.hashing import generator
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.statistics import Counts, Interval, spread
from clser_bench.report.table import Leaderboard, Line, holes, rows_of
from clser_bench.store.sqlite import Store

GROUPS = {
    "gender": ("male", "female", "other"),
    "length": ("short", "middle", "long"),
    "loudness": ("quiet", "middle", "loud"),
    "human": ("below 80 %", "80 to <90 %", "90 to <100 %", "100 %"),
}
"""Breakdowns by facts of the utterances, and their groups in order."""

BY = ("emotion", "confusion", "speaker", *GROUPS)
SHUFFLES = 100

_UNITS = {"length": "s", "loudness": "dBFS"}
_KINDS = {"emotion": "recall", "confusion": "share"}
_GROUP = ["group", "predicted"]
_FEWEST = 3  # utterances of a correlation


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of an utterance; None or empty where unknown."""

    gender: str = ""  # of the speaker
    length: float | None = None  # in seconds
    loudness: float | None = None  # root mean square in dBFS
    human: float | None = None  # percent of listeners who recognised the emotion


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a method on a pair, or on all pairs; `None` where something does not apply.

    Its kind is `recall`, `uar` or, of a confusion, `share` of the emotion's utterances, in percent;
    `gap` of two groups, in points of UAR; `rho`, Spearman's correlation of people's rate and the
    share of draws in which the method is right; or `rho_within`, the same within each emotion,
    averaged by number of utterances.
    """

    line: Line  # the method's row of the leaderboard
    pair: Pair | None  # None for all
    kind: str
    # an emotion, a speaker after the code of the corpus, a group of utterances; of a gap both
    group: str | None = None
    predicted: str | None = None  # of a confusion, the emotion that was predicted
    mean: float | None = None  # None where missing, and of a correlation where nothing varies
    std: float | None = None  # sample deviation over draws
    n: int | None = None  # draws
    count: int | None = None  # predictions over draws and pairs; of correlations utterances
    classes: int | None = None  # emotions that occur in the group
    # of a gap, the group that is subtracted and the other: of speakers the worst and the best of
    # those who have all emotions
    ends: tuple[str, str] = ("", "")
    of: int = 0  # of a gap, number of groups that were compared
    # 95 % interval, only over all pairs: of gaps (but of speakers) over speakers and draws, of
    # correlations by the jackknife over speakers
    low: float | None = None
    high: float | None = None
    # of a gap of speakers over all pairs, the mean gap when utterances are assigned to speakers at
    # random, within each emotion
    shuffled: float | None = None
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A leaderboard, broken down."""

    by: str
    table: Leaderboard
    pairs: tuple[Pair, ...]  # those of its pairs that could be broken down
    groups: tuple[str, ...]  # those that occur, in order
    figures: tuple[Figure, ...]  # of each method on each pair, then over all of them
    remarks: tuple[str, ...] = ()


def break_down(
    store: Store,
    frame: pd.DataFrame,
    table: Leaderboard,
    *,
    by: str,
    facts: Mapping[str, Mapping[str, Facts]] | None = None,
) -> Breakdown:
    """Break a leaderboard down.

    Args:
        facts: corpus code to utterance name to its facts; needed by those in `GROUPS`. Pairs with
            another target are left out.

    Raises:
        SpecError: there is no such breakdown, or too little is known for it.
        StoreError: stored predictions or answers are damaged.
    """
    if by not in BY:
        raise SpecError(f"there is no breakdown by '{by}'{did_you_mean(by, BY)}")
    facts, noun = facts or {}, "human recognition rate" if by == "human" else by
    pairs = tuple(pair for pair in table.pairs if by not in GROUPS or pair.target in facts)
    if not pairs:
        codes = ", ".join(sorted({pair.target for pair in table.pairs}))
        raise SpecError(
            f"{table.title}: the {noun} of the utterances is not known in {codes}; it must be "
            "read from the recordings"
        )
    trials = rows_of(frame, table)
    trials = trials[trials.pair.isin(list(map(str, pairs))) & (trials.status == "ok")]
    targets = dict.fromkeys(pair.target for pair in pairs)
    cuts = {code: _cut(by, facts[code]) for code in targets} if by in GROUPS else {}
    unknown: dict[str, set[str]] = {code: set() for code in sorted(targets)}
    figures: list[Figure] = []
    for line in table.lines:
        rows = _judged(store, trials[trials.method == line.method], by)
        if by in GROUPS:
            places = list(zip(rows.target, rows.name, strict=True))
            rows["group"] = pd.Series([cuts[c][0].get(name) for c, name in places], dtype=object)
            rows["human"] = [facts[code].get(name, Facts()).human for code, name in places]
        for code, of_target in rows.groupby("target"):
            lost = of_target.name[of_target.group.isna()]
            unknown[str(code)].update(lost)
            if len(lost) == len(of_target):
                raise SpecError(
                    f"{code}: the {noun} of none of the scored utterances (such as "
                    f"'{of_target.name.iloc[0]}') is known; the recordings that were read must "
                    "be the copy of the corpus that the results were made of"
                )
        figures += _figures(line, rows[rows.group.notna()], table, pairs, by)
    found = {figure.group for figure in figures if figure.classes}
    usual = EMOTIONS if by in _KINDS else GROUPS.get(by) or sorted(filter(None, found))
    remarks = [f"{code}: {text}" for code, (_, text) in cuts.items() if text]
    for code, names in unknown.items():
        if names:
            remarks.append(f"{code}: left out, of unknown {noun}: {len(names)} utterances")
    return Breakdown(
        by=by,
        table=table,
        pairs=pairs,
        groups=tuple(group for group in usual if group in found),
        figures=tuple(figures),
        remarks=tuple(remarks),
    )


def _cut(by: str, facts: Mapping[str, Facts]) -> tuple[dict[str, str], str]:
    """The group of each utterance of a corpus whose group is known, and how they were cut."""
    if by == "gender":
        return {name: item.gender for name, item in facts.items() if item.gender}, ""
    found = {name: getattr(item, by) for name, item in facts.items()}
    values = {name: float(value) for name, value in found.items() if value is not None}
    if not values:
        return {}, ""
    names, text = GROUPS[by], ""
    if by == "human":
        places = np.searchsorted([80.0, 90.0, 100.0], list(values.values()), side="right")
    else:
        low, high = np.quantile(list(values.values()), [1 / 3, 2 / 3]).tolist()
        places = np.searchsorted([low, high], list(values.values()), side="left")
        unit = _UNITS[by]
        text = f"{names[0]} ≤ {low:.2f} {unit} < middle ≤ {high:.2f} {unit} < {names[2]}"
    return {name: names[place] for name, place in zip(values, places, strict=True)}, text


def _judged(store: Store, trials: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row for each utterance, pair and draw, with its group where that needs no facts."""
    trials = trials.set_index("trial")
    found = store.predictions(list(trials.index))
    own = trials.reindex(found.trial.cat.categories)
    # as wide for every pair, however many emotions it has
    wide = [[*names, *EMOTIONS][: len(EMOTIONS)] for names in own.emotions]
    emotions = np.array(wide, dtype=object).reshape(-1, len(EMOTIONS))
    codes = found.trial.cat.codes.to_numpy()
    rows = pd.DataFrame({n: own[n].to_numpy()[codes] for n in ("pair", "target", "seed")})
    rows["name"], rows["speaker"] = found.utterance.astype(str), found.speaker.astype(str)
    rows["true"], predicted = emotions[codes, found.y], emotions[codes, found.predicted]
    rows["right"] = rows.true == predicted
    rows["predicted"] = predicted if by == "confusion" else ""
    rows["group"] = rows.target + " " + rows.speaker if by == "speaker" else rows.true
    return rows


def _figures(
    line: Line, rows: pd.DataFrame, table: Leaderboard, pairs: tuple[Pair, ...], by: str
) -> Iterator[Figure]:
    scores = _scores(rows, by)
    cells = dict(zip(table.pairs, line.cells, strict=True))
    for pair in (*pairs, None):
        of_pair = (pair,) if pair else pairs
        if missing := holes(of_pair, [cells[one] for one in of_pair]):
            status, reason = (cells[pair].status, cells[pair].reason) if pair else missing
            kind = _KINDS.get(by, "uar")
            yield Figure(line=line, pair=pair, kind=kind, status=status, reason=reason)
            continue
        names = list(map(str, of_pair))
        own = rows[rows.pair.isin(names)]
        of_own = scores[scores.index.get_level_values("pair").isin(names)]
        drawn = table.condition.drawn
        for values in _values(own, of_own, by, drawn=drawn, whole=pair is None):
            yield Figure(line=line, pair=pair, **values)


def _scores(rows: pd.DataFrame, by: str) -> pd.DataFrame:
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
    std = by_draw.std(axis=1, ddof=1).astype(object)
    return pd.DataFrame(
        {
            "mean": scores.mean(axis=1).groupby(level=_GROUP).mean(),
            "std": std.where(std.notna(), None),
            "n": int(drawn.sum()),
        }
    )


def _values(
    rows: pd.DataFrame, scores: pd.DataFrame, by: str, *, drawn: Collection[str], whole: bool
) -> Iterator[dict[str, Any]]:
    """Fields of figures: of each group, of gaps, of correlations; rows of all pairs or of one."""
    counts = rows.groupby(_GROUP).size().to_dict()
    classes = rows.groupby("group").true.nunique().to_dict()
    possible = {"", *rows.true.unique()}
    uars: dict[str, float] = {}
    for (group, predicted), mean, std, n in _summary(scores).itertuples(name=None):
        if predicted in possible:
            uars[group] = mean
            yield {
                "kind": _KINDS.get(by, "uar"),
                "group": group,
                "predicted": predicted or None,
                "mean": mean,
                "std": std,
                "n": n,
                "count": counts.get((group, predicted), 0),
                "classes": classes[group],
            }
    if by == "speaker":
        # those who have all emotions of the target: a missing one may be hard
        for target, of_target in rows.groupby("target", sort=False):
            every = of_target.true.nunique()
            ordered = sorted(
                (uars[name], name) for name in of_target.group.unique() if classes[name] == every
            )
            if len(names := [name for _, name in ordered]) > 1:
                alike = of_target[of_target.group.isin(names)]
                gap = _gap(scores, (names[0], names[-1]), of=len(names))
                yield gap | {"shuffled": _shuffled(alike, str(target)) if whole else None}
    elif by in GROUPS:
        found = [name for name in GROUPS[by] if name in uars]
        ends = found[:2] if by == "gender" else found[:: max(1, len(found) - 1)]
        if len(ends) == 2:
            interval = _interval(rows, *ends, drawn=drawn) if whole else Interval(estimate=0)
            gap = _gap(scores, (ends[0], ends[1]), of=len(found))
            yield gap | {"low": interval.low, "high": interval.high}
    if by == "human":
        keys = ["name", "speaker", "true", "human"]
        shares = rows.groupby(["pair", *keys]).right.mean().groupby(keys).mean().reset_index()
        for kind, measure in (("rho", _rho), ("rho_within", _rho_within)):
            low, high = _jackknife(measure, shares) if whole else (None, None)
            rho = {"mean": measure(shares), "count": len(shares)}
            yield {"kind": kind, **rho, "low": low, "high": high}


def _gap(scores: pd.DataFrame, ends: tuple[str, str], *, of: int) -> dict[str, Any]:
    low, high = ends
    pairs = scores.xs(high, level="group") - scores.xs(low, level="group")
    found = _summary(pd.concat({"": pairs.dropna(how="all")}, names=["group"]))
    mean, std, n = found.iloc[0]
    values = {"mean": float(mean), "std": std, "n": int(n)}
    return {"kind": "gap", "group": f"{high} − {low}", "ends": ends, "of": of, **values}


def _interval(rows: pd.DataFrame, low: str, high: str, *, drawn: Collection[str]) -> Interval:
    """Interval of a difference of groups, as of two methods that have different utterances."""
    speakers = rows.groupby("target").speaker.unique().map(sorted).to_dict()
    counts: dict[str, list[Counts]] = {low: [], high: []}
    for name, of_pair in rows.groupby("pair"):
        if not {low, high} <= set(of_pair.group):
            continue
        pair = Pair.parse(str(name))
        axes = [speakers[pair.target], sorted(of_pair.true.unique()), sorted(of_pair.seed.unique())]
        cells, shape = pd.MultiIndex.from_product(axes), tuple(map(len, axes))
        for group, found in counts.items():
            right = of_pair[of_pair.group == group].groupby(["speaker", "true", "seed"]).right
            correct, total = (
                np.asarray(part.reindex(cells, fill_value=0), np.float64).reshape(shape)
                for part in (right.sum(), right.size())
            )
            found.append(Counts(pair, tuple(map(int, axes[2])), tuple(axes[0]), correct, total))
    return spread(counts, drawn=drawn).difference(high, low)


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


def _rho(shares: pd.DataFrame) -> float | None:
    human, right = shares[["human", "right"]].to_numpy(np.float64).T
    if len(human) < _FEWEST or not np.ptp(human) or not np.ptp(right):
        return None
    return float(scipy.stats.spearmanr(human, right).statistic)


def _rho_within(shares: pd.DataFrame) -> float | None:
    """Mean over the emotions in which it is defined, by number of utterances."""
    found = [(_rho(of_emotion), len(of_emotion)) for _, of_emotion in shares.groupby("true")]
    defined = [(rho, size) for rho, size in found if rho is not None]
    whole = sum(size for _, size in defined)
    return sum(rho * size for rho, size in defined) / whole if whole else None


def _jackknife(
    measure: Callable[[pd.DataFrame], float | None], shares: pd.DataFrame
) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of a correlation: one speaker at a time is left out."""
    whole = measure(shares)
    left = [measure(shares[shares.speaker != one]) for one in shares.speaker.unique()]
    defined = [rho for rho in left if rho is not None]
    if whole is None or len(left) < 2 or len(defined) < len(left):
        return None, None
    free = len(left) - 1
    half = float(np.sqrt(free * np.var(defined)) * stdtrit(free, 0.975))
    return max(-1.0, whole - half), min(1.0, whole + half)
