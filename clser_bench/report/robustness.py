"""How methods stand a corrupted target: means by condition, and what is lost against clean speech.

`run --corrupt` stores the clean condition and each corruption as tables of their own, told apart by
the name of their features: `minimal` and `minimal, target noise:10`. Here they meet again. The
change against clean speech is paired on the same draws and the same resamples of speakers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.report.aggregate import aggregate
from clser_bench.report.board import Cell, LeaderboardTable, Line, Rules
from clser_bench.report.conditions import CLEAN, Condition, Scale, Scales, read_features
from clser_bench.report.crossed_statistics import RESAMPLES, Interval
from clser_bench.report.evidence import Evidence, count
from clser_bench.store.sqlite import Store


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
    wanted: Mapping[str, str] | None = None,
    methods: Collection[str] | None = None,
    resamples: int = RESAMPLES,
) -> tuple[Robustness, ...]:
    """Bring together the conditions of each set of rules that has a corrupted target.

    Args:
        store: the results.
        scales: of each kind of corruption.
        wanted: values that a condition must have, as `Condition.matches` takes them.
        methods: only these.
        resamples: number of bootstrap resamples.

    Raises:
        SpecError: a method has no results.
        StoreError: the database is damaged.
    """
    known = {item.method for item in store.slices()}
    for name in methods or ():
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
    groups: dict[Rules, dict[Condition, LeaderboardTable]] = {}
    for table in aggregate(store, wanted=wanted, methods=methods):
        name, condition = read_features(table.rules.features)
        shared = dataclasses.replace(table.rules, features=name)
        groups.setdefault(shared, {})[condition] = table
    return tuple(
        _joined(store, shared, groups[shared], scales, resamples)
        for shared in sorted(groups, key=Rules.order)
        if set(groups[shared]) - {CLEAN}
    )


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
