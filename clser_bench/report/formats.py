"""Tables of text cells as text for a terminal, Markdown, LaTeX; flat rows as CSV, JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from tabulate import LATEX_ESCAPE_RULES, tabulate

from clser_bench.errors import SpecError, did_you_mean, printable

MISSING = "–"
"""The text of a missing cell."""

FORMATS = ("table", "md", "latex", "csv", "json")
WIDTH = 120
DIGITS = 4

Row = dict[str, Any]

_GAP = 2  # characters between columns
_BOLD, _GREY, _END = "\ue000", "\ue001", "\ue002"  # private characters: marks inside LaTeX cells


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table as text."""

    title: str
    names: tuple[str, ...]  # of the columns; the first column holds the names of rows
    cells: tuple[tuple[str, ...], ...]
    # columns after the first that are in blocks of their own where a terminal is too narrow for
    # all; 0 for none
    summary: int = 0
    header: tuple[str, ...] = ()
    caption: str = ""  # of LaTeX, two lines; title and header where empty
    # rows that do not compete, set apart; grey in LaTeX. Empty for none
    aside: tuple[bool, ...] = ()
    bold: tuple[int, ...] = ()  # rows whose first two cells are bold in LaTeX and Markdown
    below: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()  # lines below these, numbered from 1

    @property
    def numbered(self) -> list[str]:
        """The footnotes with their numbers in brackets."""
        return [f"[{number}] {text}" for number, text in enumerate(self.footnotes, start=1)]

    @property
    def transposed(self) -> TextTable:
        """Columns down and rows across; no row is set aside or bold then."""
        first, *rest = zip(self.names, *self.cells, strict=True)
        turned = dataclasses.replace(self, names=("", *first[1:]), cells=tuple(rest))
        return dataclasses.replace(turned, summary=0, aside=(), bold=())


class Footnotes:
    """Texts numbered in order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a text, such as ` [1]`; empty for no text."""
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"


def signed(value: float) -> str:
    """A difference to one digit, with its sign; zero has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def rounded(value: float | None) -> float | None:
    """A figure, rounded so that the last bits of a sum never show; no negative zero."""
    return None if value is None else round(value, DIGITS) + 0.0


def spread(text: str, std: float | None) -> str:
    """A mean with its deviation, where there is one."""
    return text if std is None else f"{text} ± {std:.1f}"


def bracketed(found: Any, text: Callable[[float], str]) -> str:
    """`low` and `high` of an interval in brackets, after a space; empty where there are none."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f" [{text(found.low)}, {text(found.high)}]"


def change(found: Any) -> str:
    """The `estimate` of a difference, with its interval in brackets."""
    return f"{signed(found.estimate)}{bracketed(found, signed)}"


def ends(name: str, found: Any) -> Row:
    """`low` and `high` of an interval for CSV and JSON, null where there are none."""
    low, high = (found.low, found.high) if found else (None, None)
    return {f"{name}low": rounded(low), f"{name}high": rounded(high)}


def write(
    rows: Iterable[Row],
    tables: Iterable[TextTable],
    format: str = "table",  # noqa: A002 (the word users write)
    **shown: Any,
) -> str:
    """Write flat rows as `csv` or `json`, or tables in another format, as `write_tables` does."""
    if format not in FORMATS:
        raise SpecError(f"there is no format '{format}'{did_you_mean(format, FORMATS)}")
    if format == "csv":
        return csv_of(rows)
    if format == "json":  # what steers a terminal is written as an escape
        text = json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    return write_tables(list(tables), format, **shown)


def render(
    rows_of: Callable[[Any], Iterable[Row]],
    tables_of: Callable[..., Iterable[TextTable]],
    found: Iterable[Any],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
    **shown: bool,
) -> str:
    """Write the flat rows or the tables (which take `shown`) of each item that a report found."""
    rows = (row for item in found for row in rows_of(item))
    tables = (table for item in found for table in tables_of(item, **shown))
    return write(rows, tables, format, width=width)


def write_tables(
    tables: Sequence[TextTable],
    format: str = "table",  # noqa: A002 (the word users write)
    *,
    width: int | None = None,
    transposed: bool = False,
) -> str:
    """Write tables that have no flat rows, as `table`, `md` or `latex`; SpecError for any other.

    Args:
        width: columns of the terminal, for `table`; a wider table is parted in blocks of columns,
            and nothing is cut off. `WIDTH` where None.
        transposed: columns down and rows across.
    """
    if format not in FORMATS[:3]:
        raise SpecError(f"such a table cannot be '{format}'{did_you_mean(format, FORMATS[:3])}")
    if not tables:
        return "No results to show.\n"
    tables = [table.transposed for table in tables] if transposed else tables
    if format == "latex":
        return latex(tables)
    if format == "md":
        return "\n".join(map(markdown, tables))
    return "\n".join(terminal(table, width=width or WIDTH) for table in tables)


def csv_of(rows: Iterable[Row]) -> str:
    """Rows as CSV with one header of all names; null and absent values stay empty.

    Texts are cut as `errors.printable` cuts them, and hold nothing that steers a terminal.
    """
    every, text = list(rows), io.StringIO()
    names = list(dict.fromkeys(name for row in every for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in every:
        writer.writerow({n: printable(v) if isinstance(v, str) else v for n, v in row.items()})
    return text.getvalue()


def one_line(value: str) -> str:
    """A text without line breaks, and with a mark for each character that cannot be printed."""
    words = " ".join(value.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


_MARKUP = re.compile(
    r"<(?! )|>|&(?=[#\w])"  # HTML
    r"|[\\`$~|#]|\*(?!\s|$)|(?<![^\W_])_"  # may open emphasis
    r"|\](?=[(\[])|\[(?=\^)"  # link, footnote
    # target of a link; a bracket that is escaped by the line above does not end its name
    r"|^\[(?=.*\]:\s*(?:<|\S*\s*$|\S+\s+[\"'(]))"
)
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_ITEM = re.compile(r"^(\d*)([-+*.)])(?=[-+*\s]|$)")  # a list in a list, or a rule


def literal(value: str) -> str:
    """A text as one line that Markdown shows as it is: no HTML, formula, link, emphasis, column."""
    line = _MARKUP.sub(lambda m: _ENTITIES.get(m[0], f"\\{m[0]}"), one_line(value))
    return _ITEM.sub(r"\1\\\2", line)


def markdown(table: TextTable) -> str:
    """Write a table as Markdown with a heading, its header as a list, and footnotes."""
    table = _mapped(table, literal)
    cells = [list(row) for row in table.cells]
    for place in table.bold:
        cells[place][:2] = (f"**{text}**" for text in cells[place][:2])
    body = _tabulated(cells, table.names, "pipe")
    header, below = ("\n".join(f"- {t}" for t in lines) for lines in (table.header, table.below))
    notes = "\n".join(f"{line}  " for line in table.numbered).rstrip()
    return "\n\n".join(filter(None, [f"### {table.title}", header, body, below, notes])) + "\n"


def _tabulated(cells: Sequence[Sequence[str]], names: Sequence[str], how: str) -> str:
    align = ["left", *["right"] * (len(names) - 1)]
    return tabulate(cells, names, tablefmt=how, disable_numparse=True, colalign=align)


def terminal(table: TextTable, *, width: int = WIDTH) -> str:
    """Write a table in blocks of columns that fit a width, the first column in each of them.

    A block is wider than asked for only where a single column is: no text is cut off.
    """
    table = _mapped(table, one_line)
    how = textwrap.TextWrapper(max(width, 20), subsequent_indent="  ", break_long_words=False)
    first, *others = (_block(table, columns) for columns in _blocks(table, width))
    above = [table.title, *map(how.fill, table.header), first]
    below = map(how.fill, (*table.below, *table.numbered))
    return "\n\n".join(filter(None, ["\n".join(above), *others, "\n".join(below)])) + "\n"


def _mapped(table: TextTable, change: Callable[[str], str]) -> TextTable:
    names = ("names", "header", "below", "footnotes")
    texts: dict[str, Any] = {name: tuple(map(change, getattr(table, name))) for name in names}
    cells = tuple(tuple(map(change, row)) for row in table.cells)
    return dataclasses.replace(table, title=change(table.title), cells=cells, **texts)


def _blocks(table: TextTable, width: int) -> list[list[int]]:
    """Columns of each block, without the first, as many in a block as fit."""
    columns = zip(table.names, *table.cells, strict=True)
    first, *sizes = (_GAP + max(map(len, column)) for column in columns)
    if first + sum(sizes) <= width:
        return [list(range(1, len(table.names)))]
    blocks: list[list[int]] = [[]]
    used = first
    for place, size in enumerate(sizes, start=1):
        if blocks[-1] and (used + size > width or place == table.summary + 1):
            blocks.append([])
            used = first
        blocks[-1].append(place)
        used += size
    return blocks


def _block(table: TextTable, columns: Sequence[int]) -> str:
    rows = [[row[place] for place in (0, *columns)] for row in (table.names, *table.cells)]
    sizes = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        spaces = [" " * (size - cell_len(text)) for size, text in zip(sizes, row, strict=True)]
        right = (space + text for space, text in zip(spaces[1:], row[1:], strict=True))
        lines.append((" " * _GAP).join([row[0] + spaces[0], *right]).rstrip())
    rule = "─" * (sum(sizes) + _GAP * len(columns))
    aside = table.aside or (False,) * len(table.cells)
    for place in range(len(aside) - 1, 0, -1):
        if aside[place] and not aside[place - 1]:
            lines.insert(place + 1, "")
    return "\n".join([lines[0], rule, *lines[1:]])


_SYMBOLS = str.maketrans(
    {
        "→": "${\\rightarrow}$",  # braces: without the space of a relation
        "±": "$\\pm$",
        "·": "$\\cdot$",
        "×": "$\\times$",
        "≤": "$\\leq$",
        "≥": "$\\geq$",
        "−": "$-$",
        "–": "--",
        "—": "---",
        "…": "\\ldots{}",
        '"': "{\\char34}",  # babel makes it active in some languages
        "`": "{`}",  # else ?` and !` are ligatures
        "|": "\\textbar{}",
        _BOLD: "\\textbf{",
        _GREY: "\\textcolor{gray}{",
        _END: "}",
    }
)
_NEGATIVE = re.compile(r"(?<![^\s\[(])-(?=\d)")
_MARK = re.compile(r" \[(\d+)\]$")
_LONG = re.compile(r"\S{24,}")
_COLUMN = 229  # points of a column of a two-column page: the least that journals have


def latex(tables: Sequence[TextTable]) -> str:
    """Write tables as LaTeX floats, each with a label of its own; nothing is resized.

    A table that fits a column is a `table`, any other a `table*`. The first line names the
    packages that are needed. Letters beyond ASCII stay as they are.
    """
    made: dict[str, str] = {}
    for table in tables:
        first = label = label_of(table.title)
        while label in made:
            label = f"{first}-{1 + sum(name.startswith(first) for name in made)}"
        made[label] = _float(table, label)
    return "\n".join(["% needs \\usepackage{booktabs,xcolor}", *made.values()]) + "\n"


def label_of(title: str) -> str:
    """A title as a label: `tab:`, then lower-case ASCII letters and digits, hyphens between."""
    return f"tab:{'-'.join(re.findall('[a-z0-9]+', title.lower())) or 'leaderboard'}"


def escape(text: str) -> str:
    """Write text so that LaTeX shows it as it is, the hyphen before a number as a minus sign.

    A name as long as half a column may be broken between its parts.
    """
    plain = _printable(text)
    shown = "".join(LATEX_ESCAPE_RULES.get(c, c) for c in plain).translate(_SYMBOLS)
    return _LONG.sub(lambda found: re.sub(r"[:@]", r"\g<0>\\allowbreak{}", found[0]), shown)


def _printable(text: str) -> str:
    """One line without private characters, which are marks here."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return _NEGATIVE.sub("−", shown)


def _float(table: TextTable, label: str) -> str:
    aside = table.aside or (False,) * len(table.cells)
    rows = []
    for place, (row, grey) in enumerate(zip(table.cells, aside, strict=True)):
        cells = [_printable(text) for text in row]
        if cells[0].startswith(("[", "*")):
            cells[0] = "\u2060" + cells[0]  # else the line break above takes it as its argument
        if grey:
            cells = [f"{_GREY}{text}{_END}" if text else "" for text in cells]
        elif place in table.bold:
            cells[:2] = [f"{_BOLD}{text}{_END}" for text in cells[:2]]
        rows.append(cells)
    body = _tabulated(rows, list(map(_printable, table.names)), "latex_booktabs")
    # spaces that only align the source would take the place of nothing, and hide long lines
    body = re.sub(r" {2,}", " ", body).translate(_SYMBOLS).replace("\u2060", "{}")
    number = "|".join(str(n) for n in range(1, len(table.footnotes) + 1)) or "(?!)"
    body = re.sub(rf" \[({number})\](?=\}}? *(?:&|\\\\))", r"\\textsuperscript{\1}", body)
    # about how wide a text is at 9 pt
    sizes = dict.fromkeys(" .,[]()-*", 2.8) | dict.fromkeys("+−±→", 7.2)
    points = sum(
        4 + max(sum(sizes.get(c, 4.5) for c in _MARK.sub("*", text)) for text in column)
        for column in zip(table.names, *table.cells, strict=True)
    )
    kind = "table" if points <= _COLUMN else "table*"
    caption = table.caption or " ".join([f"{table.title}.", *table.header])
    notes = [escape(line) for line in table.below]
    notes += [f"\\textsuperscript{{{n}}} {escape(t)}" for n, t in enumerate(table.footnotes, 1)]
    lines = [
        f"\\begin{{{kind}}}",
        "\\centering\\small\\setlength{\\tabcolsep}{2pt}\\setlength{\\belowcaptionskip}{3pt}",
        f"\\caption[{{{escape(table.title)}}}]{{{escape(caption)}}}",
        f"\\label{{{label}}}",
        body,
    ]
    if notes:
        text = "\\par\n".join(notes)
        lines += ["\\par\\smallskip", f"{{\\footnotesize\\raggedright {text}\\par}}"]
    return "\n".join([*lines, f"\\end{{{kind}}}"])
