"""From stored trials to cells, means and holes."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from clser_bench.protocol import Pair
from clser_bench.report.board import Cell, LeaderboardTable, Line, Rules
from clser_bench.report.points import Parameters, budget, pointed
from clser_bench.store.slices import Planned, Pointed, Slice
from clser_bench.store.sqlite import Store

_KINDS = ("bound", "ranked", "oracle")


def aggregate(
    store: Store, *, wanted: Mapping[str, str] | None = None, methods: Collection[str] | None = None
) -> tuple[LeaderboardTable, ...]:
    """Make the tables of a store, without intervals.

    For each method under each set of rules, the trials of the latest plan that asked for it
    count; whatever older versions or other hyper-parameters left in the store does not.

    Args:
        store: the results.
        wanted: values that a condition must have, as `Condition.matches` takes them.
        methods: only these; all where None.

    Returns:
        One table per set of rules, in the order of the rules.
    """
    groups: dict[Rules, list[Slice]] = {}
    for item in store.slices():
        chosen = item.condition.matches(wanted or {}) and (
            methods is None or item.method in methods
        )
        if chosen and not item.candidate:
            groups.setdefault(_rules(item), []).append(item)
    ids = [item.id for items in groups.values() for item in items]
    points: dict[int, list[Pointed]] = {}
    for point in store.points(ids):
        points.setdefault(point.slice, []).append(point)
    trials: dict[int, list[Planned]] = {}
    for trial in store.planned(ids):
        trials.setdefault(trial.slice, []).append(trial)
    order = _pair_orders(store)
    skipped = Counter(item.corpus for item in store.skipped())
    return tuple(
        dataclasses.replace(
            _table(rules, groups[rules], trials, order, skipped),
            budget=_budget(groups[rules], points),
        )
        for rules in sorted(groups, key=Rules.order)
    )


def with_points(store: Store, tables: Sequence[LeaderboardTable]) -> tuple[LeaderboardTable, ...]:
    """Add to tables the hyper-parameters that each method has on each pair.

    Args:
        store: the results that the tables were made of.
        tables: as `aggregate` made them, with or without intervals.
    """
    candidates: dict[Rules, dict[int, str]] = {}
    for item in store.slices():
        if item.candidate:
            rules = _rules(item)
            candidates.setdefault(rules, {})[item.id] = item.method
    made = []
    for table in tables:
        methods = candidates.get(table.rules, {})
        choices: dict[str, set[Parameters]] = {}
        for point in store.points(list(methods)):
            choices.setdefault(methods[point.slice], set()).add(point.parameters)
        own = store.points([line.slice for line in table.lines])
        made.append(pointed(table, own, choices))
    return tuple(made)


def _budget(slices: Iterable[Slice], points: Mapping[int, Sequence[Pointed]]) -> str:
    return budget(
        {item.method: [point.parameters for point in points.get(item.id, ())] for item in slices}
    )


def one_line(reason: str) -> str:
    """The line of a reason that says most: the last of a traceback, else the first."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason given"]
    return lines[-1] if any(line.startswith("Traceback (") for line in lines) else lines[0]


def _rules(item: Slice) -> Rules:
    condition = item.condition
    fixed = "" if condition.classes == "shared" else f":{condition.classes}"
    return Rules(
        suite=f"{condition.suite}{fixed}",
        features=condition.features_label,
        normalisation=condition.normalisation,
        setting=condition.setting,
        prior=condition.prior,
        selection=condition.selection,
        shots=str(condition.shots),
    )


def _pair_orders(store: Store) -> dict[str, list[Pair]]:
    """Pairs of each suite in table order: those of its largest plan, then what others add."""
    orders: dict[str, dict[Pair, None]] = {}
    for run in sorted(store.runs(), key=lambda run: (-len(run.pairs), run.pairs)):
        orders.setdefault(run.suite, {}).update(dict.fromkeys(run.pairs))
    return {suite: list(pairs) for suite, pairs in orders.items()}


def _table(
    rules: Rules,
    slices: Sequence[Slice],
    trials: Mapping[int, list[Planned]],
    orders: Mapping[str, Sequence[Pair]],
    skipped: Mapping[str, int],
) -> LeaderboardTable:
    version = max(item.condition.protocol_version for item in slices)
    shown = [item for item in slices if item.condition.protocol_version == version]
    planned = [trial for item in shown for trial in trials.get(item.id, [])]
    used = {trial.pair: len(trial.classes) for trial in planned}
    known = orders[rules.suite.partition(":")[0]]
    pairs = [pair for pair in known if pair in used] + sorted(set(used) - set(known))
    lines = [_line(item, pairs, trials.get(item.id, [])) for item in shown]
    old = sorted(item.method for item in slices if item.condition.protocol_version != version)
    return LeaderboardTable(
        rules=rules,
        pairs=tuple(pairs),
        classes=tuple(used[pair] for pair in pairs),
        lines=tuple(sorted(lines, key=_place)),
        protocol_version=version,
        synthetic=any(trial.synthetic for trial in planned),
        remarks=tuple(_remarks(pairs, planned, old, skipped)),
    )


def _place(line: Line) -> tuple[int, bool, float, str]:
    mean = line.mean.mean
    return _KINDS.index(line.kind), mean is None, -(mean or 0.0), line.method


def _remarks(
    pairs: Sequence[Pair],
    planned: Iterable[Planned],
    old: Sequence[str],
    skipped: Mapping[str, int],
) -> Iterable[str]:
    if old:
        yield f"not shown, since an older protocol version made them (run again): {', '.join(old)}"
    tables: dict[Pair, set[str]] = {}
    for trial in planned:
        tables.setdefault(trial.pair, set()).add(trial.tables)
    mixed = [str(pair) for pair in pairs if len(tables[pair]) > 1]
    if mixed:
        yield (
            "methods saw different audio or features, so they cannot be compared (run them "
            f"again): {', '.join(mixed)}"
        )
    for code in sorted({code for pair in pairs for code in (pair.source, pair.target)}):
        if skipped.get(code):
            yield f"{skipped[code]} file(s) of {code} could not be read and were left out"


def _line(item: Slice, pairs: Sequence[Pair], trials: Iterable[Planned]) -> Line:
    by_pair: dict[Pair, list[Planned]] = {}
    for trial in trials:
        by_pair.setdefault(trial.pair, []).append(trial)
    cells = tuple(_cell(by_pair.get(pair, [])) for pair in pairs)
    oracle = item.condition.selection == "oracle" and item.note.role == "ranked"
    return Line(
        method=item.method,
        kind="oracle" if oracle else item.note.role,
        assumes_prior=item.note.assumes_prior,
        note=item.note.note,
        slice=item.id,
        cells=cells,
        mean=_mean(pairs, cells, by_pair),
    )


def _cell(trials: Sequence[Planned]) -> Cell:
    ok = [trial for trial in trials if trial.uar is not None]
    values = [trial.uar for trial in ok if trial.uar is not None]
    status, reason = _hole(trials)
    return Cell(
        n=len(values),
        mean=None if reason else float(np.mean(values)),
        std=None if reason else _std(values),
        status=status if reason else "ok",
        reason=reason,
        seconds=_known([trial.seconds for trial in ok]),
        energy=_known([trial.energy for trial in ok]),
    )


def _known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def _hole(trials: Sequence[Planned]) -> tuple[str, str]:
    """Status and reason of a cell; the reason is empty where every draw is ok."""
    if not trials:
        return "failed", "not asked for by the latest run of this method"
    for status in ("failed", "not_applicable"):
        found = [trial for trial in trials if trial.status == status]
        if found:
            reason = one_line(found[0].reason)
            return status, reason + _share([trial.seed for trial in found], len(trials))
    missing = [trial.seed for trial in trials if trial.status is None]
    return "failed", "not run yet" + _share(missing, len(trials)) if missing else ""


def _share(seeds: Sequence[int], of: int) -> str:
    return f" ({len(seeds)} of {of} draws)" if len(seeds) < of else ""


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(
    pairs: Sequence[Pair], cells: Sequence[Cell], by_pair: Mapping[Pair, Sequence[Planned]]
) -> Cell:
    """The mean over the pairs, its spread over the draws that all pairs share."""
    seconds = _known([cell.seconds for cell in cells])
    energy = _known([cell.energy for cell in cells])
    draws = [{trial.seed: trial.uar for trial in by_pair.get(pair, [])} for pair in pairs]
    shared = sorted(set.intersection(*map(set, draws)))
    holes = [(pair, cell) for pair, cell in zip(pairs, cells, strict=True) if cell.mean is None]
    if holes:
        statuses = {cell.status for _, cell in holes}
        named = ", ".join(str(pair) for pair, _ in itertools.islice(holes, 3))
        more = ", …" if len(holes) > 3 else ""
        return Cell(
            n=min(cell.n for cell in cells),
            mean=None,
            std=None,
            status="failed" if "failed" in statuses else "not_applicable",
            reason=f"no result for {len(holes)} of {len(pairs)} pairs: {named}{more}",
            seconds=seconds,
            energy=energy,
        )
    means = [np.mean([values[seed] for values in draws]) for seed in shared]
    return Cell(
        n=len(shared),
        mean=float(np.mean([cell.mean for cell in cells])),
        std=_std([float(mean) for mean in means]),
        seconds=seconds,
        energy=energy,
    )
