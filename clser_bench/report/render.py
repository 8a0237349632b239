"""Leaderboards as text tables, LaTeX, CSV and JSON; by groups of pairs, by shots, by features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from clser_bench.errors import counted
from clser_bench.protocol import Condition, base_code
from clser_bench.report import formats
from clser_bench.report.formats import MISSING, Footnotes, Row, TextTable, bracketed, rounded
from clser_bench.report.intervals import REFERENCE
from clser_bench.report.statistics import POWER, SIGNIFICANT, Interval
from clser_bench.report.table import Cell, Leaderboard, Line

USES = {
    "labelled": "L",
    "source": "S",
    "target": "T",
    "unlabelled": "U",
    "speakers": "I",
    "prior": "P",
    "estimated prior": "p",
}
"""Data and assumptions that a method may use, and their marks."""

_USES = (
    "uses: L labelled source, S unlabelled source, T unlabelled target, U added unlabelled "
    "corpora, I speaker identities of the target (by speaker normalisation), P a uniform class "
    "prior of the target, p an estimated one."
)


def render(
    tables: Sequence[Leaderboard],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    explain: bool = False,
    pairs: bool = False,
    **shown: Any,
) -> str:
    """Write leaderboards as text; `shown` and errors are those of `formats.write`.

    Args:
        explain: what columns mean, below the table; Markdown always has it.
        pairs: columns of the pairs in LaTeX too, in place of intervals.
    """
    texts = (
        paper_table(table, pairs=pairs)
        if format == "latex"
        else text_table(table, explain=explain or format == "md")
        for table in tables
    )
    return formats.write((row for table in tables for row in rows(table)), texts, format, **shown)


def text_table(table: Leaderboard, *, explain: bool = False) -> TextTable:
    """A leaderboard with two lines above it, warnings, and a column for each pair."""
    notes = Footnotes()
    columns = _columns(table)
    body = []
    for line in table.lines:
        own = [name_text(line, notes), *(text(line) for text in columns.values())]
        own += [_missing(line, c, notes) if c.mean is None else value_text(c) for c in line.cells]
        body.append(tuple(own))
    aside = [line.role == "reference" for line in table.lines]
    if table.line("chance") is None:
        mean, *levels = (f"{level:.1f}" for level in chance_levels(table))
        body.insert(0, ("chance level", mean, *[""] * (len(columns) - 1), *levels))
        aside.insert(0, False)
    configurations = list(_configurations(table)) if "point" in table.extras else []
    return TextTable(
        title=table.title,
        header=(condition_line(table), _statistics_line(table), *table.warnings),
        names=("method", *columns, *map(str, table.pairs)),
        summary=len(columns),
        cells=tuple(body),
        aside=tuple(aside),
        below=(*configurations, *(explanation(table) if explain else ()), *table.remarks),
        footnotes=tuple(notes.texts),
    )


def chance_levels(table: Leaderboard) -> list[float]:
    """UAR of guesses in percent: the mean over the pairs, then of each pair."""
    levels = [100 / count for count in table.classes]
    return [sum(levels) / len(levels), *levels]


def condition_line(table: Leaderboard) -> str:
    """The condition of a table: what is usual is not named."""
    rules = table.condition
    parts = [f"features {rules.features}"]
    parts += [f"aligned by {rules.alignment}"] if rules.alignment else []
    parts += [f"target corrupted by {rules.corruption}"] if rules.corruption else []
    parts += [f"normalisation {rules.normalisation}", f"prior {rules.prior}"]
    parts += [f"added unlabelled speech {'+'.join(rules.unlabelled)}"] if rules.unlabelled else []
    parts += [f"selection {rules.selection}"] if rules.selection != "default" else []
    parts += [f"{name} {text}" for name, text in rules.unusual().items()]
    parts += [counted(len(table.pairs), "pair"), f"draws {table.seeds}", table.standing]
    return " · ".join(parts)


def _statistics_line(table: Leaderboard) -> str:
    parts = ["mean UAR in %, [95 % interval]"]
    if table.reference:
        parts.append(f"vs {table.reference}: {_family(table)}, * separable")
    if table.detectable:
        least, median, most = table.detectable
        parts.append(
            f"least detectable difference {median:.1f} ({least:.1f} to {most:.1f}) at "
            f"{100 * POWER:.0f} % power"
        )
    return " · ".join(parts)


def _family(table: Leaderboard) -> str:
    number = table.family if table.reference == REFERENCE else table.ranked
    every = "" if table.reference == REFERENCE else "every two of "
    return f"simultaneous over {every}{counted(number, 'ranked method')}" if number else "pointwise"


def explanation(table: Leaderboard) -> Iterator[str]:
    """Lines that say what the columns of a table mean."""
    yield "UAR: mean of per-class recalls. Cells of pairs: mean ± sample sd over n draws."
    drawn = table.condition.drawn
    clusters = "speakers" + " and draws" * ("source" in drawn)
    clusters += ", and the draws of resampled targets" * ("target" in drawn)
    yield (
        f"Intervals: {'three' if len(drawn) > 1 else 'two'}-way clusters ({clusters}), "
        "conditional on these corpora and their sentences."
    )
    if not drawn:
        yield "All labels: there is one labelled set, so intervals are over speakers only."
    if table.reference:
        yield (
            f"vs {table.reference}: difference of the means, paired; intervals are "
            f"{_family(table)} (max-t), whatever rows are shown; * where p < {SIGNIFICANT}, which "
            "is where the interval excludes 0. Of bounds and references it is pointwise."
        )
    if table.ranked:
        yield (
            f"rank: simultaneous interval over all pairs of the {table.ranked} ranked methods; "
            "rows are ordered by mean."
        )
    if table.detectable:
        yield (
            "Least detectable difference: true difference to the reference that this table would "
            f"find with a probability of {POWER}; median (least to largest) over the methods."
        )
    yield _USES
    yield f"protocol version {table.condition.protocol_version}"
    if table.budget:
        yield table.budget


def _columns(table: Leaderboard) -> dict[str, Callable[[Line], str]]:
    made: dict[str, Callable[[Line], str]] = {"mean": lambda line: value_text(line.mean)}
    if table.ranked:
        made["[95 %]"] = lambda line: interval_text(line.interval)
    if table.reference:
        made[f"vs {table.reference} [95 %]"] = lambda line: difference_text(line.difference)
    if table.ranked:
        made["rank"] = rank_text
    made["uses"] = lambda line: "".join(USES.get(name, name) for name in line.uses)
    made["n"] = lambda line: str(line.mean.n)
    if "time" in table.extras:
        made["s per trial"] = lambda line: _number(line.mean.seconds, 2)
    if "energy" in table.extras:
        made["J/trial"] = lambda line: _number(line.mean.energy, 2)
    return made


def _number(value: float | None, digits: int = 1) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def name_text(line: Line, notes: Footnotes, *, role: bool = True) -> str:
    """A method's title, with its role unless it is ranked, and the mark of its note."""
    note = f"{line.title}: {line.note}" if line.note else ""
    return f"{line.shown if role else line.title}{notes.mark(note)}"


def _missing(line: Line, cell: Cell, notes: Footnotes) -> str:
    kind = "not applicable: " if cell.status == "not_applicable" else ""
    return f"{MISSING}{notes.mark(f'{line.title}: {kind}{cell.reason}')}"


def value_text(cell: Cell) -> str:
    """A mean with its deviation."""
    return MISSING if cell.mean is None else formats.spread(f"{cell.mean:.1f}", cell.std)


def interval_text(interval: Interval | None) -> str:
    """The ends of an interval of a mean."""
    return bracketed(interval, "{:.1f}".format).strip() or MISSING


def difference_text(interval: Interval | None) -> str:
    """A difference with its interval, and a star where it is separable from zero."""
    if interval is None:
        return ""
    return formats.change(interval) + "*" * (interval.verdict in ("better", "worse"))


def rank_text(line: Line) -> str:
    """An interval of ranks, such as `2–5`."""
    if line.ranks is None:
        return ""
    low, high = line.ranks
    return str(low) if low == high else f"{low}–{high}"


def _configurations(table: Leaderboard) -> Iterator[str]:
    """A line for each method and configuration, with the pairs that have it."""
    for line in table.lines:
        found: dict[str, list[str]] = {}
        for pair, text in line.configurations:
            if text and pair in table.pairs:
                found.setdefault(text, []).append(str(pair))
        for text, pairs in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
            where = "all pairs" if len(pairs) == len(table.pairs) else " ".join(pairs)
            yield f"{line.title}: {text}: {where}"


def paper_table(table: Leaderboard, *, pairs: bool = False) -> TextTable:
    """A leaderboard for a paper: mean, interval and difference, or mean and pairs.

    Methods better than the reference are bold where no ranked method is separably better than they
    are; rows that are not ranked are grey.
    """
    notes = Footnotes()
    better = [place for place, line in enumerate(table.lines) if line.verdict == "better"]
    bold = [place for place in better if (table.lines[place].ranks or (0,))[0] == 1]
    names = ["method", "mean"]
    names += list(map(str, table.pairs)) if pairs else ["[95 %]"]
    differences = bool(table.reference) and not pairs
    names += [f"vs {table.reference}"] if differences else []
    body = []
    for line in table.lines:
        star = "*" if pairs and line.verdict in ("better", "worse") else ""
        shown = [line.mean, *(line.cells if pairs else ())]
        name = name_text(line, notes, role=False)
        means = [_missing(line, c, notes) if c.mean is None else _number(c.mean) for c in shown]
        cells = [name, means[0] + star, *means[1:]]
        cells += [] if pairs else [interval_text(line.interval)]
        body.append((*cells, *([difference_text(line.difference)] if differences else [])))
    rules = table.condition
    about = f"{table.title}, {rules.features}, normalisation {rules.normalisation}"
    about += f", prior {rules.prior}" * (rules.prior != "natural")
    about += f": mean UAR (%){'' if pairs else ' [95 % interval]'}, "
    number = f"{counted(len(table.pairs), 'pair')}, {counted(table.seeds, 'draw')}"
    caption = [f"{about}{number}, {table.standing}."]
    if table.reference and pairs:
        caption.append(f"* separable from {table.reference}, {_family(table)}.")
    elif table.reference:
        caption.append(f"vs {table.reference}: {_family(table)}, * separable.")
    caption += ["Bold: none separably better."] if bold else []
    caption += ["Grey: not ranked."] * any(line.role != "ranked" for line in table.lines)
    return TextTable(
        title=table.title,
        caption=" ".join(caption),
        names=tuple(names),
        cells=tuple(body),
        aside=tuple(line.role != "ranked" for line in table.lines),
        bold=tuple(bold),
        below=table.warnings,
        footnotes=tuple(notes.texts),
    )


def rows(table: Leaderboard) -> Iterator[Row]:
    """The cells of a table, one flat row each, every method's mean after its pairs.

    Rows of a mean carry intervals, ranks, `reference`, `verdict` and the simultaneous difference
    where the table has them; `pointwise_low` and `pointwise_high` are of that difference alone.
    """
    rules = condition_row(table.condition)
    for line in table.lines:
        named = rules | {"method": line.method, "title": line.title, "kind": line.role}
        named |= {"uses": "+".join(line.uses), "standing": table.standing}
        texts = dict(line.configurations)
        for pair, cell in zip(table.pairs, line.cells, strict=True):
            row = named | {"pair": str(pair)} | _cell_row(table, cell)
            yield row | ({"point": texts.get(pair, "")} if "point" in table.extras else {})
        row = named | {"pair": "mean"} | _cell_row(table, line.mean)
        if table.ranked or line.interval:
            low, high = line.ranks or (None, None)
            row |= formats.ends("interval_", line.interval) | {"rank_low": low, "rank_high": high}
        if table.reference:
            found = line.difference
            left, right = (found and found.pointwise) or (None, None)
            row |= {"reference": table.reference, "verdict": line.verdict or None}
            row |= {"difference": rounded(found.estimate if found else None)}
            row |= formats.ends("difference_", found)
            row |= {"difference_p": rounded(found.p if found else None)}
            row |= {"pointwise_low": rounded(left), "pointwise_high": rounded(right)}
        yield row


def condition_row(condition: Condition) -> Row:
    """The fields of a condition for CSV and JSON; the number of shots is a number."""
    numbers = {"shots": condition.shots, "protocol_version": condition.protocol_version}
    return {**condition.texts(), **numbers}


def _cell_row(table: Leaderboard, cell: Cell) -> Row:
    row: Row = {"n": cell.n, "uar_mean": cell.mean, "uar_std": cell.std}
    row |= {"status": cell.status, "reason": cell.reason}
    costs = {"time": ("seconds", cell.seconds), "energy": ("energy", cell.energy)}
    row |= {name: value for key, (name, value) in costs.items() if key in table.extras}
    return {name: rounded(v) if isinstance(v, float) else v for name, v in row.items()}


def grouped(table: Leaderboard, by: str, families: Mapping[str, str]) -> TextTable:
    """A table with a column for each group of pairs, the mean of the group's cells.

    Args:
        by: `family` (of languages), `source`, `target`, or `part` (genders and sentences of the
            parts of corpora, `female→male`).
        families: of languages, by the code of a corpus.
    """
    groups: dict[str, list[int]] = {}
    for place, pair in enumerate(table.pairs):
        codes = pair.source, pair.target
        name = {
            "family": "→".join(families.get(base_code(code), code) for code in codes),
            "source": f"{pair.source}→",
            "target": f"→{pair.target}",
            "part": "→".join(
                # the halves of the speakers are alike
                ".".join(w for w in code.split(".")[1:] if w not in ("first", "second")) or "all"
                for code in codes
            ),
        }
        groups.setdefault(name[by], []).append(place)
    notes, cells = Footnotes(), []
    for line in table.lines:
        texts = []
        for places in groups.values():
            means = [mean for at in places if (mean := line.cells[at].mean) is not None]
            texts.append(MISSING if len(means) < len(places) else f"{np.mean(means):.1f}")
        cells.append((name_text(line, notes), _with_interval(line), *texts))
    about = f"by {by}: mean UAR over the pairs of a group; in brackets how many pairs"
    return TextTable(
        title=f"{table.title}, by {by}",
        header=(condition_line(table), about, *table.warnings),
        names=("method", "mean", *(f"{name} ({len(g)})" for name, g in groups.items())),
        cells=tuple(cells),
        aside=tuple(line.role == "reference" for line in table.lines),
        footnotes=tuple(notes.texts),
    )


def _with_interval(line: Line) -> str:
    mean = line.mean.mean
    return MISSING if mean is None else f"{mean:.1f}{bracketed(line.interval, '{:.1f}'.format)}"


def across(tables: Sequence[Leaderboard], by: str) -> tuple[TextTable, ...]:
    """One table for those that differ in `shots` or `features` only, a column for each value."""
    usual: dict[str, Any] = {"shots": 1} if by == "shots" else {"features": "", "alignment": ""}
    made: dict[Condition, list[Leaderboard]] = {}
    for table in tables:
        made.setdefault(table.condition.replace(**usual), []).append(table)
    return tuple(_joined(group, by) for group in made.values())


def _joined(tables: Sequence[Leaderboard], by: str) -> TextTable:
    shown: dict[str, Line] = {}
    for table in tables:
        for line in table.lines:
            shown.setdefault(line.method, line)
    values = [str(getattr(table.condition, by)) for table in tables]
    marks = [" ‡" * bool(table.exposed) for table in tables]
    first = tables[0].condition
    parts = [f"features {first.features}"] * (by != "features")
    parts += [f"normalisation {first.normalisation}", f"prior {first.prior}", first.setting]
    draws = [counted(table.seeds, "draw") for table in tables]
    each = (f"{by} {value}: {text}" for value, text in zip(values, draws, strict=True))
    shown_draws = draws[0] if len(set(draws)) == 1 else ", ".join(each)
    notes = Footnotes()
    cells = []
    for method, line in shown.items():
        found = zip((table.line(method) for table in tables), marks, strict=True)
        texts = (f"{_with_interval(one) if one else MISSING}{mark}" for one, mark in found)
        cells.append((name_text(line, notes), *texts))
    warnings = dict.fromkeys(warning for table in tables for warning in table.warnings)
    exposed = ["‡: the encoder was trained with emotion labels of these corpora"] * any(marks)
    suite = first.suite if first.classes == "shared" else f"{first.suite}:{first.classes}"
    return TextTable(
        title=f"{suite}, by {by}",
        header=(
            " · ".join(parts),
            f"mean UAR over the pairs with its 95 % interval; {shown_draws}",
            *warnings,
        ),
        names=("method", *values),
        cells=tuple(cells),
        aside=tuple(line.role == "reference" for line in shown.values()),
        below=tuple(exposed),
        footnotes=tuple(notes.texts),
    )
