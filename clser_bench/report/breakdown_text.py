"""Breakdowns as text for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.breakdown import Breakdown, Part
from clser_bench.report.formats import (
    MISSING,
    Footnotes,
    Row,
    TextTable,
    csv_of,
    json_of,
    rounded,
    signed,
    write_tables,
)
from clser_bench.report.groups import SHUFFLES, Correlation, Gap, Value
from clser_bench.report.render import FORMATS, condition_line, condition_row

_UAR = (
    "UAR within each group: mean of the recalls of the emotions that occur in it, %. Cells: mean ± "
    "sample sd over n draws."
)
_THIRDS = "Groups are thirds of each target corpus."
_SHUFFLED = (
    "shuffled: the gap when utterances are assigned to speakers at random within each emotion "
    f"(mean of {SHUFFLES} times). A gap near it says nothing about the speakers."
)
_RHO = (
    "rho [95 %]: Spearman's correlation, over utterances, of the share of people and the share of "
    "draws (mean over pairs) that are right; jackknife over speakers. rho within: the same within "
    "each emotion, averaged."
)
_WITHIN = (
    "People know some emotions better than others, so a method that favours these has a rho, even "
    "one that always gives the same answer; rho within is free of that."
)
_TITLES = {
    "emotion": "recall of each emotion",
    "confusion": "confusion of emotions",
    "speaker": "UAR of each speaker",
    "gender": "UAR by gender",
    "length": "UAR by length of the utterance",
    "loudness": "UAR by loudness of the utterance",
    "human": "UAR by how many people recognised the emotion",
}
_HEADERS = {
    "emotion": ("Recall, %: mean ± sample sd over n draws.",),
    "confusion": (
        "Rows: the emotion. Columns: the predicted emotion, in % of the row, over all draws.",
        "utterances: those of the row, counted once for each draw and pair.",
        "An emotion that a pair lacks is never predicted there.",
    ),
    "speaker": (
        _UAR,
        "Worst and best are of the speakers who have all emotions.",
        _SHUFFLED,
    ),
    "gender": (_UAR, "With two or three speakers of a gender the interval is too narrow."),
    "length": (_UAR, _THIRDS),
    "loudness": (
        _UAR,
        f"{_THIRDS} Loudness: RMS of the file in dBFS (0: a square wave at full scale).",
    ),
    "human": (
        _UAR,
        _RHO,
        _WITHIN,
        "A corpus leaves out what few people recognised, which makes such correlations smaller.",
    ),
}
_INTERVAL = (
    "[low, high]: pointwise 95 % interval of the difference over speakers and draws, conditional "
    "on these corpora."
)


def render(
    breakdowns: Sequence[Breakdown],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
    each_pair: bool = False,
) -> str:
    """Write breakdowns as text.

    Args:
        breakdowns: as `break_down` made them.
        format: `table` for a terminal or a pipe, `md`, `latex`, `csv` or `json`. The last two
            have every pair and every speaker.
        width: columns of the terminal, for `table`.
        each_pair: add a table for each pair, in formats that are tables.

    Raises:
        SpecError: there is no such format.
    """
    if format in ("csv", "json"):
        rows = [row for item in breakdowns for row in flat_rows(item)]
        return csv_of(rows) if format == "csv" else json_of(rows)
    if format not in FORMATS:
        raise SpecError(f"there is no format '{format}'{did_you_mean(format, FORMATS)}")
    tables = [table for item in breakdowns for table in text_tables(item, each_pair=each_pair)]
    return write_tables(tables, format, width=width)


def text_tables(breakdown: Breakdown, *, each_pair: bool = False) -> Iterator[TextTable]:
    """A breakdown as tables of text cells: over all pairs first, then each pair if asked for."""
    for pair in (None, *(breakdown.pairs if each_pair else ())):
        parts = [part for part in breakdown.parts if part.pair == pair]
        if breakdown.by == "confusion":
            for part in parts:
                yield _confusion(breakdown, part)
        elif breakdown.by == "speaker":
            targets = [pair.target] if pair else [item.target for item in breakdown.pairs]
            for target in dict.fromkeys(targets):
                yield _speakers(breakdown, parts, pair, target)
        else:
            yield _groups(breakdown, parts, pair)


def flat_rows(breakdown: Breakdown) -> Iterator[Row]:
    """The figures of a breakdown, one row each, in order of method and pair.

    `figure` is `recall`, `share`, `uar`, `gap`, `rho` or `rho_within`; `pair` is `mean` over all.
    """
    for part in breakdown.parts:
        first = condition_row(breakdown.table.condition) | {
            "by": breakdown.by,
            "method": part.line.method,
            "title": part.line.title,
            "role": part.line.role,
            "pair": str(part.pair or "mean"),
            "status": part.status,
            "reason": part.reason,
        }
        for row in _figures(breakdown.by, part):
            yield first | row


def _figures(by: str, part: Part) -> Iterator[Row]:
    figure = {"emotion": "recall", "confusion": "share"}.get(by, "uar")
    for value in part.values:
        yield _row(figure, value.group, value.mean, value.std, n=value.n) | {
            "predicted": value.predicted or None,
            "count": value.count,
            "classes": value.classes,
        }
    for gap in part.gaps:
        yield _row("gap", f"{gap.high} − {gap.low}", gap.mean, gap.std, n=gap.n) | {
            "low": rounded(gap.interval.low if gap.interval else None),
            "high": rounded(gap.interval.high if gap.interval else None),
            "shuffled": rounded(gap.shuffled),
        }
    for found in part.correlations:
        name = "rho_within" if found.within else "rho"
        ends = {"low": rounded(found.low), "high": rounded(found.high)}
        yield _row(name, None, found.rho, None, n=None) | {"count": found.n} | ends
    if part.status != "ok":
        yield _row(figure, None, None, None, n=None)


def _row(
    figure: str, group: str | None, mean: float | None, std: float | None, *, n: int | None
) -> Row:
    row: Row = {"figure": figure, "group": group, "predicted": None, "n": n}
    row |= {"mean": rounded(mean), "std": rounded(std), "count": None, "classes": None}
    return row | {"low": None, "high": None, "shuffled": None}


def _groups(breakdown: Breakdown, parts: Sequence[Part], pair: Pair | None) -> TextTable:
    gap = next((part.gaps[0] for part in parts if part.gaps), None)
    people = any(part.correlations for part in parts)
    names = ["method", *breakdown.groups]
    names += [f"{gap.high} − {gap.low}"] if gap else []
    names += ["rho [95 %]", "rho within"] if people else []
    cells, notes = [], Footnotes()
    for part in parts:
        values = {value.group: value for value in part.values}
        most = max((value.classes for value in part.values), default=0)
        row = [_value(values.get(group), most) for group in breakdown.groups]
        row += [_gap(part.gaps[0]) if part.gaps else MISSING] if gap else []
        row += [_rho(found) for found in part.correlations] if people else []
        row += [MISSING] * (len(names) - 1 - len(row))  # a missing result has no correlations
        draws = str(max((value.n for value in part.values), default=0))
        cells.append((_name(part, notes), *row, draws))
    more = (_INTERVAL,) if gap and gap.interval else ()
    return _table(breakdown, pair, [*names, "n"], cells, notes, more=more)


def _speakers(
    breakdown: Breakdown, parts: Sequence[Part], pair: Pair | None, target: str
) -> TextTable:
    cells, notes = [], Footnotes()
    for part in parts:
        values = {value.group: value for value in part.values}
        gap = next((gap for gap in part.gaps if gap.low.startswith(f"{target} ")), None)
        row: tuple[str, ...] = (MISSING,) * 6
        if gap is not None:
            ends = (
                f"{end.removeprefix(f'{target} ')}: {_value(values[end])}"
                for end in (gap.low, gap.high)
            )
            shuffled = MISSING if gap.shuffled is None else f"{gap.shuffled:.1f}"
            row = (*ends, _gap(gap), shuffled, str(gap.of), str(gap.n))
        cells.append((_name(part, notes), *row))
    names = ("method", "worst", "best", "gap", "shuffled", "speakers", "n")
    return _table(breakdown, pair, names, cells, notes, target=target)


def _confusion(breakdown: Breakdown, part: Part) -> TextTable:
    shares = {(value.group, value.predicted): value for value in part.values}
    emotions = [e for e in EMOTIONS if any(e == value.group for value in part.values)]
    cells, notes = [], Footnotes()
    for true in emotions:
        of_row = [shares.get((true, predicted)) for predicted in emotions]
        share = [MISSING if value is None else f"{value.mean:.1f}" for value in of_row]
        cells.append((true, *share, str(sum(value.count for value in of_row if value))))
    name = _name(part, notes)
    if not cells:
        cells.append((name, MISSING))
    n = max((value.n for value in part.values), default=0)
    names = ("emotion", *emotions, "utterances") if emotions else ("method", "share")
    return _table(breakdown, part.pair, names, cells, notes, about=f", {name}, n {n}")


def _table(
    breakdown: Breakdown,
    pair: Pair | None,
    names: Sequence[str],
    cells: Sequence[tuple[str, ...]],
    notes: Footnotes,
    *,
    about: str = "",
    target: str = "",
    more: Sequence[str] = (),
) -> TextTable:
    table = breakdown.table
    shown = [item for item in breakdown.pairs if not target or item.target == target]
    over = f" ({' '.join(map(str, shown))})" if len(shown) < len(table.pairs) else ""
    header = [
        condition_line(table),
        f"pair {pair}" if pair else f"mean over {len(shown)} pairs{over}",
    ]
    about += f", target {target}" if target else ""
    about += f", {pair}" if pair else ""
    return TextTable(
        title=f"{table.title}: {_TITLES[breakdown.by]}{about}",
        header=(*header, *table.warnings, *_HEADERS[breakdown.by], *more),
        names=tuple(names),
        cells=tuple(cells),
        below=breakdown.remarks,
        footnotes=tuple(notes.texts),
    )


def _name(part: Part, notes: Footnotes) -> str:
    """A method's name with its role, and a mark where its result is missing."""
    if part.status == "ok":
        return part.line.shown
    why = "not applicable: " if part.status == "not_applicable" else ""
    return f"{part.line.shown}{notes.mark(f'{part.line.title}: {why}{part.reason}')}"


def _value(value: Value | None, most: int = 0) -> str:
    """A figure; and of how many emotions, where other groups have more."""
    if value is None:
        return MISSING
    fewer = f" ({value.classes} of {most} emotions)" if value.classes < most else ""
    return _spread(f"{value.mean:.1f}", value.std) + fewer


def _gap(gap: Gap) -> str:
    found = gap.interval
    if found is None or found.low is None or found.high is None:
        return _spread(signed(gap.mean), gap.std)
    return f"{signed(gap.mean)} [{signed(found.low)}, {signed(found.high)}]"


def _rho(found: Correlation) -> str:
    if found.rho is None:
        return MISSING
    if found.low is None or found.high is None:
        return f"{found.rho:.2f}"
    return f"{found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _spread(text: str, std: float | None) -> str:
    return text if std is None else f"{text} ± {std:.1f}"
