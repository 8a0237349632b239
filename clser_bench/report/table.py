"""Leaderboards: cells, lines and tables, and how they are made of the frame of trials."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clser_bench.errors import SpecError, did_you_mean, printable
from clser_bench.problem import Finding
from clser_bench.protocol import Condition, Pair, base_code
from clser_bench.report.intervals import add_intervals, mixed_pairs
from clser_bench.report.statistics import Interval
from clser_bench.store.records import one_line
from clser_bench.store.sqlite import Store

EXTRAS = ("time", "energy", "point")

_ROLES = ("bound", "ranked", "submitted", "reference")
_BUDGET = {
    "steps": "{} steps",
    "labelled_batch": "{} labelled per class",
    "source_batch": "{} source",
    "target_batch": "{} target",
}
"""The hyper-parameters that are the budget of a trained method, and how they are written."""

ExposureOf = Callable[[str, str], str]
"""Feature set and corpus code to `labels`, `audio`, `no` or `unknown`: what an encoder was trained
with."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Some draws of a method on a pair, or on all pairs."""

    n: int  # draws that the mean is over; of a missing cell, the draws that are there
    mean: float | None  # UAR in percent; None where missing
    std: float | None  # sample standard deviation over draws; None where missing and for one draw
    status: str = "ok"  # `ok`, `failed` or `not_applicable`
    reason: str = ""  # of a missing cell, in one line
    war: float | None = None  # mean weighted recall (accuracy) in percent; None where missing
    seconds: float | None = None  # mean time per trial; None where no trial is ok
    energy: float | None = None  # mean joules per trial that was measured; None where none was


def holes(pairs: Sequence[Pair], cells: Sequence[Cell]) -> tuple[str, str] | None:
    """Status and reason of a mean over pairs some of which are missing; None where none is."""
    gone = [(pair, cell) for pair, cell in zip(pairs, cells, strict=True) if cell.mean is None]
    if not gone:
        return None
    failed = any(cell.status == "failed" for _, cell in gone)
    named = ", ".join(str(pair) for pair, _ in gone[:3])
    return "failed" if failed else "not_applicable", (
        f"no result for {len(gone)} of {len(pairs)} pairs: {named}{', …' if len(gone) > 3 else ''}"
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A method of a table."""

    method: str  # its name, the key of commands
    title: str  # its name in tables
    role: str  # `ranked`, `bound`, `reference` or `submitted`
    # of `labelled`, `source`, `target`, `unlabelled`, `speakers` and `prior` (or `estimated
    # prior`), those that it uses: labelled and unlabelled source, unlabelled target, added corpora,
    # speaker identities of the target, an assumption on its class prior
    uses: tuple[str, ...]
    assumes_prior: str  # `none`, `uniform` or `estimated`
    note: str
    cells: tuple[Cell, ...]  # one per pair of the table
    mean: Cell
    interval: Interval | None = None  # pointwise, of the mean
    ranks: tuple[int, int] | None = None  # simultaneous interval of its rank; None unless ranked
    # to the reference of the table: simultaneous for ranked methods, pointwise and without p value
    # for others
    difference: Interval | None = None
    # pair to hyper-parameters as text; only where asked for
    configurations: tuple[tuple[Pair, str], ...] = ()

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not separable` from the reference; empty if not compared."""
        return self.difference.verdict if self.difference else ""

    @property
    def shown(self) -> str:
        """Its title, with the role unless it is ranked."""
        return self.title if self.role == "ranked" else f"{self.title} ({self.role})"


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """One table: methods down, pairs across."""

    condition: Condition
    pairs: tuple[Pair, ...]
    classes: tuple[int, ...]  # number of classes of each pair; 0 where no method was planned
    lines: tuple[Line, ...]
    synthetic: bool  # a corpus is synthetic speech
    every: tuple[Line, ...] = ()  # rows of all methods of the condition, shown or not
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    budget: str = ""  # of trained methods, in a line; empty where there is none
    reference: str = ""  # the method that differences are to; empty for none
    family: int = 0  # number of ranked methods that are compared with the reference, shown or not
    ranked: int = 0  # number of ranked methods with a result on every pair, shown or not
    # least detectable differences to the reference in the family: their least, median and largest;
    # None without intervals
    detectable: tuple[float, float, float] | None = None
    exposed: tuple[str, ...] = ()  # code of each corpus whose labels the encoder was trained with
    extras: tuple[str, ...] = ()
    # `exploratory`, or `confirmed` with the card that froze its methods beforehand
    standing: str = "exploratory"

    @property
    def seeds(self) -> int:
        """The largest number of draws in any row."""
        return max((line.mean.n for line in self.lines), default=0)

    @property
    def title(self) -> str:
        """Suite, shots and setting; says so where the speech is synthetic."""
        return f"{self.condition.title}{' (synthetic speech)' if self.synthetic else ''}"

    def line(self, method: str) -> Line | None:
        """The row of a method; None where the table has none."""
        return next((line for line in self.lines if line.method == method), None)


def leaderboard(
    frame: pd.DataFrame,
    store: Store,
    *,
    methods: Collection[str] = (),
    extras: Collection[str] = (),
    intervals: bool = True,
    against: str = "",
    exposure: ExposureOf | None = None,
) -> tuple[Leaderboard, ...]:
    """Make the tables of a frame, one for each condition.

    Intervals and verdicts are those of all ranked methods of the condition, whatever is shown.

    Args:
        methods: those to show; all where empty.
        extras: of `EXTRAS`: `time` for seconds per trial, `energy` for joules per trial where they
            were measured, `point` for the hyper-parameters of each pair.
        intervals: add intervals and verdicts; reads predictions, not only metrics.
        against: the method that differences are to, in place of `REFERENCE`.
        exposure: what the encoders of feature sets were trained with.

    Raises:
        SpecError: an extra or a method is unknown.
        StoreError: the database is damaged.
    """
    known = set(frame.method)
    for name in extras:
        if name not in EXTRAS:
            raise SpecError(f"there is no extra '{name}'{did_you_mean(name, EXTRAS)}")
    for name in (*methods, *filter(None, [against])):
        if known and name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
    skipped = Counter(item.corpus for item in store.skipped())
    cards = _cards(store)
    found = store.findings()
    noted: dict[Condition, list[Finding]] = defaultdict(list)
    for line in store.lines() if found else ():
        if line.configuration is None:
            noted[line.condition] += found.get(line.request, ())
    made = []
    for every in _by_condition(frame):
        rows = every[every.protocol_version == every.protocol_version.max()]
        old = sorted(set(every.method) - set(rows.method))
        table = _table(rows, store, skipped=skipped, findings=noted, exposure=exposure, old=old)
        named = {line.method: cards.get((table.condition, line.method), "") for line in table.lines}
        table = dataclasses.replace(table, standing=_standing(named))
        if intervals or against:
            table = add_intervals(store, table, rows, against=against)
        if "point" in extras:
            table = _configured(table, rows, frame)
        shown = tuple(line for line in table.lines if not methods or line.method in methods)
        if shown:
            made.append(
                dataclasses.replace(table, lines=shown, every=table.lines, extras=tuple(extras))
            )
    return tuple(sorted(made, key=lambda table: table.condition.order()))


def rows_of(frame: pd.DataFrame, table: Leaderboard) -> pd.DataFrame:
    """The rows of a frame that a table is made of, of all its methods."""
    own = table.condition
    for rows in _by_condition(frame):
        if condition_of(rows).replace(protocol_version=own.protocol_version) == own:
            return rows[rows.protocol_version == own.protocol_version]
    return frame.iloc[:0]


def condition_of(rows: pd.DataFrame) -> Condition:
    """The condition of rows of a frame that share it."""
    return Condition.from_texts({name: str(rows[name].iloc[0]) for name in Condition().texts()})


def _by_condition(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Rows of each condition, those of all protocol versions together."""
    frame = frame[frame.configuration == 0] if len(frame) else frame
    fields = [f.name for f in dataclasses.fields(Condition) if f.name != "protocol_version"]
    for _, rows in frame.groupby(fields, sort=False):
        yield rows


def _table(
    rows: pd.DataFrame,
    store: Store,
    *,
    skipped: Mapping[str, int],
    findings: Mapping[Condition, Sequence[Finding]],
    exposure: ExposureOf | None,
    old: Sequence[str],
) -> Leaderboard:
    condition = condition_of(rows)
    first = rows.drop_duplicates("pair")
    sizes = zip(first.pair.to_list(), first.emotions.to_list(), strict=True)
    used = {Pair.parse(name): len(emotions) for name, emotions in sizes}
    order = {pair: place for place, pair in enumerate(store.pairs(condition.suite))}
    pairs = sorted(used, key=lambda pair: (order.get(pair, len(order)), pair))
    lines = sorted(
        _lines(rows, pairs, condition),
        key=lambda line: (
            *(_ROLES.index(line.role), line.mean.mean is None),
            *(-(line.mean.mean or 0.0), line.method),
        ),
    )
    codes = sorted({code for pair in pairs for code in (pair.source, pair.target)})
    seen = [c for c in codes if exposure and exposure(condition.features, base_code(c)) == "labels"]
    concerned = {"", *codes, *map(str, pairs)}
    noted = (item.sentence for item in findings.get(condition, ()) if item.corpus in concerned)
    warnings = []
    if rows.synthetic.any():
        warnings.append("The speech is synthetic: these numbers say nothing about real speech.")
    if seen:
        warnings.append(
            f"The encoder was trained with the emotion labels of {', '.join(seen)}: results on "
            "these corpora may be memory, and are not to be ranked with those of other features."
        )
    return Leaderboard(
        condition=condition,
        pairs=tuple(pairs),
        classes=tuple(used[pair] for pair in pairs),
        lines=tuple(lines),
        synthetic=bool(rows.synthetic.any()),
        remarks=(
            *_remarks(rows, pairs, old, {c: skipped.get(c, 0) for c in codes}),
            *(printable(text, limit=2_000) for text in dict.fromkeys(noted)),
        ),
        budget=_budget(rows),
        exposed=tuple(seen),
        warnings=tuple(warnings),
    )


def _cards(store: Store) -> dict[tuple[Condition, str], str]:
    """Condition and method to the digest of the card that froze it; empty where none did."""
    confirms = dict(
        store.query(
            "SELECT id, json_extract(request, '$.confirms') FROM requests WHERE json_valid(request)"
        )
    )
    lines = (line for line in store.lines() if line.configuration is None)
    return {(line.condition, line.method): str(confirms.get(line.request) or "") for line in lines}


def _standing(cards: Mapping[str, str]) -> str:
    """Exploratory, or confirmed with the card; the rows that are exploratory where some are."""
    names = sorted(set(filter(None, cards.values())))
    if not names:
        return "exploratory"
    confirmed = f"confirmed (card {', '.join(name[:12] for name in names)})"
    others = [method for method, name in cards.items() if not name]
    return f"{confirmed}, but exploratory: {', '.join(others)}" if others else confirmed


def _remarks(
    rows: pd.DataFrame, pairs: Sequence[Pair], old: Sequence[str], skipped: Mapping[str, int]
) -> Iterator[str]:
    if old:
        yield f"not shown, since they have an older protocol version (run again): {', '.join(old)}"
    mixed = mixed_pairs(rows)
    if mixed:
        names = ", ".join(str(pair) for pair in pairs if str(pair) in mixed)
        yield (
            "methods had different audio, labels or features, so they cannot be compared (run them "
            f"again): {names}"
        )
    for code, number in skipped.items():
        if number:
            yield f"{number} file(s) of {code} could not be read and were left out"


def _lines(rows: pd.DataFrame, pairs: Sequence[Pair], condition: Condition) -> Iterator[Line]:
    good = rows[rows.status == "ok"]
    by_cell = good.groupby(["method", "pair"])
    names = {"uar": "mean", "war": "war", "seconds": "seconds", "energy": "energy"}
    means = by_cell[list(names)].mean().rename(columns=names)
    cells = _records(means.assign(std=by_cell.uar.std(), n=by_cell.size()))
    planned = rows.groupby(["method", "pair"]).size().to_dict()
    # the spread of a mean is over the draws that all pairs share
    shared = good.pivot(index=["method", "seed"], columns="pair", values="uar")
    shared = shared.reindex(columns=list(map(str, pairs))).dropna()
    by_method = shared.mean(axis=1).groupby("method")
    spreads = _records(pd.DataFrame({"std": by_method.std(), "n": by_method.size()}))
    given = set(rows.method[rows.added != ""])
    for first in rows.drop_duplicates("method").to_dict("records"):
        method = first["method"]
        own = []
        for pair in pairs:
            key = method, str(pair)
            cell = dict(cells.get(key, {"n": 0, "mean": None, "std": None}))
            missing = "", ""
            if key not in planned:
                missing = "failed", "not part of the latest run of this method"
            elif cell["n"] < planned[key]:
                missing = _missing(rows[(rows.method == method) & (rows.pair == str(pair))])
            if missing[1]:
                cell |= {"mean": None, "std": None, "war": None}
            own.append(Cell(**cell, status=missing[0] or "ok", reason=missing[1]))
        yield Line(
            method=method,
            title=first["title"] or method,
            role=first["role"],
            uses=_uses(first, condition, added=method in given),
            assumes_prior=first["assumes_prior"],
            note=first["note"],
            cells=tuple(own),
            mean=_mean(pairs, own, spreads.get(method, {})),
        )


def _records(table: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """The rows of a table by their index, None where a value is unknown."""
    table = table.astype(object).where(table.notna(), None)
    # `to_dict("index")` takes several times as long
    names = list(map(str, table.columns))
    rows = zip(*(table[name].tolist() for name in names), strict=True)
    return {
        key: dict(zip(names, row, strict=True)) for key, row in zip(table.index, rows, strict=True)
    }


def _uses(row: Mapping[Any, Any], condition: Condition, *, added: bool) -> tuple[str, ...]:
    found = list(filter(None, row["uses"].split("+")))
    if added:
        found.append("unlabelled")
    if condition.normalisation == "speaker" and row["role"] != "submitted":
        found.append("speakers")
    prior = row["assumes_prior"]
    if prior != "none":
        found.append("prior" if prior == "uniform" else f"{prior} prior")
    return tuple(found)


def _missing(planned: pd.DataFrame) -> tuple[str, str]:
    """Status and reason of a cell some of whose draws are not ok."""
    status, reason, number = "failed", "not run yet", int((planned.status != "ok").sum())
    for kind in ("not_applicable", "failed"):  # a failure says more
        if len(found := planned[planned.status == kind]):
            status, reason, number = kind, one_line(found.reason.iloc[0]), len(found)
    share = f" ({number} of {len(planned)} draws)" if number < len(planned) else ""
    return status, reason + share


def _mean(pairs: Sequence[Pair], cells: Sequence[Cell], shared: Mapping[str, Any]) -> Cell:
    means: dict[str, Any] = {}
    for name in ("mean", "war", "seconds", "energy"):
        known = [value for cell in cells if (value := getattr(cell, name)) is not None]
        means[name] = float(np.mean(known)) if known else None
    if gone := holes(pairs, cells):
        means |= {"n": min(cell.n for cell in cells), "mean": None, "std": None, "war": None}
        return Cell(**means, status=gone[0], reason=gone[1])
    return Cell(**{"n": 0, "std": None, **shared, **means})


def _budget(rows: pd.DataFrame) -> str:
    """Steps and batch that most trained methods have, and which have others."""
    found: dict[tuple[Any, ...], list[str]] = {}
    every = rows[["method", "parameters"]].drop_duplicates().itertuples(index=False, name=None)
    for method, parameters in sorted(every, key=str):
        own = dict(parameters)
        if set(_BUDGET) <= set(own):
            members = found.setdefault(tuple(own[name] for name in _BUDGET), [])
            members += [] if method in members else [method]
    if not found:
        return ""
    shared = max(found, key=lambda values: len(found[values]))
    steps, *batch = (text.format(v) for text, v in zip(_BUDGET.values(), shared, strict=True))
    texts = [f"budget: {steps} of {' + '.join(batch)}"]
    for values, members in found.items():
        parts = zip(_BUDGET.values(), values, shared, strict=True)
        changed = [text.format(value) for text, value, usual in parts if value != usual]
        if changed:
            texts.append(f"{', '.join(members)}: {', '.join(changed)}")
    return "; ".join(texts)


def _configured(table: Leaderboard, rows: pd.DataFrame, frame: pd.DataFrame) -> Leaderboard:
    """With the hyper-parameters of each pair: those that vary, or all where none does."""
    lines = []
    for line in table.lines:
        own = rows[rows.method == line.method].drop_duplicates(["pair", "parameters"])
        every = frame[frame.method == line.method].parameters
        values = Counter(name for name, _ in set(itertools.chain.from_iterable(every)))
        chosen = {name for name, number in values.items() if number > 1}
        found: dict[Pair, list[str]] = {}
        for pair, parameters in zip(own.pair, own.parameters, strict=True):
            text = ", ".join(f"{k}={v}" for k, v in parameters if not chosen or k in chosen)
            found.setdefault(Pair.parse(pair), []).append(text)
        texts = tuple((pair, " or ".join(dict.fromkeys(text))) for pair, text in found.items())
        lines.append(dataclasses.replace(line, configurations=texts))
    return dataclasses.replace(table, lines=tuple(lines))
