"""Making the card of a table: its numbers, hyper-parameters, keys of audio and features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import ValidationError

from clser_bench.errors import SpecError
from clser_bench.problem import Trial, Value
from clser_bench.protocol import Pair
from clser_bench.report.board import Cell, LeaderboardTable, Line
from clser_bench.report.card import (
    Card,
    CardCell,
    CardMethod,
    CardPair,
    CardRules,
    Machine,
    Requested,
    Software,
    faults,
    seal,
)
from clser_bench.store.records import Run
from clser_bench.store.slices import Planned
from clser_bench.store.sqlite import Store

_CHUNK = 512  # records read at once: each brings its scores along


def make_card(
    store: Store,
    table: LeaderboardTable,
    *,
    software: Software,
    machine: Machine,
    requests: Sequence[Requested] = (),
    commands: Sequence[str] = (),
) -> Card:
    """Make the card of a table.

    Args:
        store: the results that the table was made of.
        table: as `tables.leaderboard` made it.
        software: what the card is written with.
        machine: where.
        requests: of the runs behind the table, as `runs_of` orders them.
        commands: the same as shell commands.

    Raises:
        SpecError: methods of the table saw different audio or features, or a name in it is one
            that a card cannot hold.
        StoreError: the database is damaged.
    """
    trials = list(_trials(store, table))
    planned: dict[int, list[Planned]] = {}
    for item in store.planned([line.slice for line in table.lines]):
        planned.setdefault(item.slice, []).append(item)
    points: dict[int, dict[str, dict[str, Value]]] = {}
    for point in store.points(list(planned)):
        points.setdefault(point.slice, {})[str(point.pair)] = dict(point.parameters)
    try:
        card = Card(
            title=table.title,
            protocol_version=table.protocol_version,
            synthetic=table.synthetic,
            rules=CardRules(**dataclasses.asdict(table.rules)),
            pairs=tuple(_pairs(table, trials, planned)),
            methods=tuple(
                _method(
                    table, line, trials, planned.get(line.slice, ()), points.get(line.slice, {})
                )
                for line in table.lines
            ),
            remarks=table.remarks,
            requests=tuple(requests),
            commands=tuple(commands),
            software=software,
            machine=machine,
        )
    except ValidationError as error:
        raise SpecError(f"{table.title}: a card cannot hold it: {faults(error)}") from error
    return seal(card)


def runs_of(store: Store, table: LeaderboardTable) -> Iterator[tuple[Run, tuple[str, ...]]]:
    """The stored plans behind a table, the latest last, each with the methods it is shown for.

    Args:
        store: the results that the table was made of.
        table: as `tables.leaderboard` made it.
    """
    run_of = {item.id: item.run for item in store.slices()}
    for run in store.runs():
        methods = {line.method for line in table.lines if run_of[line.slice] == run.id}
        if methods:
            known = [name for name in run.methods if name in methods]
            yield run, (*known, *sorted(methods - set(known)))


def _trials(store: Store, table: LeaderboardTable) -> Iterator[Trial]:
    """The trials of a table that something is stored of."""
    for run, methods in runs_of(store, table):
        ids = store.planned_ids(run.id)
        for start in range(0, len(ids), _CHUNK):
            for record in store.records(ids[start : start + _CHUNK]):
                trial = record.trial
                if trial.method in methods and str(trial.shots) == table.rules.shots:
                    yield trial


def _pairs(
    table: LeaderboardTable, trials: Iterable[Trial], planned: Mapping[int, Sequence[Planned]]
) -> Iterator[CardPair]:
    keys: dict[Pair, set[tuple[str, str]]] = {}
    for trial in trials:
        keys.setdefault(trial.pair, set()).add((trial.source_key, trial.target_key))
    classes = {item.pair: item.classes for items in planned.values() for item in items}
    for pair in table.pairs:
        found = sorted(keys.get(pair, {("", "")}))
        if len(found) > 1:
            raise SpecError(
                f"{table.title}: methods saw different audio or features of {pair}, so one card "
                "cannot tell of all; run them again, or name some with --methods"
            )
        yield CardPair(
            source=pair.source,
            target=pair.target,
            classes=classes.get(pair, ()),
            source_key=found[0][0],
            target_key=found[0][1],
        )


def _method(
    table: LeaderboardTable,
    line: Line,
    trials: Iterable[Trial],
    planned: Sequence[Planned],
    points: Mapping[str, dict[str, Value]],
) -> CardMethod:
    own = [(trial.version, trial.engine_version) for trial in trials if trial.method == line.method]
    version, engine = max(own, default=(0, 0))
    seeds = sorted({item.seed for item in planned})
    uars = {(item.pair, item.seed): item.uar for item in planned}
    typed = [{(name, type(value), value) for name, value in p.items()} for p in points.values()]
    shared = {name: value for name, _, value in set.intersection(*typed)} if typed else {}
    rest = {pair: {n: v for n, v in p.items() if n not in shared} for pair, p in points.items()}
    return CardMethod(
        method=line.method,
        kind=line.kind,  # type: ignore[arg-type]  # checked by the model
        version=version,
        engine_version=engine,
        parameters=dict(sorted(shared.items())),
        of_pairs={pair: values for pair, values in rest.items() if values},
        seeds=tuple(seeds),
        cells=tuple(
            _cell(cell, tuple(uars.get((pair, seed)) for seed in seeds))
            for pair, cell in zip(table.pairs, line.cells, strict=True)
        ),
    )


def _cell(cell: Cell, uars: tuple[float | None, ...]) -> CardCell:
    reason = "".join(letter if letter.isprintable() else " " for letter in cell.reason[:1000])
    if "/" in reason or "\\" in reason:  # it may name a folder of this machine
        reason = "see `clser-bench status` of the results file"
    return CardCell(
        mean=cell.mean,
        sd=cell.std,
        n=cell.n,
        uars=uars,
        status=cell.status,  # type: ignore[arg-type]  # checked by the model
        reason=reason,
    )
