"""Where methods fail: by emotion, speaker, gender, length, loudness, and where people fail.

A figure of all pairs is the mean over the pairs that have the group, as in a leaderboard; its
deviation is over the draws that the pairs share. The figure of a group of utterances is its UAR,
so that a group does not look hard because a hard emotion is frequent in it; an emotion that a
group lacks is left out of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.board import Cell, LeaderboardTable, Line
from clser_bench.report.breakdown_gaps import Gap, gaps_of
from clser_bench.report.breakdown_people import Correlation, correlations_of
from clser_bench.report.breakdown_rows import GROUPS, Known, Reader, noun
from clser_bench.report.breakdown_scores import Value, scores_of, values_of
from clser_bench.report.crossed_statistics import RESAMPLES
from clser_bench.store.sqlite import Store

BY = ("emotion", "confusion", "speaker", *GROUPS)


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
            f"{table.title}: the {noun(by)} of the utterances is not known in "
            f"{', '.join(sorted({pair.target for pair in table.pairs}))}; it must be read from "
            "the recordings"
        )
    reader = Reader(store, table, pairs, by, known)
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


@dataclass(frozen=True)
class _Broken:
    """Makes the parts of a method."""

    by: str
    pairs: tuple[Pair, ...]
    resamples: int

    def parts(self, line: Line, rows: pd.DataFrame, cells: Mapping[Pair, Cell]) -> Iterator[Part]:
        """Parts of its pairs, then of all."""
        scores = scores_of(rows, self.by)
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
        values, whole = values_of(rows, scores), pair is None
        found = gaps_of(rows, scores, values, by=self.by, whole=whole, resamples=self.resamples)
        return Part(
            method=line.method,
            kind=line.kind,
            pair=pair,
            values=values,
            gaps=tuple(found),
            correlations=correlations_of(rows, whole=whole) if self.by == "human" else (),
        )
