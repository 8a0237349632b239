"""Where methods fail: by emotion, speaker, gender, length, loudness, and where people fail.

A figure of all pairs is the mean over the pairs that have the group, as in a leaderboard; its
deviation is over the draws that the pairs share. The figure of a group of utterances is its UAR,
so that a group does not look hard because a hard emotion is frequent in it; an emotion that a
group lacks is left out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from scipy.stats import spearmanr

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.board import Cell, LeaderboardTable, Line
from clser_bench.report.resampling import Counts
from clser_bench.report.statistics import RESAMPLES, Interval, crossed_bootstrap
from clser_bench.seeding import generator
from clser_bench.spec import EMOTIONS, Pair
from clser_bench.store.database import Store

GROUPS = {
    "gender": ("male", "female", "other"),
    "length": ("short", "middle", "long"),
    "loudness": ("quiet", "middle", "loud"),
    "human": ("below 80 %", "80 to <90 %", "90 to <100 %", "100 %"),
}
"""Breakdowns by what must be known of the utterances, and their groups in order."""

BY = ("emotion", "confusion", "speaker", *GROUPS)

SHUFFLES = 100
_UNITS = {"length": "s", "loudness": "dBFS"}
_NOUNS = {"human": "human recognition rate"}
_FEWEST = 3  # utterances of a correlation
_GROUP = ["group", "predicted"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of an utterance.

    Attributes:
        gender: of the speaker; empty where unknown.
        length: in seconds; None where unknown, as for the others.
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
        method: its name.
        kind: `ranked`, `bound` or `oracle`.
        pair: None for all.
        values: its figures; none for a hole.
        gaps: differences of groups.
        correlations: with people, over all emotions and within them.
        status: `ok`, or of a hole `failed` or `not_applicable`.
        reason: of a hole.
    """

    method: str
    kind: str
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
    table: LeaderboardTable
    pairs: tuple[Pair, ...]
    groups: tuple[str, ...]
    parts: tuple[Part, ...]
    remarks: tuple[str, ...] = ()


def break_down(
    store: Store,
    table: LeaderboardTable,
    *,
    by: str,
    known: Mapping[str, Mapping[str, Known]] | None = None,
    resamples: int = RESAMPLES,
) -> Breakdown:
    """Break a leaderboard down.

    Args:
        store: the results.
        table: as `leaderboard` made it of them.
        by: one of `BY`.
        known: corpus code to utterance name to what is known; asked for by those in `GROUPS`.
            Pairs with another target are left out.
        resamples: of the intervals.

    Raises:
        SpecError: there is no such breakdown, or too little is known for it.
        StoreError: stored predictions or answers are damaged.
    """
    if by not in BY:
        raise SpecError(f"there is no breakdown by '{by}'{did_you_mean(by, BY)}")
    known = known or {}
    pairs = tuple(pair for pair in table.pairs if by not in GROUPS or pair.target in known)
    if not pairs:
        raise SpecError(
            f"{table.title}: the {_NOUNS.get(by, by)} of the utterances is not known in "
            f"{', '.join(sorted({pair.target for pair in table.pairs}))}; it must be read from "
            "the recordings"
        )
    reader = _Reader(store, table, pairs, by, known)
    broken = _Broken(by, pairs, resamples)
    parts: list[Part] = []
    for line in table.lines:
        cells = dict(zip(table.pairs, line.cells, strict=True))
        parts += broken.parts(line, reader.rows(line), cells)
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
    """Predictions as tables: a row for each utterance, pair and draw."""

    def __init__(
        self,
        store: Store,
        table: LeaderboardTable,
        pairs: Sequence[Pair],
        by: str,
        known: Mapping[str, Mapping[str, Known]],
    ) -> None:
        self._store, self._pairs, self._by, self._known = store, frozenset(pairs), by, known
        planned = store.planned([line.slice for line in table.lines])
        self._classes = {trial.pair: trial.classes for trial in planned}
        self._sheets: dict[tuple[str, str], pd.DataFrame] = {}
        self._unknown: dict[str, set[str]] = {}
        targets = dict.fromkeys(pair.target for pair in pairs)
        cuts = {code: _cut(by, known[code]) for code in targets} if by in GROUPS else {}
        self._labels = {code: labels for code, (labels, _) in cuts.items()}
        self._told = [f"{code}: {text}" for code, (_, text) in cuts.items() if text]

    @property
    def remarks(self) -> tuple[str, ...]:
        """How utterances were grouped, and how many could not be."""
        what = _NOUNS.get(self._by, self._by)
        left = (
            f"{code}: left out, of unknown {what}: {len(names)} utterances"
            for code, names in sorted(self._unknown.items())
            if names
        )
        return (*self._told, *left)

    def rows(self, line: Line) -> pd.DataFrame:
        """Columns pair, target, seed, name, speaker, true, predicted, right, group, human."""
        rows = [_EMPTY]
        for item in self._store.predicted([line.slice]):
            if item.pair in self._pairs:
                names = np.array(self._classes[item.pair], dtype=object)
                sheet = self._sheet(item.answers, item.pair)
                guess = names[item.classes]
                # a sheet that leaves utterances out still has their numbers
                made = sheet.assign(predicted=guess[sheet.index], seed=item.seed)
                rows.append(made.assign(pair=str(item.pair), right=made.true == made.predicted))
        found = pd.concat(rows[1:] or rows, ignore_index=True)
        return found if self._by == "confusion" else found.assign(predicted="")

    def _sheet(self, key: str, pair: Pair) -> pd.DataFrame:
        """What an answer key and the recordings tell, without the utterances of no group."""
        classes = self._classes[pair]
        place = key, str(pair)
        if place not in self._sheets:
            answers = self._store.answers(key, classes)
            true = np.array(classes, dtype=object)[answers.y]
            sheet = pd.DataFrame({"name": answers.names, "speaker": answers.speakers, "true": true})
            groups = np.array(self._grouped(sheet, pair.target), dtype=object)
            sheet = sheet.assign(target=pair.target, group=groups)
            known = self._known.get(pair.target, {})
            if self._by == "human":
                rates = [known[name].human if name in known else None for name in sheet.name]
                sheet = sheet.assign(human=pd.Series(rates, dtype=np.float64))
            self._sheets[place] = sheet[sheet.group.notna()]
            self._check(sheet, pair.target)
        return self._sheets[place]

    def _grouped(self, sheet: pd.DataFrame, target: str) -> Sequence[str | None]:
        if self._by in ("emotion", "confusion"):
            return list(sheet.true)
        if self._by == "speaker":
            return [f"{target} {speaker}" for speaker in sheet.speaker]
        return [self._labels[target].get(name) for name in sheet.name]

    def _check(self, sheet: pd.DataFrame, target: str) -> None:
        lost = sheet.name[sheet.group.isna()]
        self._unknown.setdefault(target, set()).update(lost)
        if len(lost) == len(sheet):
            raise SpecError(
                f"{target}: the {_NOUNS.get(self._by, self._by)} of none of {len(sheet)} scored "
                f"utterances (such as '{sheet.name.iloc[0]}') is known; the recordings that were "
                "read must be the copy of the corpus that the results were made of"
            )


_EMPTY = pd.DataFrame(
    columns=["name", "speaker", "true", "target", "group", "predicted", "seed", "pair", "right"]
)


def _cut(by: str, known: Mapping[str, Known]) -> tuple[dict[str, str], str]:
    """The group of each utterance of a corpus whose group is known, and how they were cut."""
    if by == "gender":
        return {name: item.gender for name, item in known.items() if item.gender}, ""
    found = {name: getattr(item, by) for name, item in known.items()}
    values = {name: float(value) for name, value in found.items() if value is not None}
    if not values:
        return {}, ""
    names = GROUPS[by]
    if by == "human":
        places = np.searchsorted([80.0, 90.0, 100.0], list(values.values()), side="right")
        return {name: names[place] for name, place in zip(values, places, strict=True)}, ""
    low, high = np.quantile(list(values.values()), [1 / 3, 2 / 3]).tolist()
    places = np.searchsorted([low, high], list(values.values()), side="left")
    text = f"{names[0]} ≤ {low:.2f} {_UNITS[by]} < middle ≤ {high:.2f} {_UNITS[by]} < {names[2]}"
    return {name: names[place] for name, place in zip(values, places, strict=True)}, text


@dataclass(frozen=True)
class _Broken:
    """Makes the parts of a method."""

    by: str
    pairs: tuple[Pair, ...]
    resamples: int

    def parts(self, line: Line, rows: pd.DataFrame, cells: Mapping[Pair, Cell]) -> Iterator[Part]:
        """Parts of its pairs, then of all."""
        scores = _scores(rows, self.by)
        holes = [pair for pair in self.pairs if cells[pair].mean is None]
        for pair in self.pairs:
            if pair in holes:
                cell = cells[pair]
                yield Part(
                    method=line.method,
                    kind=line.kind,
                    pair=pair,
                    status=cell.status,
                    reason=cell.reason,
                )
            else:
                of_pair = scores[scores.index.get_level_values("pair") == str(pair)]
                yield self._part(line, pair, rows[rows.pair == str(pair)], of_pair)
        if holes:
            statuses = {cells[pair].status for pair in holes}
            yield Part(
                method=line.method,
                kind=line.kind,
                pair=None,
                status="failed" if "failed" in statuses else "not_applicable",
                reason=f"no result for {len(holes)} of {len(self.pairs)} pairs: "
                f"{', '.join(map(str, holes[:3]))}{', …' if len(holes) > 3 else ''}",
            )
        else:
            yield self._part(line, None, rows, scores)

    def _part(
        self, line: Line, pair: Pair | None, rows: pd.DataFrame, scores: pd.DataFrame
    ) -> Part:
        values = _values(rows, scores)
        return Part(
            method=line.method,
            kind=line.kind,
            pair=pair,
            values=values,
            gaps=tuple(self._gaps(rows, scores, values, whole=pair is None)),
            correlations=_correlations(rows, whole=pair is None) if self.by == "human" else (),
        )

    def _gaps(
        self, rows: pd.DataFrame, scores: pd.DataFrame, values: Sequence[Value], *, whole: bool
    ) -> Iterator[Gap]:
        if self.by == "speaker":
            yield from self._speaker_gaps(rows, scores, values, whole=whole)
        elif self.by in GROUPS:
            found = [name for name in GROUPS[self.by] if (rows.group == name).any()]
            ends = found[:2] if self.by == "gender" else found[:: max(1, len(found) - 1)]
            if len(ends) == 2:
                interval = _interval(rows, ends[0], ends[1], self.resamples) if whole else None
                yield _gap(scores, ends[0], ends[1], of=len(found), interval=interval)

    def _speaker_gaps(
        self, rows: pd.DataFrame, scores: pd.DataFrame, values: Sequence[Value], *, whole: bool
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


def _values(rows: pd.DataFrame, scores: pd.DataFrame) -> tuple[Value, ...]:
    found = _summary(scores)
    counts = rows.groupby(_GROUP).size().to_dict()
    classes = rows.groupby("group").true.nunique().to_dict()
    possible = {"", *rows.true.unique()}
    return tuple(
        Value(
            group=group,
            predicted=predicted,
            mean=float(mean),
            std=_known(std),
            n=int(n),
            count=counts.get((group, predicted), 0),
            classes=classes[group],
        )
        for (group, predicted), mean, std, n in found.itertuples(name=None)
        if predicted in possible
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


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
        std=_known(std),
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


def _correlations(rows: pd.DataFrame, *, whole: bool) -> tuple[Correlation, ...]:
    keys = ["name", "speaker", "true", "human"]
    shares = rows.groupby(["pair", *keys]).right.mean().groupby(keys).mean().reset_index()
    found = []
    for measure in (_rho, _rho_within):
        low, high = _jackknife(measure, shares) if whole else (None, None)
        found.append(
            Correlation(
                rho=measure(shares),
                low=low,
                high=high,
                n=len(shares),
                within=measure is _rho_within,
            )
        )
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
    """Ends of the 95 % interval of a correlation: a speaker at a time is left out."""
    whole = measure(shares)
    speakers = shares.speaker.unique()
    left = [measure(shares[shares.speaker != speaker]) for speaker in speakers]
    defined = [rho for rho in left if rho is not None]
    if whole is None or len(speakers) < 2 or len(defined) < len(left):
        return None, None
    count = len(defined)
    error = np.sqrt((count - 1) * np.var(defined))
    half = float(error * stdtrit(count - 1, 0.975))
    return max(-1.0, whole - half), min(1.0, whole + half)
