"""A laid-out leaderboard as a LaTeX float; and turned, with its methods across."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from clser_bench.report.layout import Layout

_ESCAPED = {
    **{special: f"\\{special}" for special in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "{\\char34}",  # babel makes it active in some languages
    "`": "{`}",  # else ?` and !` are ligatures
    "·": "$\\cdot$",
    "→": "$\\rightarrow$",
    "±": "$\\pm$",
    "×": "$\\times$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": "\\ldots{}",
}
_LIGATURES = frozenset("-,'$")
"""Characters that mean something else when two of them meet."""

_MINUS = re.compile(r"(?<![^\s\[])-(?=\d)")
_MARK = re.compile(r" \[(\d+)\]$")

# In points, at 10 pt: a digit, the space between two columns, and the narrowest columns and pages
# of the two-column styles that such tables go into.
_DIGIT = 5
_BETWEEN = 12
_COLUMN = 215
_PAGE = 450


def latex_tables(layouts: Sequence[Layout]) -> str:
    """Write tables as LaTeX floats one after another, each with a label of its own.

    Args:
        layouts: the tables as text cells.
    """
    labels: list[str] = []
    for layout in layouts:
        first = label = label_of(layout.title)
        number = 1
        while label in labels:
            number += 1
            label = f"{first}-{number}"
        labels.append(label)
    return "\n".join(
        latex(layout, label=label) for layout, label in zip(layouts, labels, strict=True)
    )


def latex(layout: Layout, *, label: str = "") -> str:
    """Write a table as a LaTeX float: `table` where it fits a column, else `table*`.

    Args:
        layout: the table as text cells.
        label: for references; made from the title where empty.

    Returns:
        Text that ends in a line break. A comment in its first line names the packages it needs.
        Letters beyond ASCII stay as they are.
    """
    width = _width(layout)
    float_ = "table" if width <= _COLUMN else "table*"
    resized = width > _PAGE
    packages = [
        "booktabs",
        *(["graphicx"] if resized else []),
        *(["xcolor"] if any(layout.aside) else []),
    ]
    body = "\n".join(_tabular(layout))
    lines = [
        f"% needs \\usepackage{{{','.join(packages)}}}",
        f"\\begin{{{float_}}}",
        "\\centering",
        _caption(layout),
        f"\\label{{{label or label_of(layout.title)}}}",
        f"\\resizebox{{\\textwidth}}{{!}}{{%\n{body}%\n}}" if resized else body,
        *_notes(layout),
        f"\\end{{{float_}}}",
    ]
    return "\n".join(lines) + "\n"


def label_of(title: str) -> str:
    """A title as a label: `tab:`, then lower-case ASCII letters and digits, hyphens between."""
    return f"tab:{'-'.join(re.findall('[a-z0-9]+', title.lower())) or 'leaderboard'}"


def escape(text: str) -> str:
    """Write text so that LaTeX shows it as it is, whatever is in it.

    Args:
        text: of one line; what cannot be printed (line breaks, control characters) becomes a
            space, and the hyphen before a number a minus sign.
    """
    found = ""
    for character in _MINUS.sub("−", text):
        shown = character if character.isprintable() else " "
        piece = _ESCAPED.get(shown, shown)
        # `\$` ends in a dollar too, and takes no harm from the braces.
        meets = found[-1:] == piece[0] and piece[0] in _LIGATURES
        found += "{}" + piece if meets else piece
    return found


def _width(layout: Layout) -> int:
    """About how wide the table is in points, at 10 pt."""
    longest = (
        max(len(row[place]) for row in (layout.names, *layout.cells))
        for place in range(len(layout.names))
    )
    return sum(_DIGIT * letters + _BETWEEN for letters in longest)


def _caption(layout: Layout) -> str:
    # The short form is for the list of tables; its braces let a title hold a bracket.
    title = escape(layout.title)
    header = " ".join(_sentence(line) for line in layout.header)
    small = f" {{\\small {header}}}" if header else ""
    return f"\\caption[{{{title}}}]{{{_sentence(layout.title)}{small}}}"


def _sentence(line: str) -> str:
    text = escape(line)
    return text if text.endswith(".") else f"{text}."


def _tabular(layout: Layout) -> Iterator[str]:
    yield f"\\begin{{tabular}}{{l{'r' * (len(layout.names) - 1)}}}"
    yield "\\toprule"
    yield _row(layout, layout.names)
    yield "\\midrule"
    before = (*layout.aside[:1], *layout.aside)
    for row, aside, last in zip(layout.cells, layout.aside, before, strict=False):
        if aside != last:
            yield "\\midrule"
        yield _row(layout, row, aside=aside)
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _row(layout: Layout, cells: Sequence[str], *, aside: bool = False) -> str:
    written = [_cell(layout, text) for text in cells]
    if aside:
        # A colour ends with its cell, so each cell needs it.
        written = [f"\\color{{gray}}{text}" if text else "" for text in written]
    elif written[0].startswith(("[", "*")):
        # The line break of the row above would take it for its own argument.
        written[0] = "{}" + written[0]
    return f"{' & '.join(written)} \\\\"


def _cell(layout: Layout, text: str) -> str:
    """A cell, with the number of its footnote raised."""
    mark = _MARK.search(text)
    if mark is None or not 1 <= int(mark[1]) <= len(layout.footnotes):
        return escape(text)
    return f"{escape(text[: mark.start()])}\\textsuperscript{{{int(mark[1])}}}"


def _notes(layout: Layout) -> Iterator[str]:
    if not layout.below and not layout.footnotes:
        return
    yield "\\par\\smallskip"
    yield "\\begin{minipage}{\\linewidth}"
    yield "\\footnotesize\\raggedright"
    for line in layout.below:
        yield f"{escape(line)}\\par"
    for number, text in enumerate(layout.footnotes, start=1):
        yield f"\\textsuperscript{{{number}}} {escape(text)}\\par"
    yield "\\end{minipage}"
