"""Write the site of a leaderboard."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clser_bench.errors import SpecError
from clser_bench.report.board import LeaderboardTable
from clser_bench.report.layout import Layout
from clser_bench.report.rows import as_csv
from clser_bench.report.site.cards import MethodText, method_cards
from clser_bench.report.site.content import Section, section, titles
from clser_bench.report.site.details import details, method_versions
from clser_bench.report.site.page import Page, write_page
from clser_bench.store.sqlite import Store

PAGE = "index.html"
DATA = "leaderboard.csv"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\.[a-z]+")


@dataclass(frozen=True)
class Attached:
    """A file that lies beside the page and is linked from it.

    Attributes:
        name: lower-case ASCII letters, digits and hyphens, and an ending.
        text: what is in it.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in (PAGE, DATA):
            raise SpecError(
                f"a file of the site cannot be called '{self.name}': use lower-case letters, "
                f"digits and hyphens, as in card-1.json, and neither {PAGE} nor {DATA}"
            )


def build_site(
    store: Store,
    tables: Sequence[LeaderboardTable],
    out: Path,
    *,
    comparisons: Sequence[Sequence[Layout]] = (),
    cards: Sequence[MethodText] = (),
    provenance: Sequence[Attached | None] = (),
) -> tuple[Path, ...]:
    """Write a folder that works from disk: a page with all it needs, and its numbers as CSV.

    The same results give the same bytes. Other files of the folder are left alone.

    Args:
        store: the results that the tables were made of.
        tables: as `leaderboard` made them.
        out: the folder; made where absent.
        comparisons: for each table its further tables as text cells (`comparison_text.layouts`),
            shown as they are; none at all where empty.
        cards: what methods' authors say of them, where known.
        provenance: for each table its provenance card, where there is one; linked from the table.

    Returns:
        The files.

    Raises:
        SpecError: there is nothing to show, a part does not fit the tables, or the folder cannot
            be written.
        StoreError: stored predictions or answers are damaged.
    """
    if not tables:
        raise SpecError("there are no results to show; make some with `clser-bench run`")
    for what, given in (("comparisons", comparisons), ("provenance cards", provenance)):
        if given and len(given) != len(tables):
            raise SpecError(f"{len(given)} {what} for {len(tables)} tables; give one a table")
    attached = [item for item in provenance if item is not None]
    slices = [line.slice for table in tables for line in table.lines]
    versions = method_versions(store, slices)
    page = Page(
        sections=_sections(tables, provenance),
        cards=method_cards(store, tables, versions=versions, texts=cards),
        details=details(store, tables, versions=versions),
        comparisons=tuple(map(tuple, comparisons)),
        data=DATA,
    )
    texts = {PAGE: write_page(page), DATA: as_csv(tables)}
    return _write(out, texts | {item.name: item.text for item in attached})


def _sections(
    tables: Sequence[LeaderboardTable], provenance: Sequence[Attached | None]
) -> tuple[Section, ...]:
    files = provenance or (None,) * len(tables)
    made = zip(tables, titles(tables), files, strict=True)
    return tuple(
        dataclasses.replace(section(table, number, title=title), card=file.name if file else "")
        for number, (table, title, file) in enumerate(made)
    )


def _write(out: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise SpecError(
            f"{out}: the site cannot be written there ({error.strerror}); name another folder"
        ) from error
    return tuple(out / name for name in texts)
