"""Predictions as rows, and the groups that utterances are cut into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clser_bench.errors import SpecError
from clser_bench.protocol import Pair
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.store.sqlite import Store

GROUPS = {
    "gender": ("male", "female", "other"),
    "length": ("short", "middle", "long"),
    "loudness": ("quiet", "middle", "loud"),
    "human": ("below 80 %", "80 to <90 %", "90 to <100 %", "100 %"),
}
"""Breakdowns by what must be known of the utterances, and their groups in order."""

_UNITS = {"length": "s", "loudness": "dBFS"}
_NOUNS = {"human": "human recognition rate"}
_EMPTY = pd.DataFrame(
    columns=["name", "speaker", "true", "target", "group", "predicted", "seed", "pair", "right"]
)


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


def noun(by: str) -> str:
    """What a breakdown is by, in words.

    Args:
        by: a breakdown.
    """
    return _NOUNS.get(by, by)


class Reader:
    """Predictions as tables: a row for each utterance, pair and draw.

    Args:
        store: the results.
        table: as `leaderboard` made it of them.
        pairs: those of its pairs that are read.
        by: what utterances are grouped by.
        known: corpus code to utterance name to what is known.
    """

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
        what = noun(self._by)
        left = (
            f"{code}: left out, of unknown {what}: {len(names)} utterances"
            for code, names in sorted(self._unknown.items())
            if names
        )
        return (*self._told, *left)

    def rows(self, line: Line) -> pd.DataFrame:
        """Columns pair, target, seed, name, speaker, true, predicted, right, group, human.

        Args:
            line: the method.

        Raises:
            SpecError: nothing is known of a target's utterances.
            StoreError: stored predictions or answers are damaged.
        """
        rows = [_EMPTY]
        for item in self._store.predicted_of([line.slice]):
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
                f"{target}: the {noun(self._by)} of none of {len(sheet)} scored "
                f"utterances (such as '{sheet.name.iloc[0]}') is known; the recordings that were "
                "read must be the copy of the corpus that the results were made of"
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
