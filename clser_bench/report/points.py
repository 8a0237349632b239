"""Hyper-parameters of a table's methods: which point a pair has, and what training costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from clser_bench.problem import Value
from clser_bench.protocol import Pair
from clser_bench.report.board import LeaderboardTable, Line
from clser_bench.store.slices import Pointed

Parameters = tuple[tuple[str, Value], ...]

_PARTS = {
    "steps": "{} steps",
    "labelled_batch": "{} labelled per class",
    "source_batch": "{} source",
    "target_batch": "{} target",
}
"""The hyper-parameters that are the budget of a trained method, and how they are written."""


def budget(methods: Mapping[str, Iterable[Parameters]]) -> str:
    """One line on what trained methods are given, and which are given something else.

    The shared budget is the one that most methods have. A method is a trained one where it has
    all hyper-parameters of a budget.

    Args:
        methods: the hyper-parameters of each, once each.

    Returns:
        The line; empty where no method is trained.
    """
    found: dict[tuple[Value, ...], list[str]] = {}
    for method, points in sorted(methods.items()):
        for point in map(dict, points):
            if set(_PARTS) <= set(point):
                members = found.setdefault(tuple(point[name] for name in _PARTS), [])
                members += [] if method in members else [method]
    if not found:
        return ""
    shared = max(found, key=lambda values: len(found[values]))
    steps, *batch = (
        text.format(value) for text, value in zip(_PARTS.values(), shared, strict=True)
    )
    texts = [f"budget: {steps} of {' + '.join(batch)}"]
    for values, members in found.items():
        parts = zip(_PARTS.values(), values, shared, strict=True)
        changed = [text.format(value) for text, value, usual in parts if value != usual]
        if changed:
            texts.append(f"{', '.join(members)}: {', '.join(changed)}")
    return "; ".join(texts)


def pointed(
    table: LeaderboardTable,
    points: Sequence[Pointed],
    candidates: Mapping[str, Iterable[Parameters]],
) -> LeaderboardTable:
    """Add to each line the point that each pair has, or the points where draws have their own.

    Args:
        table: without points.
        points: of its slices.
        candidates: for each method what its points were chosen from; only what varies among them
            is told, or all hyper-parameters where nothing was chosen.
    """
    by_slice: dict[int, dict[Pair, list[Parameters]]] = {}
    for item in points:
        by_slice.setdefault(item.slice, {}).setdefault(item.pair, []).append(item.parameters)
    lines = []
    for line in table.lines:
        of_pairs = by_slice.get(line.slice, {})
        every = [values for some in of_pairs.values() for values in some]
        varied = _varied([*candidates.get(line.method, ()), *every])
        told = {
            pair: " or ".join(dict.fromkeys(assigned(values, varied) for values in some))
            for pair, some in of_pairs.items()
            if pair in table.pairs
        }
        lines.append(dataclasses.replace(line, points=tuple(told.items())))
    return dataclasses.replace(table, lines=tuple(lines), point=True)


def assigned(parameters: Parameters, names: Iterable[str]) -> str:
    """Some hyper-parameters, or all where none is named, as they are set on the command line."""
    chosen = set(names)
    return ", ".join(
        f"{name}={value}" for name, value in parameters if not chosen or name in chosen
    )


def told(table: LeaderboardTable) -> Iterator[str]:
    """A line for each method and point, with the pairs that have it."""
    for line in table.lines:
        by_point: dict[str, list[Pair]] = {}
        of_pairs = dict(line.points)
        for pair in table.pairs:
            if of_pairs.get(pair):
                by_point.setdefault(of_pairs[pair], []).append(pair)
        for text, pairs in sorted(by_point.items(), key=_most_pairs):
            where = "all pairs" if len(pairs) == len(table.pairs) else " ".join(map(str, pairs))
            yield f"{line.method}: {text}: {where}"


def point_of(line: Line, pair: Pair) -> str:
    """The point of a pair as text; empty where there is none."""
    return dict(line.points).get(pair, "")


def _most_pairs(item: tuple[str, list[Pair]]) -> tuple[int, str]:
    return -len(item[1]), item[0]


def _varied(points: Sequence[Parameters]) -> set[str]:
    values: dict[str, set[Value]] = {}
    for point in points:
        for name, value in point:
            values.setdefault(name, set()).add(value)
    return {name for name, found in values.items() if len(found) > 1}
