"""A comparison of methods as Markdown, or as flat rows of JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from clser_bench.report import text
from clser_bench.report.crossed_comparison import Comparison, Contrast, Direction
from clser_bench.report.crossed_statistics import Interval
from clser_bench.report.evidence import SIGNIFICANT
from clser_bench.report.layout import HOLE, Layout, lay_out, signed
from clser_bench.report.ranking import LEVEL
from clser_bench.report.rows import json_of, rounded

_COMPARED = (
    "compared: ranked methods with a result on every pair (k = {}); bounds and oracles are not."
)
_PAIRED = (
    "[low, high] by crossed bootstrap of speakers and draws ({} resamples), paired on the same "
    "resamples, conditional on these corpora."
)
_EFFECT = (
    "d_z: difference over the sample sd of the differences on the pairs of corpora ({} pairs); "
    f"{HOLE} where they are all alike."
)
_WINS = (
    "Of the row's method over that of the column's number: pairs of corpora on which the 95 % "
    "interval of the one cell's difference lies above zero, holds it, lies below."
)
_UNCORRECTED = (
    "Not corrected for their number: of methods that are alike, up to one cell in twenty is a win "
    "or a loss."
)
_DIRECTIONS = (
    "[low, high] at 95 % by crossed bootstrap ({} resamples), not corrected for their number; "
    "conditional on these corpora and these methods."
)

Row = dict[str, Any]


def markdown(comparison: Comparison) -> str:
    """Write a comparison as Markdown: ranks, differences, wins, directions.

    Args:
        comparison: of a table.
    """
    return "\n".join(text.markdown(layout) for layout in layouts(comparison))


def layouts(comparison: Comparison) -> tuple[Layout, ...]:
    """Lay a comparison out as tables of text cells, which any text format can write.

    Args:
        comparison: of a table.

    Returns:
        The ranks; then the differences, the wins and the directions, where there are any.
    """
    made = [_ranks(comparison)]
    if comparison.contrasts:
        made += [_differences(comparison), _wins(comparison)]
    if comparison.directions:
        made.append(_directions(comparison))
    return tuple(made)


def as_json(comparison: Comparison) -> str:
    """Write a comparison as a JSON list of rows, told apart by `row`.

    A `method` has its average rank; a `difference` is that of one ordered pair of methods; a
    `direction` is that of one method, or of the mean over all where `method` is null; `friedman`
    comes once, and `clique` once for each group that Nemenyi's test does not part.

    Args:
        comparison: of a table.
    """
    return json_of(_rows(comparison))


def _layout(title: str, names: list[str], cells: list[list[str]], header: list[str]) -> Layout:
    return Layout(
        title=title,
        header=tuple(header),
        names=tuple(names),
        first_pair=1,
        cells=tuple(map(tuple, cells)),
        aside=(False,) * len(cells),
        below=(),
        footnotes=(),
    )


def _ranks(comparison: Comparison) -> Layout:
    table = comparison.table
    plain = lay_out(dataclasses.replace(table, resamples=0, reference="", baseline=""))
    ranked = sorted(
        zip(comparison.ranking.average, comparison.lines, strict=True), key=lambda item: item[0]
    )
    cells = [
        [line.method, _spread(line.mean.mean, line.mean.std), str(line.mean.n), f"{average:.2f}"]
        for average, line in ranked
    ]
    layout = _layout(
        f"{table.title}: comparison of methods",
        ["method", "mean", "n", "average rank"],
        cells,
        [*plain.header, _COMPARED.format(len(cells))],
    )
    below = tuple(_ranking(comparison))
    return dataclasses.replace(layout, below=below, footnotes=comparison.remarks)


def _ranking(comparison: Comparison) -> Iterator[str]:
    found = comparison.ranking
    k, pairs = len(comparison.lines), len(comparison.table.pairs)
    if found.friedman is not None:
        free = f"{k - 1}, {(k - 1) * (pairs - 1)}"
        f = "infinite" if found.friedman.f is None else f"{found.friedman.f:.2f}"
        yield (
            f"Friedman over {pairs} pairs of corpora: χ² = {found.friedman.chi2:.2f} (df {k - 1}), "
            f"p {_p(found.friedman.p)}; Iman and Davenport: F = {f} (df {free}), "
            f"p {_p(found.friedman.f_p)}"
        )
    if found.critical is None:
        return
    yield f"Nemenyi critical difference of average ranks at {LEVEL}: {found.critical:.2f}"
    for places in found.cliques:
        first, *_, last = (
            f"{comparison.lines[place].method} ({found.average[place]:.2f})" for place in places
        )
        yield f"within it: the {len(places)} methods from {first} to {last}"
    yield (
        "Pairs share corpora, so they are not independent: the Friedman test and the critical "
        "difference describe this table and prove nothing (Demšar, JMLR 7, 2006)."
    )


def _differences(comparison: Comparison) -> Layout:
    places = {line.method: place for place, line in enumerate(comparison.lines)}
    cells = [
        [
            item.method,
            item.other,
            _difference(item.interval, item.p),
            HOLE if item.p is None else _p(item.p).removeprefix("= "),
            HOLE if item.effect is None else f"{item.effect:+.2f}",
            str(item.n),
        ]
        for item in comparison.contrasts
        if places[item.method] < places[item.other]
    ]
    return _layout(
        "Differences of means over the pairs",
        ["method", "over", "difference [95 %]", "p", "d_z", "n"],
        cells,
        [
            _PAIRED.format(comparison.resamples),
            f"p: after Holm over all pairs of ranked methods; * where p < {SIGNIFICANT}. n: draws.",
            _EFFECT.format(len(comparison.table.pairs)),
        ],
    )


def _wins(comparison: Comparison) -> Layout:
    found = {
        (item.method, item.other): f"{item.wins}/{item.ties}/{item.losses}"
        for item in comparison.contrasts
    }
    names = [line.method for line in comparison.lines]
    cells = [
        [f"{number} {name}", *(found.get((name, other), "") for other in names)]
        for number, name in enumerate(names, start=1)
    ]
    return _layout(
        "Wins/ties/losses over the pairs of corpora",
        ["method", *(str(number) for number in range(1, len(names) + 1))],
        cells,
        [_WINS, _UNCORRECTED],
    )


def _directions(comparison: Comparison) -> Layout:
    found = comparison.directions
    cells = [[f"mean of {len(comparison.lines)}", *(_difference(item.mean) for item in found)]]
    cells += [
        [line.method, *(_difference(item.methods[place]) for item in found)]
        for place, line in enumerate(comparison.lines)
    ]
    return _layout(
        "Directions: UAR(s→t) - UAR(t→s)",
        ["method", *(_both(item) for item in found)],
        cells,
        [
            _DIRECTIONS.format(comparison.resamples),
            f"n = {min(item.n for item in found)} draws that all methods have.",
        ],
    )


def _both(found: Direction) -> str:
    return f"{found.pair} - {found.pair.target}→{found.pair.source}"


def _difference(interval: Interval, p: float | None = None) -> str:
    shown = signed(interval.estimate)
    if interval.low is not None and interval.high is not None:
        shown += f" [{signed(interval.low)}, {signed(interval.high)}]"
    return shown + ("*" if p is not None and p < SIGNIFICANT and interval.estimate else "")


def _spread(mean: float | None, deviation: float | None) -> str:
    shown = HOLE if mean is None else f"{mean:.1f}"
    return shown if deviation is None else f"{shown} ± {deviation:.1f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _rows(comparison: Comparison) -> Iterator[Row]:
    rules = comparison.table.rules
    shots = int(rules.shots) if rules.shots.isdecimal() else rules.shots
    table = dataclasses.asdict(rules) | {"shots": shots, "synthetic": comparison.table.synthetic}
    names = [line.method for line in comparison.lines]
    for line, average in zip(comparison.lines, comparison.ranking.average, strict=True):
        mean = {"method": line.method, "n": line.mean.n, "uar_mean": rounded(line.mean.mean)}
        yield {"row": "method"} | table | mean | {"average_rank": rounded(average)}
    for item in comparison.contrasts:
        yield {"row": "difference"} | table | _contrast(item)
    for direction in comparison.directions:
        of = {"row": "direction"} | table | {"pair": str(direction.pair), "n": direction.n}
        yield of | {"method": None} | _interval(direction.mean)
        for name, interval in zip(names, direction.methods, strict=True):
            yield of | {"method": name} | _interval(interval)
    yield {"row": "friedman"} | table | _friedman(comparison)
    for places in comparison.ranking.cliques:
        yield {"row": "clique"} | table | {"methods": [names[place] for place in places]}


def _contrast(item: Contrast) -> Row:
    named = {"method": item.method, "other": item.other, "n": item.n}
    counted = {"wins": item.wins, "ties": item.ties, "losses": item.losses}
    measured = {"p_holm": rounded(item.p), "d_z": rounded(item.effect)}
    return named | _interval(item.interval) | measured | counted


def _interval(interval: Interval) -> Row:
    ends = {"low": rounded(interval.low), "high": rounded(interval.high)}
    return {"difference": rounded(interval.estimate)} | ends | {"p": rounded(interval.p)}


def _friedman(comparison: Comparison) -> Row:
    found = comparison.ranking.friedman
    return {
        "methods": len(comparison.lines),
        "pairs": len(comparison.table.pairs),
        "chi2": rounded(found.chi2 if found else None),
        "p": rounded(found.p if found else None),
        "f": rounded(found.f if found else None),
        "f_p": rounded(found.f_p if found else None),
        "critical_difference": rounded(comparison.ranking.critical),
    }
