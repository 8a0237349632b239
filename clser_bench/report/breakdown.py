"""Where methods fail: by emotion, speaker, gender, length, loudness, and where people fail.

A figure over all pairs is the mean over the pairs that have the group, as in a leaderboard; its
deviation is over the draws that the pairs share. The figure of a group of utterances is its UAR, so
that a group does not look hard because a hard emotion is frequent in it; an emotion that a group
lacks is left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from scipy.stats import spearmanr

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.hashing import generator
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.model import Cell, Leaderboard, Line
from clser_bench.report.statistics import Counts, Interval, spread
from clser_bench.report.table import rows_of
from clser_bench.store.database import Store

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
_NOUNS = {"human": "human recognition rate"}
_GROUP = ["group", "predicted"]
_FEWEST = 3  # utterances of a correlation


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of an utterance; None or empty where unknown.

    Attributes:
        gender: of the speaker.
        length: in seconds.
        loudness: root mean square in dBFS.
        human: percent of listeners who recognised the emotion.
    """

    gender: str = ""
    length: float | None = None
    loudness: float | None = None
    human: float | None = None


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


@dataclass(frozen=True, kw_only=True)
class Part:
    """One method on one pair, or on all pairs.

    Attributes:
        line: the method's row of the leaderboard.
        pair: None for all.
        values: its figures; none where missing.
        gaps: differences of groups.
        correlations: with people, over all emotions and within them.
        status: `ok`, or `failed` or `not_applicable` where missing.
        reason: where missing.
    """

    line: Line
    pair: Pair | None
    values: tuple[Value, ...] = ()
    gaps: tuple[Gap, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A leaderboard, broken down.

    Attributes:
        by: one of `BY`.
        table: the leaderboard.
        pairs: those of its pairs that could be broken down.
        groups: those that occur, in order.
        parts: each method's pairs, then its figures over all of them.
        remarks: how utterances were grouped, and what was left out.
    """

    by: str
    table: Leaderboard
    pairs: tuple[Pair, ...]
    groups: tuple[str, ...]
    parts: tuple[Part, ...]
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
        store: the results.
        frame: of them, as `Store.frame` made it.
        table: as `leaderboard` made it of the frame.
        by: one of `BY`.
        facts: corpus code to utterance name to its facts; needed by those in `GROUPS`. Pairs with
            another target are left out.

    Raises:
        SpecError: there is no such breakdown, or too little is known for it.
        StoreError: stored predictions or answers are damaged.
    """
    if by not in BY:
        raise SpecError(f"there is no breakdown by '{by}'{did_you_mean(by, BY)}")
    facts = facts or {}
    pairs = tuple(pair for pair in table.pairs if by not in GROUPS or pair.target in facts)
    if not pairs:
        targets = ", ".join(sorted({pair.target for pair in table.pairs}))
        raise SpecError(
            f"{table.title}: the {_NOUNS.get(by, by)} of the utterances is not known in {targets}; "
            "it must be read from the recordings"
        )
    reader = _Reader(store, rows_of(frame, table), pairs, by, facts)
    parts: list[Part] = []
    for line in table.lines:
        cells = dict(zip(table.pairs, line.cells, strict=True))
        parts += _parts(line, reader.rows(line.method), cells, pairs, by)
    found = {value.group for part in parts for value in part.values}
    usual = EMOTIONS if by in ("emotion", "confusion") else GROUPS.get(by, ())
    return Breakdown(
        by=by,
        table=table,
        pairs=pairs,
        groups=tuple(group for group in (usual or sorted(found)) if group in found),
        parts=tuple(parts),
        remarks=reader.remarks,
    )


class _Reader:
    """Predictions of methods as rows: an utterance, pair and draw each, with its group."""

    def __init__(
        self,
        store: Store,
        frame: pd.DataFrame,
        pairs: Sequence[Pair],
        by: str,
        facts: Mapping[str, Mapping[str, Facts]],
    ) -> None:
        self._store, self._by, self._facts = store, by, facts
        self._trials = frame[frame.pair.isin([str(pair) for pair in pairs]) & (frame.status == "ok")]
        targets = dict.fromkeys(pair.target for pair in pairs)
        cuts = {code: _cut(by, facts[code]) for code in targets} if by in GROUPS else {}
        self._labels = {code: labels for code, (labels, _) in cuts.items()}
        self._thresholds = [f"{code}: {text}" for code, (_, text) in cuts.items() if text]
        self._unknown: dict[str, set[str]] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """How utterances were grouped, and how many could not be."""
        noun = _NOUNS.get(self._by, self._by)
        left = (
            f"{code}: left out, of unknown {noun}: {len(names)} utterances"
            for code, names in sorted(self._unknown.items())
            if names
        )
        return (*self._thresholds, *left)

    def rows(self, method: str) -> pd.DataFrame:
        """Columns pair, target, seed, name, speaker, true, predicted, right, group, human."""
        trials = self._trials[self._trials.method == method].set_index("trial")
        found = self._store.predictions(list(trials.index))
        found = found.assign(name=found.utterance.astype(str), speaker=found.speaker.astype(str))
        for column in ("pair", "target", "seed"):
            found[column] = found.trial.map(trials[column]).to_numpy()
        names = {trial: np.array(trials.emotions[trial], dtype=object) for trial in trials.index}
        found["true"], found["guess"] = "", ""
        for trial, places in found.groupby("trial", observed=True).indices.items():
            for column, index in (("true", found.y), ("guess", found.predicted)):
                found.iloc[places, found.columns.get_loc(column)] = names[trial][
                    index.to_numpy()[places]
                ]
        found["right"] = found.true == found.guess
        found["predicted"] = found.guess if self._by == "confusion" else ""
        found["group"] = self._grouped(found)
        if self._by == "human":
            rates = zip(found.target, found.name, strict=True)
            found["human"] = [self._facts[code][name].human if name in self._facts[code] else None
                              for code, name in rates]
        self._check(found)
        return found[found.group.notna()]

    def _grouped(self, rows: pd.DataFrame) -> pd.Series[str]:
        if self._by in ("emotion", "confusion"):
            return rows.true
        if self._by == "speaker":
            return rows.target.astype(str) + " " + rows.speaker
        found = [
            self._labels[code].get(name) for code, name in zip(rows.target, rows.name, strict=True)
        ]
        return pd.Series(found, index=rows.index, dtype=object)

    def _check(self, rows: pd.DataFrame) -> None:
        for code, of_target in rows.groupby("target"):
            lost = of_target.name[of_target.group.isna()]
            self._unknown.setdefault(str(code), set()).update(lost)
            if len(lost) == len(of_target):
                raise SpecError(
                    f"{code}: the {_NOUNS.get(self._by, self._by)} of none of the scored "
                    f"utterances (such as '{of_target.name.iloc[0]}') is known; the recordings "
                    "that were read must be the copy of the corpus that the results were made of"
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


def _parts(
    line: Line, rows: pd.DataFrame, cells: Mapping[Pair, Cell], pairs: Sequence[Pair], by: str
) -> Iterator[Part]:
    """Parts of a method's pairs, then of all."""
    scores = _scores(rows, by)
    missing = [pair for pair in pairs if cells[pair].mean is None]
    for pair in pairs:
        if pair in missing:
            yield Part(line=line, pair=pair, status=cells[pair].status, reason=cells[pair].reason)
        else:
            own = scores[scores.index.get_level_values("pair") == str(pair)]
            yield _part(line, pair, rows[rows.pair == str(pair)], own, by)
    if missing:
        statuses = {cells[pair].status for pair in missing}
        yield Part(
            line=line,
            pair=None,
            status="failed" if "failed" in statuses else "not_applicable",
            reason=f"no result for {len(missing)} of {len(pairs)} pairs: "
            f"{', '.join(map(str, missing[:3]))}{', …' if len(missing) > 3 else ''}",
        )
    else:
        yield _part(line, None, rows, scores, by)


def _part(
    line: Line, pair: Pair | None, rows: pd.DataFrame, scores: pd.DataFrame, by: str
) -> Part:
    values, whole = _values(rows, scores), pair is None
    return Part(
        line=line,
        pair=pair,
        values=values,
        gaps=tuple(_gaps(rows, scores, values, by=by, whole=whole)),
        correlations=_correlations(rows, whole=whole) if by == "human" else (),
    )


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
    return pd.DataFrame(
        {
            "mean": scores.mean(axis=1).groupby(level=_GROUP).mean(),
            "std": by_draw.std(axis=1, ddof=1),
            "n": int(drawn.sum()),
        }
    )


def _values(rows: pd.DataFrame, scores: pd.DataFrame) -> tuple[Value, ...]:
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


def _gaps(
    rows: pd.DataFrame, scores: pd.DataFrame, values: Sequence[Value], *, by: str, whole: bool
) -> Iterator[Gap]:
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


def _correlations(rows: pd.DataFrame, *, whole: bool) -> tuple[Correlation, ...]:
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
    return float(spearmanr(human, right).statistic)


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
