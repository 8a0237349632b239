"""Leaderboards as one HTML file: JSON values, a template, a style sheet and a script that draws.

The page loads nothing: its Content-Security-Policy allows the style sheet and the script by their
hashes and no request at all. Texts of others reach it inside one JSON block and are set as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pandas as pd

from clser_bench import __version__
from clser_bench.protocol import Condition
from clser_bench.report import render
from clser_bench.report.formats import ends, rounded
from clser_bench.report.intervals import confusions
from clser_bench.report.model import Cell, Leaderboard, Line
from clser_bench.report.table import rows_of
from clser_bench.store.sqlite import Store

Json = dict[str, Any]

RULES = {
    "suite": "Suite",
    "classes": "Classes",
    "features": "Features",
    "alignment": "Alignment",
    "shots": "Labelled utterances per class",
    "normalisation": "Normalisation",
    "setting": "Setting",
    "prior": "Target prior",
    "corruption": "Corruption of the target",
    "unlabelled": "Added unlabelled corpora",
    "selection": "Selection of hyper-parameters",
}
"""Fields of a condition in the order of the page, and their labels."""

_USES = {
    "labelled": "labelled source",
    "source": "unlabelled source",
    "target": "unlabelled target",
    "unlabelled": "added unlabelled corpora",
    "speakers": "speaker identities of the target",
    "prior": "a uniform class prior of the target",
    "estimated prior": "an estimated class prior of the target",
}


@dataclass(frozen=True, kw_only=True)
class Documented:
    """A method by its own documentation.

    Attributes:
        summary: a line.
        reference: the publication; may be empty.
        departures: from the publication; may be empty.
    """

    summary: str
    reference: str = ""
    departures: str = ""


def page_data(
    tables: Sequence[Leaderboard],
    frame: pd.DataFrame,
    store: Store,
    *,
    documented: Mapping[str, Documented] | None = None,
) -> Json:
    """Collect all that the page of some tables shows; see `build.page`.

    Args:
        documented: methods by name, where their documentation is at hand.

    Raises:
        StoreError: stored predictions or answers are damaged.
    """
    return {
        "conditions": [_condition(table, rows_of(frame, table), store) for table in tables],
        "methods": list(_cards(tables, documented or {})),
        "labels": RULES,
    }


def _condition(table: Leaderboard, rows: pd.DataFrame, store: Store) -> Json:
    texts = table.condition.texts()
    rules = {name: texts[name] for name in RULES}
    emotions = dict(zip(rows.pair, rows.emotions, strict=True))
    own = rows[rows.method.isin([line.method for line in table.lines])]
    cells = _details(store, own)
    methods = [_row(table, line, cells) for line in table.lines]
    if table.line("chance") is None:
        methods.append(_chance(table))
    return {
        "key": _key(table.condition),
        "title": table.title,
        "standing": table.standing,
        "rules": rules,
        "header": render.text_table(table).header[:2],
        "warnings": table.warnings,
        "notes": [*table.remarks, *render.explanation(table)],
        "pairs": list(map(str, table.pairs)),
        "classes": [emotions[str(pair)] for pair in table.pairs],
        "reference": table.reference,
        "methods": methods,
    }


def _key(condition: Condition) -> str:
    """Suite, features and shots, and whatever else is not usual: short, and lasting in links."""
    own, usual = condition.texts(), Condition().texts()
    rest = [n for n in RULES if n not in ("suite", "features", "shots") and own[n] != usual[n]]
    first = own["suite"], own["features"], own["shots"]
    return ",".join([*first, *(f"{name}={own[name]}" for name in rest)])


def _row(table: Leaderboard, line: Line, cells: Mapping[tuple[str, str], Json]) -> Json:
    found = line.difference
    return {
        "method": line.method,
        "title": line.shown,
        "role": line.role,
        "marks": [[render.USES.get(use, use), f"uses {_USES.get(use, use)}"] for use in line.uses],
        **_numbers(line.mean),
        **ends("", line.interval),
        "difference": rounded(found.estimate) if found else None,
        **ends("difference_", found),
        "verdict": line.verdict,
        "rank": line.ranks,
        "cells": [
            _numbers(cell)
            | {"status": cell.status, "reason": cell.reason}
            | cells.get((line.method, str(pair)), {"draws": []})
            for pair, cell in zip(table.pairs, line.cells, strict=True)
        ],
    }


def _chance(table: Leaderboard) -> Json:
    """The level of chance, which is computed from the classes and is no method."""
    whole, *levels = (Cell(n=0, mean=level, std=None) for level in render.chance_levels(table))
    return {
        "method": "chance level",
        "title": "chance level",
        "role": "bound",
        "computed": True,
        "marks": [],
        **_numbers(whole),
        **ends("", None),
        "difference": None,
        **ends("difference_", None),
        "verdict": "",
        "rank": None,
        "cells": list(map(_numbers, levels)),
    }


def _numbers(cell: Cell) -> Json:
    return {"n": cell.n, "mean": rounded(cell.mean), "std": rounded(cell.std)}


def _details(store: Store, rows: pd.DataFrame) -> dict[tuple[str, str], Json]:
    """Draws, confusions (over all draws, row by row) and hyper-parameters by method and pair."""
    counts = confusions(store, rows)
    found: dict[tuple[str, str], Json] = {}
    for key, own in rows.groupby(["method", "pair"]):
        method, pair = map(str, key)
        good = own[own.status == "ok"].sort_values("seed")
        texts = (", ".join(f"{n}={v}" for n, v in values) for values in own.parameters)
        found[method, pair] = {
            "draws": [rounded(uar) for uar in good.uar],
            "parameters": " or ".join(dict.fromkeys(texts)),
        }
        if (method, pair) in counts:
            found[method, pair]["confusion"] = counts[method, pair].ravel().tolist()
    return found


def _cards(tables: Sequence[Leaderboard], documented: Mapping[str, Documented]) -> Iterator[Json]:
    """A card for each method, in alphabetical order."""
    lines = {line.method: line for table in tables for line in table.lines}
    for name, line in sorted(lines.items()):
        about = documented.get(name, Documented(summary=""))
        yield {
            "name": name,
            "title": line.title,
            "summary": about.summary,
            "reference": about.reference,
            "departures": about.departures,
            "uses": ", ".join(_USES.get(use, use) for use in line.uses),
            "prior": line.assumes_prior,
            "note": line.note,
        }


def page(data: Mapping[str, Any], *, title: str = "clser-bench leaderboard") -> str:
    """Write a page.

    Args:
        data: `conditions` (a table each: key, title, rules, header, notes, pairs, classes,
            reference, warnings and methods with their cells), `methods` (what each is) and
            `labels` (of the rules).

    Returns:
        HTML; the same data give the same bytes.
    """
    files = resources.files(__package__ or "")
    style, script = ((files / name).read_text("utf-8") for name in ("page.css", "page.js"))
    allowed = {"style": style, "script": script}
    hashes = {kind: f"{kind}-src 'sha256-{_hash(text)}'" for kind, text in allowed.items()}
    policy = "; ".join(
        [
            "default-src 'none'",
            *hashes.values(),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    template = string.Template((files / "page.html").read_text("utf-8"))
    return template.substitute(
        policy=html.escape(policy),
        title=html.escape(title),
        style=style,
        script=script,
        version=html.escape(__version__),
        data=_embedded(data),
    )


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that no text in it can end: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
