"""Breakdowns as text for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report.breakdown import Breakdown, Part
from clser_bench.report.breakdown_gaps import SHUFFLES, Gap
from clser_bench.report.breakdown_people import Correlation
from clser_bench.report.breakdown_rows_text import rows
from clser_bench.report.breakdown_scores import Value
from clser_bench.report.latex import latex_tables
from clser_bench.report.layout import HOLE, Layout, signed
from clser_bench.report.rows import csv_of, json_of
from clser_bench.report.text import markdown, terminal

FORMATS = ("table", "md", "latex", "csv", "json")
WIDTH = 120

_TITLES = {
    "emotion": "recall of each emotion",
    "confusion": "what is taken for what",
    "speaker": "UAR of each speaker",
    "gender": "UAR by gender",
    "length": "UAR by length of the utterance",
    "loudness": "UAR by loudness of the utterance",
    "human": "UAR by how many people recognised the emotion",
}
_GROUP_OF_UTTERANCES = (
    "UAR within each group: mean of the recalls of the emotions that occur in it, %. Cells: mean ± "
    "sample sd over n draws."
)
_SHUFFLED = (
    "shuffled: the gap when utterances go to speakers at random within each emotion (mean of "
    f"{SHUFFLES} times). A gap near it says nothing about the speakers."
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
_THIRDS = "Groups are thirds of each target corpus."
_HEADERS = {
    "emotion": ("Recall, %: mean ± sample sd over n draws.",),
    "confusion": (
        "Rows: the emotion. Columns: what it was taken for, in % of the row, over all draws.",
        "utterances: those of the row, counted once for each draw and pair.",
        "An emotion that a pair lacks is never predicted there.",
    ),
    "speaker": (
        _GROUP_OF_UTTERANCES,
        "Worst and best are of the speakers who have all emotions.",
        _SHUFFLED,
    ),
    "gender": (
        _GROUP_OF_UTTERANCES,
        "With two or three speakers of a gender the interval is too narrow.",
    ),
    "length": (_GROUP_OF_UTTERANCES, _THIRDS),
    "loudness": (
        _GROUP_OF_UTTERANCES,
        f"{_THIRDS} Loudness: RMS of the file in dBFS (0: a square wave at full scale).",
    ),
    "human": (
        _GROUP_OF_UTTERANCES,
        _RHO,
        _WITHIN,
        "A corpus leaves out what few people recognised, which makes such correlations smaller.",
    ),
}
_INTERVAL = (
    "[low, high]: 95 % interval of the difference, crossed bootstrap of speakers and draws, "
    "conditional on these corpora."
)
_Cells = tuple[str, ...]


def render(
    breakdowns: Sequence[Breakdown],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
    color: bool = False,
    each_pair: bool = False,
) -> str:
    """Write breakdowns as text.

    Args:
        breakdowns: as `break_down` made them.
        format: `table` for a terminal or a pipe, `md`, `latex`, `csv` or `json`. The last two
            have every pair and every speaker.
        width: columns of the terminal, for `table`; 120 where None.
        color: grey oracle rows by escape codes, for `table`.
        each_pair: add a table for each pair, in formats that are tables.

    Returns:
        Text that ends in a line break.

    Raises:
        SpecError: there is no such format.
    """
    if format not in FORMATS:
        raise SpecError(f"there is no format '{format}'{did_you_mean(format, FORMATS)}")
    if format in ("csv", "json"):
        found = [row for item in breakdowns for row in rows(item)]
        return csv_of(found) if format == "csv" else json_of(found)
    if not breakdowns:
        return "No results to show.\n"
    layouts = [layout for item in breakdowns for layout in lay_out(item, each_pair=each_pair)]
    if format == "latex":
        return latex_tables(layouts)
    if format == "md":
        return "\n".join(markdown(layout) for layout in layouts)
    return "\n".join(terminal(layout, width=width or WIDTH, color=color) for layout in layouts)


def lay_out(breakdown: Breakdown, *, each_pair: bool = False) -> Iterator[Layout]:
    """Write a breakdown as tables of text cells: over all pairs first, then of each.

    Args:
        breakdown: the figures.
        each_pair: also of each pair.
    """
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


def _groups(breakdown: Breakdown, parts: Sequence[Part], pair: Pair | None) -> Layout:
    gap = next((part.gaps[0] for part in parts if part.gaps), None)
    people = any(part.correlations for part in parts)
    names = ["method", *breakdown.groups]
    names += [f"{gap.high} − {gap.low}"] if gap else []
    names += ["rho [95 %]", "rho within"] if people else []
    cells, notes = [], _Notes()
    for part in parts:
        values = {value.group: value for value in part.values}
        most = max((value.classes for value in part.values), default=0)
        row = [_value(values.get(group), most) for group in breakdown.groups]
        row += [_gap(part.gaps[0]) if part.gaps else HOLE] if gap else []
        row += [_rho(found) for found in part.correlations] if people else []
        row += [HOLE] * (len(names) - 1 - len(row))  # a hole has no correlations
        draws = str(max((value.n for value in part.values), default=0))
        cells.append((notes.name(part), *row, draws))
    more = (_INTERVAL,) if gap and gap.interval else ()
    names += ["n"]
    return _layout(breakdown, pair, names=names, cells=cells, parts=parts, notes=notes, more=more)


def _speakers(
    breakdown: Breakdown, parts: Sequence[Part], pair: Pair | None, target: str
) -> Layout:
    notes = _Notes()
    cells: list[_Cells] = []
    for part in parts:
        values = {value.group: value for value in part.values}
        gap = next((gap for gap in part.gaps if gap.low.startswith(f"{target} ")), None)
        row: _Cells = (HOLE,) * 6
        if gap is not None:
            ends = (f"{_name(end, target)}: {_value(values[end])}" for end in (gap.low, gap.high))
            shuffled = HOLE if gap.shuffled is None else f"{gap.shuffled:.1f}"
            row = (*ends, _gap(gap), shuffled, str(gap.of), str(gap.n))
        cells.append((notes.name(part), *row))
    names = ("method", "worst", "best", "gap", "shuffled", "speakers", "n")
    return _layout(
        breakdown, pair, target=target, names=names, cells=cells, parts=parts, notes=notes
    )


def _confusion(breakdown: Breakdown, part: Part) -> Layout:
    shares = {(value.group, value.predicted): value for value in part.values}
    emotions = [e for e in EMOTIONS if any(e == value.group for value in part.values)]
    notes = _Notes()
    cells = []
    for true in emotions:
        of_row = [shares.get((true, predicted)) for predicted in emotions]
        share = [HOLE if value is None else f"{value.mean:.1f}" for value in of_row]
        cells.append((true, *share, str(sum(value.count for value in of_row if value))))
    name = notes.name(part)
    if not cells:
        cells.append((name, HOLE))
    n = max((value.n for value in part.values), default=0)
    what = f", {name}, n {n}"
    names = ("emotion", *emotions, "utterances") if emotions else ("method", "share")
    return _layout(breakdown, part.pair, what=what, names=names, cells=cells, notes=notes)


class _Notes:
    """Reasons of holes, numbered in order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def name(self, part: Part) -> str:
        """A method's name with its kind, and the number of the reason why it is a hole."""
        kind = "" if part.kind == "ranked" else f" ({part.kind})"
        if part.status == "ok":
            return f"{part.method}{kind}"
        why = "not applicable: " if part.status == "not_applicable" else ""
        text = f"{part.method}: {why}{part.reason}"
        if text not in self.texts:
            self.texts.append(text)
        return f"{part.method}{kind} [{self.texts.index(text) + 1}]"


def _layout(
    breakdown: Breakdown,
    pair: Pair | None,
    *,
    names: Sequence[str],
    cells: Sequence[_Cells],
    notes: _Notes,
    what: str = "",
    target: str = "",
    parts: Sequence[Part] = (),
    more: Sequence[str] = (),
) -> Layout:
    table = breakdown.table
    rules = table.rules
    shown = [item for item in breakdown.pairs if not target or item.target == target]
    over = f" ({' '.join(map(str, shown))})" if len(shown) < len(table.pairs) else ""
    rule = (
        f"suite {rules.suite} · features {rules.features} · normalisation {rules.normalisation} · "
        f"setting {rules.setting} · prior {rules.prior} · selection {rules.selection} · "
        f"shots {rules.shots} · protocol version {table.protocol_version}"
    )
    header = [rule, f"pair {pair}" if pair else f"mean over {len(shown)} pairs{over}"]
    if table.synthetic:
        header.append("The speech is synthetic: these numbers say nothing about real speech.")
    what += f", target {target}" if target else ""
    what += f", {pair}" if pair else ""
    return Layout(
        title=f"{table.title}: {_TITLES[breakdown.by]}{what}",
        header=(*header, *_HEADERS[breakdown.by], *more),
        names=tuple(names),
        first_pair=1,
        cells=tuple(cells),
        aside=tuple(part.kind == "oracle" for part in parts) or (False,) * len(cells),
        below=breakdown.remarks,
        footnotes=tuple(notes.texts),
    )


def _value(value: Value | None, most: int = 0) -> str:
    """A figure; and of how many emotions, where other groups have more."""
    if value is None:
        return HOLE
    fewer = f" ({value.classes} of {most} emotions)" if value.classes < most else ""
    return _spread(f"{value.mean:.1f}", value.std) + fewer


def _gap(gap: Gap) -> str:
    text = _spread(signed(gap.mean), gap.std)
    found = gap.interval
    if found is None or found.low is None or found.high is None:
        return text
    return f"{signed(gap.mean)} [{signed(found.low)}, {signed(found.high)}]"


def _rho(found: Correlation) -> str:
    if found.rho is None:
        return HOLE
    if found.low is None or found.high is None:
        return f"{found.rho:.2f}"
    return f"{found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _spread(text: str, std: float | None) -> str:
    return text if std is None else f"{text} ± {std:.1f}"


def _name(group: str, target: str) -> str:
    return group.removeprefix(f"{target} ")
