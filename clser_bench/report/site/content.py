"""What the page shows of a table: rows of text, ready for a template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clser_bench.protocol import Pair
from clser_bench.report.board import Cell, LeaderboardTable, Line
from clser_bench.report.layout import HOLE, lay_out
from clser_bench.report.site.forest import Forest, forest
from clser_bench.report.site.heat import NOTHING, Shown, Value, mean_of, scale_of, shown, spread_of

_KINDS = {"bound": "bound", "oracle": "oracle", "ranked": ""}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method of a table.

    Attributes:
        number: of its line in the table; None for the level of chance, which is no method.
        method: its name.
        kind: `bound` or `oracle`, or empty for a ranked one.
        reference: verdicts compare with it.
        rank: among the ranked.
        mean: over the pairs.
        spread: as in `Shown`.
        interval: of the mean.
        difference: to the reference, with its interval.
        verdict: `better`, `worse`, `not separable` or empty.
        draws: how many.
        seconds: mean time per trial.
        energy: mean joules per trial.
        prior: what the method assumes of the target's class prior.
        pairs: a cell per pair.
    """

    number: int | None
    method: str
    kind: str = ""
    reference: bool = False
    rank: Value = NOTHING
    mean: Value
    spread: str = ""
    interval: str = ""
    difference: Value = NOTHING
    difference_interval: str = ""
    verdict: str = ""
    draws: Value = NOTHING
    seconds: Value = NOTHING
    energy: Value = NOTHING
    prior: str = ""
    pairs: tuple[Shown, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table.

    Attributes:
        number: from 0.
        title: suite, shots and setting, and what else tells it from the other tables.
        rules: name and value of what all rows share.
        notes: how to read it.
        reference: the method that verdicts compare with; empty for none.
        pairs: its columns.
        bodies: bounds, ranked methods and oracles; a body without rows is left out.
        holes: why there is no result, once each.
        remarks: on the whole table.
        synthetic: the speech is.
        time: show the time per trial.
        energy: show the joules per trial.
        range: lowest and highest mean of a ranked method on a pair, that the colours are between.
        forest: picture of intervals; None without them.
        card: name of the file beside the page that tells its provenance; empty for none.
    """

    number: int
    title: str
    rules: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    reference: str
    pairs: tuple[str, ...]
    bodies: tuple[tuple[Row, ...], ...]
    holes: tuple[str, ...]
    remarks: tuple[str, ...]
    synthetic: bool
    time: bool
    energy: bool
    range: tuple[str, str]
    forest: Forest | None
    card: str = ""


def section(table: LeaderboardTable, number: int, *, title: str) -> Section:
    """Write a table as a section of the page.

    Args:
        table: the table.
        number: of the section, from 0.
        title: of the section.
    """
    scale = scale_of(table)
    usual = next((line for line in table.lines if line.method == table.reference), None)
    rows = [_row(table, line, place, scale, usual) for place, line in enumerate(table.lines)]
    bodies = [[row for row in rows if row.kind == kind] for kind in ("bound", "", "oracle")]
    if all(line.method != "chance" for line in table.lines):
        bodies[0].insert(0, _chance(table, scale))
    return Section(
        number=number,
        title=title,
        rules=tuple(_rules(table)),
        # the first two lines tell the rules
        notes=(*lay_out(table).header[2:], *_own_notes(table)),
        reference=table.reference,
        pairs=tuple(map(str, table.pairs)),
        bodies=tuple(tuple(body) for body in bodies if body),
        holes=tuple(_holes(table)),
        remarks=table.remarks,
        synthetic=table.synthetic,
        time=table.time,
        energy=table.energy,
        range=(f"{scale[0]:.0f}", f"{scale[1]:.0f}"),
        forest=forest(table),
    )


def titles(tables: Sequence[LeaderboardTable]) -> tuple[str, ...]:
    """A title for each table: suite, shots, setting, and the rules in which they differ.

    Args:
        tables: all tables of the page.
    """
    names = ("features", "normalisation", "prior", "selection")
    values = {name: {getattr(table.rules, name) for table in tables} for name in names}
    differing = [name for name in names if len(values[name]) > 1]
    found = []
    for table in tables:
        told = [f"{name} {getattr(table.rules, name)}" for name in differing]
        title = ", ".join([table.title.removesuffix(" (synthetic speech)"), *told])
        found.append(f"{title} (synthetic speech)" if table.synthetic else title)
    return tuple(found)


def _rules(table: LeaderboardTable) -> Iterator[tuple[str, str]]:
    rules = table.rules
    yield "suite", rules.suite
    yield "features", rules.features
    yield "normalisation", rules.normalisation
    yield "setting", rules.setting
    yield "target prior", rules.prior
    yield "selection", rules.selection
    yield "shots per class", rules.shots
    yield "draws", str(table.seeds)
    yield "protocol version", str(table.protocol_version)


def _own_notes(table: LeaderboardTable) -> Iterator[str]:
    if table.reference and not table.baseline:
        yield (
            f"difference: of the mean to that of {table.reference}, with its 95 % interval, "
            "paired on the same resamples. The verdict is corrected for the number of methods, "
            "the interval is not."
        )
    yield (
        "Colours of pairs describe the draws; single pairs are not tested. A mean is set bold only "
        "where its method is separably better than the reference."
    )


def _row(
    table: LeaderboardTable, line: Line, number: int, scale: tuple[float, float], usual: Line | None
) -> Row:
    cells = zip(line.cells, usual.cells if usual else line.cells, strict=True)
    found = line.difference
    interval = found.interval if found else None
    return Row(
        number=number,
        method=line.method,
        kind=_KINDS[line.kind],
        reference=line.method == table.reference,
        rank=Value("" if line.rank is None else str(line.rank), line.rank),
        mean=mean_of(line.mean),
        spread=spread_of(line.mean),
        interval=_ends(line.interval.low, line.interval.high) if line.interval else "",
        difference=Value(signed(interval.estimate), interval.estimate) if interval else NOTHING,
        difference_interval=_ends(interval.low, interval.high, sign=True) if interval else "",
        verdict=line.verdict,
        draws=Value(str(line.mean.n), line.mean.n),
        seconds=_cost(line.mean.seconds),
        energy=_cost(line.mean.energy),
        prior=line.assumes_prior,
        pairs=tuple(
            shown(cell, scale, other.mean if usual and usual is not line else None)
            for cell, other in cells
        ),
    )


def _chance(table: LeaderboardTable, scale: tuple[float, float]) -> Row:
    levels = [100 / count if count else None for count in table.classes]
    known = [level for level in levels if level is not None]
    mean = sum(known) / len(known) if len(known) == len(levels) and known else None
    cells = (Cell(n=0, mean=level, std=None, status="not_applicable") for level in levels)
    return Row(
        number=None,
        method="chance level",
        kind="bound",
        mean=Value(HOLE if mean is None else f"{mean:.1f}", mean),
        pairs=tuple(shown(cell, scale, None) for cell in cells),
    )


def _holes(table: LeaderboardTable) -> Iterator[str]:
    """Why there is no result: a line for each method and reason, with its pairs."""
    found: dict[tuple[str, str, str], list[Pair]] = {}
    for line in table.lines:
        for pair, cell in zip(table.pairs, line.cells, strict=True):
            if cell.mean is None:
                found.setdefault((line.method, cell.status, cell.reason), []).append(pair)
    for (method, status, reason), pairs in found.items():
        where = "all pairs" if len(pairs) == len(table.pairs) else ", ".join(map(str, pairs))
        yield f"{method}, {where}: {status_text(status)}: {reason}"


def status_text(status: str) -> str:
    """A status in words."""
    return status.replace("_", " ")


def _cost(value: float | None) -> Value:
    return Value(HOLE) if value is None else Value(f"{value:.2f}", value)


def _ends(low: float | None, high: float | None, *, sign: bool = False) -> str:
    if low is None or high is None:
        return ""
    return f"[{signed(low)}, {signed(high)}]" if sign else f"[{low:.1f}, {high:.1f}]"


def signed(value: float) -> str:
    """A number with its sign; zero has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")
