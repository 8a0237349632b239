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
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pandas as pd

from clser_bench import __version__
from clser_bench.protocol import Condition
from clser_bench.report import render
from clser_bench.report.formats import ends, rounded
from clser_bench.report.intervals import confusions
from clser_bench.report.table import Cell, Leaderboard, Line, rows_of
from clser_bench.store.sqlite import Store

Json = dict[str, Any]

_FILES = resources.files(__name__)

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
RULES |= {n: n.capitalize() for n in Condition().texts() if n not in (*RULES, "protocol_version")}
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


def page_data(
    tables: Sequence[Leaderboard],
    frame: pd.DataFrame,
    store: Store,
    *,
    documented: Mapping[str, Mapping[str, str]] | None = None,
) -> Json:
    """Collect all that the page of some tables shows; see `page`.

    Args:
        documented: of methods whose documentation is at hand, `summary`, `reference` and
            `departures` (from the publication).
    """
    lines = {line.method: line for table in tables for line in table.lines}
    about = documented or {}
    return {
        "conditions": [_condition(table, rows_of(frame, table), store) for table in tables],
        "methods": [_card(name, line, about.get(name, {})) for name, line in sorted(lines.items())],
        "labels": RULES,
    }


def _condition(table: Leaderboard, rows: pd.DataFrame, store: Store) -> Json:
    texts = table.condition.texts()
    emotions = dict(zip(rows.pair, rows.emotions, strict=True))
    cells = _details(store, rows[rows.method.isin([line.method for line in table.lines])])
    methods = [_row(table, line, cells) for line in table.lines]
    if table.line("chance") is None:  # its level is computed from the classes
        whole, *levels = (Cell(n=0, mean=x, std=None) for x in render.chance_levels(table))
        own: Json = {"method": "chance level", "title": "chance level", "role": "bound"}
        own |= {"computed": True, "marks": [], **_numbers(whole), **_compared()}
        methods.append(own | {"cells": list(map(_numbers, levels))})
    return {
        "key": _key(table.condition),
        "title": table.title,
        "standing": table.standing,
        "rules": {name: texts[name] for name in RULES},
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
    first, texts = ("suite", "features", "shots"), condition.texts()
    rest = condition.unusual(besides=(*first, "protocol_version"))
    named = (f"{name}={rest[name]}" for name in RULES if name in rest)
    return ",".join([*(texts[name] for name in first), *named])


def _compared(line: Line | None = None) -> Json:
    """Interval, difference, verdict and rank of a line, null where there are none."""
    found = line.difference if line else None
    return {
        **ends("", line.interval if line else None),
        "difference": rounded(found.estimate if found else None),
        **ends("difference_", found),
        "verdict": line.verdict if line else "",
        "rank": line.ranks if line else None,
    }


def _row(table: Leaderboard, line: Line, cells: Mapping[tuple[str, str], Json]) -> Json:
    return {
        "method": line.method,
        "title": line.shown,
        "role": line.role,
        "marks": [[render.USES.get(use, use), f"uses {_USES.get(use, use)}"] for use in line.uses],
        **_numbers(line.mean),
        **_compared(line),
        "cells": [
            _numbers(cell)
            | {"status": cell.status, "reason": cell.reason}
            | cells.get((line.method, str(pair)), {"draws": []})
            for pair, cell in zip(table.pairs, line.cells, strict=True)
        ],
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


def _card(name: str, line: Line, about: Mapping[str, str]) -> Json:
    return {
        "name": name,
        "title": line.title,
        **{part: about.get(part, "") for part in ("summary", "reference", "departures")},
        "uses": ", ".join(_USES.get(use, use) for use in line.uses),
        "prior": line.assumes_prior,
        "note": line.note,
    }


def page(data: Mapping[str, Any]) -> str:
    """Write a page."""
    names = {"style": "page.css", "script": "page.js", "template": "page.html"}
    files = {kind: (_FILES / name).read_text("utf-8") for kind, name in names.items()}
    policy = "default-src 'none'"
    for kind in ("style", "script"):
        found = hashlib.sha256(files[kind].encode("utf-8")).digest()
        policy += f"; {kind}-src 'sha256-{base64.b64encode(found).decode('ascii')}'"
    policy += "; img-src data:; base-uri 'none'; form-action 'none'"
    embedded = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":  # so that no text in the JSON can end it
        embedded = embedded.replace(character, f"\\u{ord(character):04x}")
    return string.Template(files.pop("template")).substitute(
        files,
        policy=html.escape(policy),
        title="clser-bench leaderboard",
        version=html.escape(__version__),
        data=embedded,
    )
