"""Where methods fail: by emotion, speaker, gender, length, loudness, and where people fail.

A figure over all pairs is the mean over the pairs that have the group, as in a leaderboard; its
deviation is over the draws that the pairs share. The figure of a group of utterances is its UAR, so
that a group does not look hard because a hard emotion is frequent in it; an emotion that a group
lacks is left out of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.groups import (
    GROUPS,
    Correlation,
    Gap,
    Value,
    correlations_of,
    gaps_of,
    scores_of,
    values_of,
)
from clser_bench.report.model import Cell, Leaderboard, Line
from clser_bench.report.table import rows_of
from clser_bench.store.sqlite import Store

BY = ("emotion", "confusion", "speaker", *GROUPS)
_UNITS = {"length": "s", "loudness": "dBFS"}
_NOUNS = {"human": "human recognition rate"}


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
        self._trials = frame[
            frame.pair.isin([str(pair) for pair in pairs]) & (frame.status == "ok")
        ]
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
        true, guess = (np.empty(len(found), dtype=object) for _ in range(2))
        for trial, places in found.groupby("trial", observed=True).indices.items():
            true[places] = names[trial][found.y.to_numpy()[places]]
            guess[places] = names[trial][found.predicted.to_numpy()[places]]
        found["true"], found["guess"] = true, guess
        found["right"] = found.true == found.guess
        found["predicted"] = found.guess if self._by == "confusion" else ""
        found["group"] = self._grouped(found)
        if self._by == "human":
            rates = zip(found.target, found.name, strict=True)
            found["human"] = [
                self._facts[code][name].human if name in self._facts[code] else None
                for code, name in rates
            ]
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
    scores = scores_of(rows, by)
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


def _part(line: Line, pair: Pair | None, rows: pd.DataFrame, scores: pd.DataFrame, by: str) -> Part:
    values, whole = values_of(rows, scores), pair is None
    return Part(
        line=line,
        pair=pair,
        values=values,
        gaps=tuple(gaps_of(rows, scores, values, by=by, whole=whole)),
        correlations=correlations_of(rows, whole=whole) if by == "human" else (),
    )
