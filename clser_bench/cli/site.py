"""The site of a leaderboard, with what only the command line can read: methods and runs."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clser_bench.cli.output import complain

if TYPE_CHECKING:
    from clser_bench.registry import Entry
    from clser_bench.report.board import LeaderboardTable
    from clser_bench.report.site.build import Attached
    from clser_bench.report.site.cards import MethodText
    from clser_bench.store.sqlite import Store


def write_site(store: Store, tables: Sequence[LeaderboardTable], out: Path) -> tuple[Path, ...]:
    """Write tables as a folder for browsers: page, comparisons, methods, and provenance cards.

    Args:
        store: the results that the tables were made of.
        tables: as `tables.leaderboard` made them.
        out: the folder; made where absent.

    Returns:
        The files; the page first.

    Raises:
        SpecError: there is nothing to show, or the folder cannot be written.
        StoreError: the database is damaged.
    """
    from clser_bench.report.comparison_text import layouts
    from clser_bench.report.crossed_comparison import compare
    from clser_bench.report.site.build import build_site

    shown = {line.method for table in tables for line in table.lines}
    return build_site(
        store,
        tables,
        out,
        comparisons=[layouts(compare(store, table)) for table in tables],
        cards=list(_method_texts(shown)),
        provenance=[_provenance(store, table) for table in tables],
    )


def _method_texts(shown: Collection[str]) -> Iterator[MethodText]:
    """What is known here of the methods shown; results may be of others."""
    from clser_bench import registry
    from clser_bench.report.site.cards import MethodText
    from clser_bench.scoring.routines import ROUTINES

    for name, entry in registry.entries().items():
        if name in shown:
            yield _method_text(entry)
    for routine in ROUTINES.values():
        if routine.name in shown:
            yield MethodText(name=routine.name, summary=routine.about)


def _method_text(entry: Entry) -> MethodText:
    """Summary, reference and departures, from the docstring of a file that is not executed."""
    from clser_bench.report.site.cards import MethodText

    document = ast.get_docstring(ast.parse(entry.file.read_text(encoding="utf-8"))) or ""
    parts: dict[str, str] = {}
    for paragraph in document.split("\n\n")[1:]:
        heading, colon, text = " ".join(paragraph.split()).partition(": ")
        if colon:
            parts.setdefault(heading, text)
    return MethodText(
        name=entry.name,
        summary=entry.summary,
        reference=parts.get("Reference", ""),
        departures=parts.get("Departures", ""),
    )


def _provenance(store: Store, table: LeaderboardTable) -> Attached | None:
    """A table's provenance card; None, and why, where a card cannot tell of it."""
    from clser_bench.cli.cards import card_of
    from clser_bench.cli.figures import file_name
    from clser_bench.errors import SpecError
    from clser_bench.report.card import as_text
    from clser_bench.report.site.build import Attached

    try:
        card = card_of(store, table)
    except SpecError as error:
        complain(f"{table.title}: the site has no provenance card of it: {error}")
        return None
    return Attached(f"{file_name('card', table.rules)}.json", as_text(card))
