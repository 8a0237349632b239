"""Write the site of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clser_bench.errors import SpecError
from clser_bench.report.board import LeaderboardTable
from clser_bench.report.layout import Layout
from clser_bench.report.rows import as_csv
from clser_bench.report.site.cards import MethodText, method_cards
from clser_bench.report.site.content import section, titles
from clser_bench.report.site.details import details, method_versions
from clser_bench.report.site.page import Page, write_page
from clser_bench.store.database import Store

PAGE = "index.html"
DATA = "leaderboard.csv"


def build_site(
    store: Store,
    tables: Sequence[LeaderboardTable],
    out: Path,
    *,
    comparison: Sequence[Layout] | Layout | None = None,
    cards: Sequence[MethodText] = (),
) -> tuple[Path, ...]:
    """Write a folder that works from disk: a page with all it needs, and its numbers as CSV.

    The same results give the same bytes. Other files of the folder are left alone.

    Args:
        store: the results that the tables were made of.
        tables: as `leaderboard` made them.
        out: the folder; made where absent.
        comparison: further tables as text cells (`comparison_text.layouts`), shown as they are.
        cards: what methods' authors say of them, where known.

    Returns:
        The files.

    Raises:
        SpecError: there is nothing to show, or the folder cannot be written.
        StoreError: stored predictions or answers are damaged.
    """
    if not tables:
        raise SpecError("there are no results to show; make some with `clser-bench run`")
    slices = [line.slice for table in tables for line in table.lines]
    versions = method_versions(store, slices)
    page = Page(
        sections=tuple(
            section(table, number, title=title)
            for number, (table, title) in enumerate(zip(tables, titles(tables), strict=True))
        ),
        cards=method_cards(store, tables, versions=versions, texts=cards),
        details=details(store, tables, versions=versions),
        comparisons=(comparison,) if isinstance(comparison, Layout) else tuple(comparison or ()),
        data=DATA,
    )
    return _write(out, {PAGE: write_page(page), DATA: as_csv(tables)})


def _write(out: Path, texts: dict[str, str]) -> tuple[Path, ...]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise SpecError(
            f"{out}: the site cannot be written there ({error.strerror}); name another folder"
        ) from error
    return tuple(out / name for name in texts)
