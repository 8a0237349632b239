"""Breakdowns as text for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from clser_bench.protocol import EMOTIONS, Pair
from clser_bench.report import formats
from clser_bench.report.breakdown import SHUFFLES, Breakdown, Figure
from clser_bench.report.formats import MISSING, Footnotes, Row, TextTable
from clser_bench.report.render import condition_line, condition_row

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
_KEPT = "A corpus leaves out what few people recognised, which makes such correlations smaller."
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
    "speaker": (_UAR, "Worst and best are of the speakers who have all emotions.", _SHUFFLED),
    "gender": (_UAR, "With two or three speakers of a gender the interval is too narrow."),
    "length": (_UAR, _THIRDS),
    "loudness": (
        _UAR,
        f"{_THIRDS} Loudness: RMS of the file in dBFS (0: a square wave at full scale).",
    ),
    "human": (_UAR, _RHO, _WITHIN, _KEPT),
}
_INTERVAL = (
    "[low, high]: pointwise 95 % interval of the difference over speakers and draws, conditional "
    "on these corpora."
)


def flat_rows(breakdown: Breakdown) -> Iterator[Row]:
    """The figures of a breakdown, one row each, in order of method and pair.

    `figure` is `recall`, `share`, `uar`, `gap`, `rho` or `rho_within`; `pair` is `mean` over all.
    """
    for item in breakdown.figures:
        row = condition_row(breakdown.table.condition) | {"by": breakdown.by}
        row |= {name: getattr(item.line, name) for name in ("method", "title", "role")}
        row |= {"pair": str(item.pair or "mean"), "status": item.status, "reason": item.reason}
        row |= {"figure": item.kind, "group": item.group, "predicted": item.predicted, "n": item.n}
        row |= {"mean": formats.rounded(item.mean), "std": formats.rounded(item.std)}
        row |= {"count": item.count, "classes": item.classes}
        rest = ("low", "high", "shuffled")
        yield row | {name: formats.rounded(getattr(item, name)) for name in rest}


def text_tables(breakdown: Breakdown, *, each_pair: bool = False) -> Iterator[TextTable]:
    """A breakdown as tables of text cells: over all pairs first, then each pair if asked for."""
    for pair in (None, *(breakdown.pairs if each_pair else ())):
        parts: dict[str, list[Figure]] = {}
        for item in breakdown.figures:
            if item.pair == pair:
                parts.setdefault(item.line.method, []).append(item)
        if breakdown.by == "confusion":
            for part in parts.values():
                yield _confusion(breakdown, part, pair)
        elif breakdown.by == "speaker":
            shown = [pair] if pair else breakdown.pairs
            for target in dict.fromkeys(item.target for item in shown):
                yield _speakers(breakdown, list(parts.values()), pair, target)
        else:
            yield _groups(breakdown, list(parts.values()), pair)


render = functools.partial(formats.render, flat_rows, text_tables)


def _groups(breakdown: Breakdown, parts: Sequence[list[Figure]], pair: Pair | None) -> TextTable:
    every = [item for part in parts for item in part]
    gap = next((item for item in every if item.kind == "gap"), None)
    names = ["method", *breakdown.groups, *([str(gap.group)] if gap else [])]
    names += ["rho [95 %]", "rho within"] * any(item.kind == "rho" for item in every)
    cells, notes = [], Footnotes()
    for part in parts:
        values = {item.group: item for item in part if item.classes}
        most = max((item.classes or 0 for item in part), default=0)
        row = [_value(values.get(group), most) for group in breakdown.groups]
        row += ([_gap(item) for item in part if item.kind == "gap"] or [MISSING]) if gap else []
        row += [_rho(item) for item in part if item.kind in ("rho", "rho_within")]
        row += [MISSING] * (len(names) - 1 - len(row))  # a missing result has no correlations
        cells.append((_name(part, notes), *row, _draws(part)))
    more = [_INTERVAL] if gap and gap.low is not None else []
    return _table(breakdown, pair, [*names, "n"], cells, notes, more=more)


def _speakers(
    breakdown: Breakdown, parts: Sequence[list[Figure]], pair: Pair | None, target: str
) -> TextTable:
    cells, notes = [], Footnotes()
    for part in parts:
        values = {item.group: item for item in part if item.classes}
        row: tuple[str, ...] = (MISSING,) * 6
        for gap in (g for g in part if g.kind == "gap" and g.ends[0].startswith(f"{target} ")):
            ends = (f"{end.removeprefix(f'{target} ')}: {_value(values[end])}" for end in gap.ends)
            shuffled = MISSING if gap.shuffled is None else f"{gap.shuffled:.1f}"
            row = (*ends, _gap(gap), shuffled, str(gap.of), str(gap.n))
        cells.append((_name(part, notes), *row))
    names = ("method", "worst", "best", "gap", "shuffled", "speakers", "n")
    return _table(breakdown, pair, names, cells, notes, target=target)


def _confusion(breakdown: Breakdown, part: list[Figure], pair: Pair | None) -> TextTable:
    shares = {(item.group, item.predicted): item for item in part}
    emotions = [emotion for emotion in EMOTIONS if any(item.group == emotion for item in part)]
    cells, notes = [], Footnotes()
    for true in emotions:
        of_row = [shares.get((true, predicted)) for predicted in emotions]
        share = [MISSING if item is None else f"{item.mean:.1f}" for item in of_row]
        cells.append((true, *share, str(sum(item.count or 0 for item in of_row if item))))
    name = _name(part, notes)
    names = ("emotion", *emotions, "utterances") if emotions else ("method", "share")
    about = f", {name}, n {_draws(part)}"
    return _table(breakdown, pair, names, cells or [(name, MISSING)], notes, about=about)


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
    where = f"pair {pair}" if pair else f"mean over {len(shown)} pairs{over}"
    about += f", target {target}" * bool(target) + f", {pair}" * bool(pair)
    rules = condition_line(table), where, *table.warnings
    return TextTable(
        title=f"{table.title}: {_TITLES[breakdown.by]}{about}",
        header=(*rules, *_HEADERS[breakdown.by], *more),
        names=tuple(names),
        cells=tuple(cells),
        below=breakdown.remarks,
        footnotes=tuple(notes.texts),
    )


def _name(part: Sequence[Figure], notes: Footnotes) -> str:
    """A method's name with its role, and a mark where its result is missing."""
    first = part[0]
    if first.status == "ok":
        return first.line.shown
    why = "not applicable: " if first.status == "not_applicable" else ""
    return f"{first.line.shown}{notes.mark(f'{first.line.title}: {why}{first.reason}')}"


def _draws(part: Sequence[Figure]) -> str:
    return str(max((item.n or 0 for item in part if item.kind != "gap"), default=0))


def _value(item: Figure | None, most: int = 0) -> str:
    """A figure; and of how many emotions, where other groups have more."""
    if item is None or item.mean is None:
        return MISSING
    fewer = f" ({item.classes} of {most} emotions)" if (item.classes or 0) < most else ""
    return formats.spread(f"{item.mean:.1f}", item.std) + fewer


def _gap(item: Figure) -> str:
    text = formats.signed(item.mean or 0.0)
    ends = formats.bracketed(item, formats.signed)
    return text + ends if ends else formats.spread(text, item.std)


def _rho(item: Figure) -> str:
    ends = formats.bracketed(item, "{:.2f}".format)
    return MISSING if item.mean is None else f"{item.mean:.2f}{ends}"
