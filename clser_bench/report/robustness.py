"""How methods stand a corrupted target: means by condition, and what is lost against clean speech.

`run --corrupt` stores the clean condition and each corruption as tables of their own, told apart by
the name of their features: `minimal` and `minimal, target noise:10`. Here they meet again. The
change against clean speech is paired on the same draws and the same resamples of speakers.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.aggregate import aggregate
from clser_bench.report.board import Cell, LeaderboardTable, Line, Rules
from clser_bench.report.drawing import COLOURS, COLUMN, in_style, new_figure, plain
from clser_bench.report.evidence import Evidence, count
from clser_bench.report.figure_parts import (
    GREY,
    LINE,
    add_legend,
    heading,
    key_of,
    notes_of,
    pairs_of,
    rows_of,
)
from clser_bench.report.latex import latex_tables
from clser_bench.report.layout import HOLE, Layout
from clser_bench.report.rows import DIGITS
from clser_bench.report.statistics import RESAMPLES, Interval
from clser_bench.report.tables import FORMATS, WIDTH
from clser_bench.report.text import markdown, terminal
from clser_bench.store.database import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8
"""Methods that a figure shows where none are named: the highest means on clean speech."""

_WRITTEN = re.compile(r"(.+), target ([a-z]+):(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.DOTALL)
_SIDES = 4  # panels beside each other, at most
_SPREAD = 0.3  # of the way to the next level, over which methods are spread
_MARKERS = "osD^vPX*"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The levels of a kind of corruption.

    Attributes:
        unit: what a level is, for the axis of a figure.
        clean: the level that would leave speech as it is; infinity where higher ones are milder.
    """

    unit: str = "level"
    clean: float = math.inf

    def place(self, level: float) -> float:
        """Orders levels along an axis, `clean` among them."""
        return -level if math.isinf(self.clean) else level

    def severity(self, level: float) -> float:
        """Orders levels from mild to severe."""
        return -level if math.isinf(self.clean) else abs(level - self.clean)


Scales = Mapping[str, Scale]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the target was: corrupted in some way, or clean.

    Attributes:
        kind: of corruption; empty for clean speech.
        level: in the unit of the kind.
    """

    kind: str = ""
    level: float = 0.0

    @property
    def name(self) -> str:
        """As it is written on the command line, `noise:10`; or `clean`."""
        return f"{self.kind}:{repr(self.level).removesuffix('.0')}" if self.kind else "clean"


CLEAN = Condition()


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method under a condition.

    Attributes:
        condition: the condition.
        cell: mean UAR over the pairs.
        interval: of the mean; None where nothing could be resampled.
        change: against clean speech, paired, in points of UAR; None for clean speech itself, and
            where the two share no draw or have not the same pairs.
    """

    condition: Condition
    cell: Cell
    interval: Interval | None = None
    change: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A method under every condition.

    Attributes:
        method: its name.
        kind: `ranked`, `bound` or `oracle`.
        note: footnote; may be empty.
        points: in the order of the table's conditions.
    """

    method: str
    kind: str
    note: str
    points: tuple[Point, ...]

    @property
    def shown(self) -> str:
        """Its name, with the kind unless it is ranked."""
        return self.method if self.kind == "ranked" else f"{self.method} ({self.kind})"

    def at(self, condition: Condition) -> Point:
        """The method under one of the conditions."""
        return next(point for point in self.points if point.condition == condition)

    @property
    def draws(self) -> str:
        """How many: `5`, or `1–5` where conditions differ."""
        counts = sorted({point.cell.n for point in self.points})
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Methods down, conditions across.

    Attributes:
        table: of clean speech, or of the first condition where there is none; its rules name the
            features without a corruption.
        scales: of kinds of corruption.
        conditions: clean speech first, then kinds, from mild to severe.
        curves: in the order of the table of clean speech.
        remarks: footnotes about the whole table.
        resamples: of the intervals.
    """

    table: LeaderboardTable
    scales: Scales
    conditions: tuple[Condition, ...]
    curves: tuple[Curve, ...]
    remarks: tuple[str, ...]
    resamples: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of corruption."""
        return tuple(dict.fromkeys(item.kind for item in self.conditions if item.kind))

    def scale(self, kind: str) -> Scale:
        """Of a kind; one that this version does not know counts down."""
        return self.scales.get(kind, Scale())


def robustness(
    store: Store,
    scales: Scales,
    *,
    features: str | None = None,
    methods: Collection[str] | None = None,
    resamples: int = RESAMPLES,
    **rules: str | None,
) -> tuple[Robustness, ...]:
    """Bring together the conditions of each set of rules that has a corrupted target.

    Args:
        store: the results.
        scales: of each kind of corruption.
        features: only these, as clean speech has them.
        methods: only these.
        resamples: number of bootstrap resamples.
        rules: values of other fields of `Rules` that are wanted; None for any. `suite` also finds
            the suite's `:fixed4` tables.

    Raises:
        SpecError: a method has no results.
        StoreError: the database is damaged.
    """
    known = {item.method for item in store.slices()}
    for name in methods or ():
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
    wanted = {name: value for name, value in rules.items() if value is not None}
    groups: dict[Rules, dict[Condition, LeaderboardTable]] = {}
    for table in aggregate(store, wanted=wanted, methods=methods):
        name, condition = read_features(table.rules.features)
        if features in (None, name):
            shared = dataclasses.replace(table.rules, features=name)
            groups.setdefault(shared, {})[condition] = table
    return tuple(
        _joined(store, shared, groups[shared], scales, resamples)
        for shared in sorted(groups, key=Rules.order)
        if set(groups[shared]) - {CLEAN}
    )


def read_features(name: str) -> tuple[str, Condition]:
    """Part the name of features, as records have it, from the condition of the target.

    Args:
        name: `minimal`, or `minimal, target noise:10`.
    """
    found = _WRITTEN.fullmatch(name)
    if found is None:
        return name, CLEAN
    return found[1], Condition(kind=found[2], level=float(found[3]))


def _joined(
    store: Store,
    rules: Rules,
    tables: Mapping[Condition, LeaderboardTable],
    scales: Scales,
    resamples: int,
) -> Robustness:
    kinds = list(scales)

    def order(condition: Condition) -> tuple[bool, int, str, float, float]:
        kind, scale = condition.kind, scales.get(condition.kind, Scale())
        place = kinds.index(kind) if kind in kinds else len(kinds)
        severity = scale.severity(condition.level)
        return kind != "", place, kind, round(severity, 9), condition.level

    conditions = tuple(sorted({CLEAN, *tables}, key=order))
    first = next(tables[item] for item in conditions if item in tables)
    alike = {item: table for item, table in tables.items() if _alike(table, first)}
    groups = [alike, *({item: tables[item]} for item in tables if item not in alike)]
    evidence = {
        item: found for group in groups for item, found in _weighed(store, group, resamples)
    }
    lines: dict[str, Line] = {}
    for condition in (item for item in conditions if item in tables):
        for line in tables[condition].lines:
            lines.setdefault(line.method, line)
    return Robustness(
        table=dataclasses.replace(first, rules=rules),
        scales=scales,
        conditions=conditions,
        curves=tuple(
            Curve(
                method=line.method,
                kind=line.kind,
                note=line.note,
                points=tuple(_point(item, line.method, tables, evidence) for item in conditions),
            )
            for line in lines.values()
        ),
        remarks=tuple(_remarks(conditions, tables, first, evidence)),
        resamples=resamples,
    )


def _alike(table: LeaderboardTable, other: LeaderboardTable) -> bool:
    """Whether means are over the same: only then can they be compared."""
    return (set(table.pairs), table.protocol_version) == (set(other.pairs), other.protocol_version)


def _weighed(
    store: Store, tables: Mapping[Condition, LeaderboardTable], resamples: int
) -> Iterator[tuple[Condition, Evidence]]:
    """The same evidence for all tables: of every method under every condition."""
    counts = {}
    pooled = any(table.rules.shots == "all" for table in tables.values())
    for condition, table in tables.items():
        whole = [line for line in table.lines if line.mean.mean is not None]
        for method, found in count(store, table, whole).items():
            counts[_key(condition, method)] = found
    evidence = Evidence(counts, pooled=pooled, resamples=resamples)
    yield from dict.fromkeys(tables, evidence).items()


def _key(condition: Condition, method: str) -> str:
    return f"{condition.name}/{method}"


def _line(table: LeaderboardTable | None, method: str) -> Line | None:
    return next((line for line in table.lines if line.method == method), None) if table else None


def _point(
    condition: Condition,
    method: str,
    tables: Mapping[Condition, LeaderboardTable],
    evidence: Mapping[Condition, Evidence],
) -> Point:
    line = _line(tables.get(condition), method)
    if line is None:
        missing = Cell(n=0, mean=None, std=None, status="failed", reason="not run")
        return Point(condition=condition, cell=missing)
    found, key, clean = evidence[condition], _key(condition, method), _key(CLEAN, method)
    if key not in found.methods:
        return Point(condition=condition, cell=line.mean)
    paired = condition != CLEAN and clean in found.methods
    return Point(
        condition=condition,
        cell=line.mean,
        interval=found.mean(key),
        change=found.difference(key, clean) if paired else None,
    )


def _remarks(
    conditions: Sequence[Condition],
    tables: Mapping[Condition, LeaderboardTable],
    first: LeaderboardTable,
    evidence: Mapping[Condition, Evidence],
) -> Iterator[str]:
    yield from first.remarks
    for condition in (item for item in conditions if item in tables):
        table = tables[condition]
        yield from (f"{condition.name}: {t}" for t in table.remarks if t not in first.remarks)
        if not _alike(table, first):
            yield (
                f"{condition.name} is over other pairs or of another protocol version "
                f"({len(table.pairs)} pairs, version {table.protocol_version}), so nothing is "
                "compared with it; run it again"
            )
    if CLEAN not in tables:
        yield "clean speech was not run, so nothing is lost against it; run again with --corrupt"
    drawn = [line for table in tables.values() for line in table.lines if line.kind != "oracle"]
    if first.rules.shots != "all" and any(line.mean.n == 1 for line in drawn):
        yield "n = 1: the interval covers the speakers, and holds for this one draw only"
    counted = [item.dropped for item in dict.fromkeys(evidence.values())]
    if sum(dropped for dropped, _ in counted):
        share = f"{sum(d for d, _ in counted)} of {sum(of for _, of in counted)} recalls"
        yield f"bootstrap: {share} were left out, their class absent from the resample"


def render(
    found: Sequence[Robustness],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
) -> str:
    """Write tables as text.

    Args:
        found: as `robustness` made them.
        format: `table` for a terminal or a pipe, `md`, `latex`, `csv` or `json`.
        width: columns of the terminal, for `table`; 120 where None.

    Returns:
        Text that ends in a line break.

    Raises:
        SpecError: there is no such format.
    """
    if format not in FORMATS:
        raise SpecError(f"there is no format '{format}'{did_you_mean(format, FORMATS)}")
    flat = [row for item in found for row in rows(item)]
    if format == "json":
        return json.dumps(flat, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if format == "csv":
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in flat for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return text.getvalue()
    if not found:
        return "No results to show.\n"
    layouts = [lay_out(item) for item in found]
    if format == "latex":
        return latex_tables(layouts)
    if format == "md":
        return "\n".join(markdown(layout) for layout in layouts)
    return "\n".join(terminal(layout, width=width or WIDTH, color=False) for layout in layouts)


def rows(found: Robustness) -> Iterator[Row]:
    """A table as flat rows, one a method and condition.

    Args:
        found: the table.
    """
    rules = dataclasses.asdict(found.table.rules)
    shots = rules.pop("shots")
    for curve in found.curves:
        for point in curve.points:
            condition, cell = point.condition, point.cell
            row: Row = {
                **rules,
                "shots": int(shots) if shots.isdecimal() else shots,
                "synthetic": found.table.synthetic,
                "method": curve.method,
                "kind": curve.kind,
                "condition": condition.name,
                "corruption": condition.kind or None,
                "level": condition.level if condition.kind else None,
                "unit": found.scale(condition.kind).unit if condition.kind else None,
                "n": cell.n,
                "uar_mean": _rounded(cell.mean),
                "uar_std": _rounded(cell.std),
            }
            row |= {f"interval_{end}": v for end, v in _ends(point.interval).items()}
            row["change"] = _rounded(point.change.estimate) if point.change else None
            row |= {f"change_{end}": v for end, v in _ends(point.change).items()}
            row["change_p"] = _rounded(point.change.p) if point.change else None
            yield row | {"status": cell.status, "reason": cell.reason}


def lay_out(found: Robustness) -> Layout:
    """Write a table as text cells.

    Args:
        found: the table.
    """
    worse = [item.name for item in found.conditions if item.kind]
    notes = dict.fromkeys(f"{curve.method}: {curve.note}" for curve in found.curves if curve.note)
    for curve in found.curves:
        for point in curve.points:
            if point.cell.mean is None:
                why = point.cell.reason or point.cell.status
                notes[f"{curve.method}, {point.condition.name}: {why}"] = None
    return Layout(
        title=f"{found.table.title}: corrupted target",
        header=tuple(_header(found)),
        names=("method", "n", "clean", *worse, *(f"{name} - clean" for name in worse)),
        first_pair=2,
        cells=tuple(_cells(curve) for curve in found.curves),
        aside=tuple(curve.kind == "oracle" for curve in found.curves),
        below=(),
        footnotes=(*notes, *found.remarks),
    )


def _header(found: Robustness) -> Iterator[str]:
    table, rules = found.table, found.table.rules
    yield (
        f"suite {rules.suite} · features {rules.features} · normalisation {rules.normalisation} · "
        f"setting {rules.setting} · prior {rules.prior}"
    )
    yield (
        f"selection {rules.selection} · shots {rules.shots} · "
        f"protocol version {table.protocol_version}"
    )
    if table.synthetic:
        yield "The speech is synthetic: these numbers say nothing about real speech."
    yield (
        "The target is corrupted, what is adapted to and what is scored alike, and has statistics "
        "of its own; the source stays clean."
    )
    units = [f"{kind}: {found.scale(kind).unit}" for kind in found.kinds]
    yield f"UAR: mean of per-class recalls, %, over {pairs_of(table)}. {'; '.join(units)}."
    chance = [100 / size for size in table.classes if size]
    yield f"Chance level: {sum(chance) / max(1, len(chance)):.1f}. n: draws."
    yield (
        "[low, high]: 95 % interval, crossed bootstrap of speakers and draws "
        f"({found.resamples} resamples), conditional on these corpora; else ± sample sd over draws."
    )
    yield (
        "Columns that end in - clean: difference of the means, paired on the same draws and "
        "resamples; below zero is a loss. Not corrected for their number."
    )


def _cells(curve: Curve) -> tuple[str, ...]:
    changes = [_change(point.change) for point in curve.points if point.condition.kind]
    return (curve.shown, curve.draws, *map(_mean, curve.points), *changes)


def _mean(point: Point) -> str:
    cell, interval = point.cell, point.interval
    if cell.mean is None:
        return HOLE
    if interval is not None and interval.low is not None and interval.high is not None:
        return f"{cell.mean:.1f} [{interval.low:.1f}, {interval.high:.1f}]"
    return f"{cell.mean:.1f}" if cell.std is None else f"{cell.mean:.1f} ± {cell.std:.1f}"


def _change(found: Interval | None) -> str:
    if found is None:
        return HOLE
    if found.low is None or found.high is None:
        return _signed(found.estimate)
    return f"{_signed(found.estimate)} [{_signed(found.low)}, {_signed(found.high)}]"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}".replace("+0.0", "0.0")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS) + 0.0


def _ends(interval: Interval | None) -> dict[str, float | None]:
    ends = (interval.low, interval.high) if interval else (None, None)
    return dict(zip(("low", "high"), map(_rounded, ends), strict=True))


@in_style
def draw(found: Robustness, *, methods: Collection[str] = (), width: float = COLUMN) -> Figure:
    """Draw mean UAR against the strength of each kind of corruption, a panel a kind.

    Levels stand evenly apart, clean speech at its place among them: at the mild end, or in the
    middle of kinds that go both ways. Bars are 95 % intervals; each method stands a little aside
    of the others. Bounds and oracles are grey and dashed.

    Args:
        found: the table.
        methods: those to draw; where none are named, the `MOST` highest on clean speech.
        width: in inches; wider for several kinds.

    Raises:
        SpecError: a method is not in the table, or there is none.
    """
    curves, what = _chosen(found, methods)
    down = math.ceil(len(found.kinds) / _SIDES)
    columns = math.ceil(len(found.kinds) / down)
    width = max(width, 0.5 + 1.5 * columns)
    told = dataclasses.replace(found.table, remarks=found.remarks)
    notes, title = notes_of([told], [], width / 2), heading([told], what, width)
    lines = 1.2 * len(curves) / 2 + rows_of([title, *notes])
    figure = new_figure(width, 0.4 + 1.8 * down + LINE * lines)
    axes = figure.subplots(down, columns, sharey=True, squeeze=False).ravel()
    for axis, kind in zip(axes, found.kinds, strict=False):
        _panel(axis, found, kind, curves)
    for axis in axes[len(found.kinds) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel(f"mean UAR over {pairs_of(told)} (%)")
    figure.suptitle(title, fontsize=7)
    keys = [
        key_of(f"{plain(curve.shown)}, n = {curve.draws}", **_look(number, curve))
        for number, curve in enumerate(curves)
    ]
    add_legend(figure, keys, notes, columns=2)
    return figure


def _chosen(found: Robustness, methods: Collection[str]) -> tuple[list[Curve], str]:
    """Curves to draw, the highest on clean speech first, and what they are."""
    known = {curve.method: curve for curve in found.curves}
    for name in methods:
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
    if not known:
        raise SpecError(f"{plain(found.table.title)}: there is no method to draw; run some first")
    order = sorted(
        (known[name] for name in dict.fromkeys(methods) or known),
        key=lambda curve: (-(curve.points[0].cell.mean or -1.0), curve.method),
    )
    what = "corrupted target: means with 95 % intervals"
    if methods or len(order) <= MOST:
        return order, what
    return order[:MOST], f"{what}; the {MOST} highest of {len(order)} on clean speech"


def _panel(axis: Axes, found: Robustness, kind: str, curves: Sequence[Curve]) -> None:
    """The curves of one kind of corruption."""
    scale = found.scale(kind)
    places = {CLEAN: scale.place(scale.clean)}
    places |= {item: scale.place(item.level) for item in found.conditions if item.kind == kind}
    order = sorted(places, key=lambda item: (places[item], item.kind))
    for number, curve in enumerate(curves):
        aside = _SPREAD / len(curves) * (number - (len(curves) - 1) / 2)
        _curve(axis, [curve.at(item) for item in order], aside, _look(number, curve))
    axis.set_xticks(range(len(order)), [f"{i.level:g}" if i.kind else "clean" for i in order])
    axis.set_xlim(-0.4, len(order) - 0.6)
    axis.set_xlabel(f"{plain(kind)}: {plain(scale.unit, longest=40)}")
    axis.grid(axis="y", linewidth=0.3, alpha=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _curve(axis: Axes, points: Sequence[Point], aside: float, look: dict[str, Any]) -> None:
    at = [place + aside for place in range(len(points))]
    ends = [_ends(point.interval) for point in points]
    low, high = ([_number(end[name]) for end in ends] for name in ("low", "high"))
    axis.vlines(at, low, high, color=look["color"], linewidth=0.6)
    means = [_number(point.cell.mean) for point in points]
    axis.plot(at, means, linewidth=0.8, markersize=2.8, **look)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _look(number: int, curve: Curve) -> dict[str, Any]:
    marker = _MARKERS[number % len(_MARKERS)]
    if curve.kind != "ranked":
        return {"color": GREY, "marker": marker, "linestyle": "--"}
    style = ("-", ":", "-.")[number // len(COLOURS) % 3]
    return {"color": COLOURS[number % len(COLOURS)], "marker": marker, "linestyle": style}
