"""Cards: what is known of each method of a page, from the store and from its author."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clser_bench.protocol import Pair
from clser_bench.report.board import LeaderboardTable
from clser_bench.report.points import Parameters, assigned
from clser_bench.store.sqlite import Store

_KINDS = {
    "ranked": "ranked",
    "bound": "bound (for orientation, not ranked)",
    "oracle": "oracle (uses target labels, not ranked)",
}


@dataclass(frozen=True, kw_only=True)
class MethodText:
    """What a method's own documentation says; given by whoever can read it.

    Attributes:
        name: of the method.
        summary: a line.
        reference: where it was published; may be empty.
        departures: from what was published; may be empty.
    """

    name: str
    summary: str
    reference: str = ""
    departures: str = ""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Hyper-parameters and where they hold.

    Attributes:
        text: as set on the command line; empty where there are none.
        where: tables and pairs.
    """

    text: str
    where: str


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """A method of the page.

    Attributes:
        number: from 0, in alphabetical order.
        name: its name.
        kinds: what it is in the tables; usually one.
        prior: what it assumes of the target's class prior.
        notes: footnotes.
        versions: of the method, of which results are shown.
        text: of its author; None where not given.
        settings: hyper-parameters; one where they are the same everywhere.
    """

    number: int
    name: str
    kinds: tuple[str, ...]
    prior: str
    notes: tuple[str, ...]
    versions: tuple[int, ...]
    text: MethodText | None
    settings: tuple[Setting, ...]


def method_cards(
    store: Store,
    tables: Sequence[LeaderboardTable],
    *,
    versions: dict[int, int],
    texts: Iterable[MethodText] = (),
) -> tuple[MethodCard, ...]:
    """Make a card for each method of some tables.

    Args:
        store: the results.
        tables: the tables.
        versions: of methods, by slice.
        texts: of their authors, where known.
    """
    told = {text.name: text for text in texts}
    slices = [line.slice for table in tables for line in table.lines]
    points: dict[int, dict[Pair, Parameters]] = {}
    for item in store.points(slices):
        points.setdefault(item.slice, {})[item.pair] = item.parameters
    names = sorted({line.method for table in tables for line in table.lines})
    made = []
    for number, name in enumerate(names):
        lines = [line for table in tables for line in table.lines if line.method == name]
        known = {versions[line.slice] for line in lines if line.slice in versions}
        made.append(
            MethodCard(
                number=number,
                name=name,
                kinds=tuple(dict.fromkeys(_KINDS[line.kind] for line in lines)),
                prior=", ".join(dict.fromkeys(line.assumes_prior for line in lines)),
                notes=tuple(dict.fromkeys(line.note for line in lines if line.note)),
                versions=tuple(sorted(known)),
                text=told.get(name),
                settings=tuple(_settings(name, tables, points)),
            )
        )
    return tuple(made)


def _settings(
    name: str, tables: Sequence[LeaderboardTable], points: dict[int, dict[Pair, Parameters]]
) -> Iterable[Setting]:
    """One setting where all pairs of all tables have it, else which tables and pairs have which."""
    found: dict[str, dict[int, list[str]]] = {}
    for number, table in enumerate(tables):
        for line in table.lines:
            if line.method == name:
                for pair, values in points.get(line.slice, {}).items():
                    where = found.setdefault(assigned(values, ()), {}).setdefault(number, [])
                    where.append(str(pair))
    if len(found) == 1:
        return [Setting(text=text, where="everywhere") for text in found]
    return [
        Setting(
            text=text,
            where="; ".join(f"table {n + 1}: {', '.join(pairs)}" for n, pairs in where.items()),
        )
        for text, where in found.items()
    ]
