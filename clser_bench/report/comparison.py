"""Methods beside each other: differences, wins by pair of corpora, directions of pairs.

A difference comes with three views on it:

* its simultaneous interval and corrected p value, the same as in a leaderboard;
* d_z, Cohen's effect size of paired samples: the difference over the sample standard deviation
  (n - 1) of the differences on the pairs of corpora. It says how alike an advantage is
  everywhere, not how certain it is: the pairs share corpora;
* wins, ties and losses: pairs of corpora on which the pointwise 95 % interval of that one cell's
  difference excludes zero, and the others. These intervals are corrected for nothing: of methods
  that are alike, one cell in twenty is a win or a loss.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clser_bench.protocol import Pair
from clser_bench.report import formats
from clser_bench.report.formats import MISSING, Row, TextTable, change, ends, rounded
from clser_bench.report.intervals import (
    REFERENCE,
    Evidence,
    evidence_of,
    families,
    mixed_pairs,
    ranked_of,
)
from clser_bench.report.render import (
    condition_line,
    condition_row,
    difference_text,
    interval_text,
    rank_text,
    value_text,
)
from clser_bench.report.statistics import SIGNIFICANT, Counts, Interval, spread
from clser_bench.report.table import Leaderboard, Line, rows_of
from clser_bench.store.sqlite import Store


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The advantage of a method over another."""

    method: str
    other: str
    n: int  # draws that both have; with all labels, draws of the method that has fewer
    # simultaneous, of the difference of the means over the pairs, in points of UAR
    interval: Interval
    effect: float | None  # d_z; None for a single pair, and where all pairs differ by the same
    wins: int  # pairs on which the method is higher and the cell's interval excludes zero
    ties: int  # pairs with neither, and pairs without an interval
    losses: int


@dataclass(frozen=True, kw_only=True)
class Direction:
    """How much easier two corpora are one way than the other: UAR(s→t) - UAR(t→s)."""

    pair: Pair  # s→t
    n: int  # draws that all methods have; with all labels, draws of the method that has fewest
    mean: Interval  # over the methods, pointwise
    methods: tuple[Interval, ...]  # of each method, pointwise, in their order


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Statistics of the ranked methods of a table."""

    table: Leaderboard
    lines: tuple[Line, ...]  # its ranked methods with a result on every pair, in its order
    contrasts: tuple[Contrast, ...]  # every ordered pair of them that shares a draw
    # of every two corpora that make a pair both ways; none where the methods share no draw
    directions: tuple[Direction, ...]
    remarks: tuple[str, ...]  # footnotes, those of the table first


def compare(store: Store, frame: pd.DataFrame, table: Leaderboard) -> Comparison:
    """Compare the ranked methods of a table.

    Simultaneous intervals are those of all ranked methods of the condition, shown or not.

    Args:
        table: made of the frame with intervals.

    Returns:
        The comparison; its parts are empty where no ranked method has a result on every pair.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    every = dataclasses.replace(table, lines=table.every or table.lines)
    rows = rows_of(frame, table)
    evidence = evidence_of(store, every, rows)
    ranked = ranked_of(every, evidence)
    lines = tuple(line for line in table.lines if line.method in ranked)
    alike = not mixed_pairs(rows)
    verdicts = families(evidence, ranked)[1] if alike else {}
    names = [line.method for line in lines]
    contrasts = _contrasts(evidence, names, verdicts, drawn=table.condition.drawn)
    remarks = list(table.remarks)
    holes = [line.title for line in table.lines if line.role == "ranked" and line not in lines]
    if holes:
        remarks.append(f"not compared, since a pair has no result: {', '.join(holes)}")
    missing = (len(lines) * (len(lines) - 1) - len(contrasts)) // 2
    if missing and alike:
        remarks.append(f"{missing} pairs of methods share no draw, so they are not compared")
    return Comparison(
        table=table,
        lines=lines,
        contrasts=tuple(contrasts),
        directions=tuple(_directions(table, {name: evidence.counts[name] for name in names})),
        remarks=tuple(remarks),
    )


def _contrasts(
    evidence: Evidence,
    names: Sequence[str],
    verdicts: Mapping[tuple[str, str], Interval],
    *,
    drawn: Collection[str],
) -> list[Contrast]:
    gains: dict[tuple[str, str], list[Interval]] = {
        pair: [] for pair in verdicts if set(pair) <= set(names)
    }
    for items in zip(*(evidence.counts[name] for name in names), strict=True):
        cells = Evidence({n: [i] for n, i in zip(names, items, strict=True)}, drawn=drawn)
        for pair, gain in cells.differences(list(gains)).items():
            gains[pair].append(gain)
    made: dict[tuple[str, str], Contrast] = {}
    for (one, two), found in gains.items():
        verdict = Counter(gain.verdict for gain in found)
        higher, lower = verdict["better"], verdict["worse"]
        deviation = np.std([i.estimate for i in found], ddof=1) if len(found) > 1 else 0.0
        mean = verdicts[one, two]
        for method, other, interval, wins, losses in (
            (one, two, mean, higher, lower),
            (two, one, mean.mirrored, lower, higher),
        ):
            # differences that are alike everywhere differ by rounding
            effect = interval.estimate / float(deviation) if deviation > 1e-9 else None
            made[method, other] = Contrast(
                method=method,
                other=other,
                n=evidence.draws(method, other),
                interval=interval,
                effect=effect,
                wins=wins,
                ties=len(found) - wins - losses,
                losses=losses,
            )
    return [made[pair] for pair in itertools.permutations(names, 2) if pair in made]


def _directions(table: Leaderboard, counts: Mapping[str, Sequence[Counts]]) -> Iterator[Direction]:
    """Directions on the draws that all methods share, so that their mean is a mean of these."""
    if not counts:
        return
    seeds = [frozenset(item.seeds) for items in counts.values() for item in items]
    shared = sorted(frozenset.intersection(*seeds))
    drawn = table.condition.drawn
    n = len(shared) if drawn else min(map(len, seeds))
    if not n:
        return
    chosen = {m: [i.at(shared) for i in c] for m, c in counts.items()} if drawn else counts
    for there, back in itertools.combinations(range(len(table.pairs)), 2):
        pair, other = table.pairs[there], table.pairs[back]
        if (pair.source, pair.target) == (other.target, other.source):
            both = {name: (items[there], items[back]) for name, items in chosen.items()}
            found = spread(both, weights=(1, -1), drawn=drawn)
            methods = tuple(found.means(list(chosen)))
            yield Direction(pair=pair, n=n, mean=found.average(), methods=methods)


def text_tables(comparison: Comparison) -> list[TextTable]:
    """A comparison as text: the methods; then differences, wins and directions, if any."""
    table, lines = comparison.table, comparison.lines
    about = "compared: ranked methods with a result on every pair; bounds and references are not"
    methods = TextTable(
        title=f"{table.title}: comparison of methods",
        header=(condition_line(table), about, *table.warnings),
        names=("method", "mean", "[95 %]", "rank", "n"),
        cells=tuple(
            (
                *(one.title, value_text(one.mean), interval_text(one.interval)),
                *(rank_text(one), str(one.mean.n)),
            )
            for one in lines
        ),
        below=comparison.remarks,
    )
    made = [methods]
    made += [_differences(comparison), _wins(comparison)] if comparison.contrasts else []
    if found := comparison.directions:
        rows = [(f"mean of {len(lines)}", *(change(item.mean) for item in found))]
        for place, line in enumerate(lines):
            rows.append((line.title, *(change(item.methods[place]) for item in found)))
        conditional = "[95 %]: pointwise, conditional on these corpora and these methods"
        directions = TextTable(
            title="Directions: UAR(s→t) - UAR(t→s)",
            header=(f"{conditional}; n = {min(i.n for i in found)} draws that all methods have.",),
            names=("method", *(f"{i.pair} - {i.pair.target}→{i.pair.source}" for i in found)),
            cells=tuple(rows),
        )
        made.append(directions)
    return made


def _differences(comparison: Comparison) -> TextTable:
    titles = {line.method: line.title for line in comparison.lines}
    order = list(itertools.combinations(titles, 2))
    number = comparison.table.ranked
    about = (
        f"[95 %] and p: simultaneous (max-t) over every two of {number} ranked methods, those with "
        f"{REFERENCE} over {max(number - 1, 0)}; * where p < {SIGNIFICANT}. n: draws."
    )
    effect = (
        "d_z: difference over the sample sd of the differences on the "
        f"{len(comparison.table.pairs)} pairs of corpora; {MISSING} where they are all alike."
    )
    cells = []
    for item in (one for one in comparison.contrasts if (one.method, one.other) in order):
        p = item.interval.p
        shown = MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
        size = MISSING if item.effect is None else f"{item.effect:+.2f}"
        named = titles[item.method], titles[item.other], difference_text(item.interval)
        cells.append((*named, shown, size, str(item.n)))
    return TextTable(
        title="Differences of means over the pairs",
        header=(about, effect),
        names=("method", "over", "difference [95 %]", "p", "d_z", "n"),
        cells=tuple(cells),
    )


def _wins(comparison: Comparison) -> TextTable:
    found = {(c.method, c.other): f"{c.wins}/{c.ties}/{c.losses}" for c in comparison.contrasts}
    names = [line.method for line in comparison.lines]
    about = (
        "Of the row's method over that of the column's number: pairs of corpora on which the "
        "pointwise 95 % interval of the one cell's difference lies above zero, holds it, lies "
        "below."
    )
    uncorrected = (
        "Not corrected for their number: of methods that are alike, one cell in twenty is a win or "
        "a loss."
    )
    return TextTable(
        title="Wins/ties/losses over the pairs of corpora",
        header=(about, uncorrected),
        names=("method", *(str(number) for number in range(1, len(names) + 1))),
        cells=tuple(
            (f"{number} {line.title}", *(found.get((line.method, other), "") for other in names))
            for number, line in enumerate(comparison.lines, start=1)
        ),
    )


def flat_rows(comparison: Comparison) -> Iterator[Row]:
    """A comparison as flat rows, each with its kind in `row`.

    A `method` has its interval of ranks; a `difference` is that of one ordered pair of methods; a
    `direction` is that of one method, or of the mean over all where `method` is null.
    """
    table = condition_row(comparison.table.condition)
    table |= {"synthetic": comparison.table.synthetic}
    for line in comparison.lines:
        low, high = line.ranks or (None, None)
        named = {"method": line.method, "title": line.title, "n": line.mean.n}
        ranks = {"uar_mean": rounded(line.mean.mean), "rank_low": low, "rank_high": high}
        yield {"row": "method"} | table | named | ranks
    for item in comparison.contrasts:
        named = {"method": item.method, "other": item.other, "n": item.n}
        counted = {"wins": item.wins, "ties": item.ties, "losses": item.losses}
        measured = {"verdict": item.interval.verdict or None, "d_z": rounded(item.effect)}
        yield {"row": "difference"} | table | named | _figures(item.interval) | measured | counted
    for direction in comparison.directions:
        of = {"row": "direction"} | table | {"pair": str(direction.pair), "n": direction.n}
        names = None, *(line.method for line in comparison.lines)
        for name, interval in zip(names, (direction.mean, *direction.methods), strict=True):
            yield of | {"method": name} | _figures(interval)


def _figures(interval: Interval) -> Row:
    estimate, p = rounded(interval.estimate), rounded(interval.p)
    return {"difference": estimate, **ends("", interval), "p": p}


render = functools.partial(formats.render, flat_rows, text_tables)
