"""A laid-out leaderboard as Markdown, or as text for a terminal or a pipe."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from clser_bench.report.layout import Layout

_GAP = 2  # characters between columns

_MARKUP = re.compile(
    r"<(?! )|>|&(?=[#\w])"  # HTML
    r"|[\\`$~|#]|\*(?!\s|$)|(?<![^\W_])_"  # what may open emphasis
    r"|\](?=[(\[])|\[(?=\^)"  # link, footnote
    r"|^\[(?=[^\]]*\]:\s*(?:<|\S*\s*$|\S+\s+[\"'(]))"  # target of a link
)
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_ITEM = re.compile(r"^(\d*)([-+*.)])(?=[-+*\s]|$)")  # a list in a list, or a rule


def one_line(value: str) -> str:
    """A text without line breaks, and with a mark for what cannot be printed: names may have both.

    Args:
        value: any text.
    """
    words = " ".join(value.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def literal(value: str) -> str:
    """A text as one line that Markdown shows as it is: no HTML, formula, link, emphasis, column.

    Args:
        value: any text.
    """
    line = _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), one_line(value))
    return _ITEM.sub(r"\1\\\2", line)


def markdown(layout: Layout) -> str:
    """Write a table as Markdown with a heading, its header as a list, and footnotes.

    Args:
        layout: the table as text cells, which are shown literally.
    """
    layout = _mapped(layout, literal)
    body = tabulate(
        layout.cells,
        layout.names,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=_alignments(layout),
    )
    parts = [f"### {layout.title}", "\n".join(f"- {line}" for line in layout.header), body]
    if layout.below:
        parts.append("\n".join(f"- {line}" for line in layout.below))
    if layout.footnotes:
        parts.append("\n".join(f"{line}  " for line in _numbered(layout)).rstrip())
    return "\n\n".join(parts) + "\n"


def terminal(layout: Layout, *, width: int, color: bool) -> str:
    """Write a table in blocks of columns that fit a width, the methods in each of them.

    A block is wider than asked for only where a single column is: no text is cut off.

    Args:
        layout: the table as text cells.
        width: of the terminal, in characters.
        color: grey the rows that are set aside, by escape codes.
    """
    layout = _mapped(layout, one_line)
    parts = [layout.title, *_wrapped(layout.header, width)]
    parts += [_block(layout, columns, color=color) for columns in _blocks(layout, width)]
    parts += _wrapped(layout.below, width)
    parts += [""] if layout.below and layout.footnotes else []
    parts += _wrapped(_numbered(layout), width)
    return "\n".join(parts) + "\n"


def _mapped(layout: Layout, change: Callable[[str], str]) -> Layout:
    """With every text changed."""
    return dataclasses.replace(
        layout,
        title=change(layout.title),
        header=tuple(map(change, layout.header)),
        names=tuple(map(change, layout.names)),
        cells=tuple(tuple(map(change, row)) for row in layout.cells),
        below=tuple(map(change, layout.below)),
        footnotes=tuple(map(change, layout.footnotes)),
    )


def _numbered(layout: Layout) -> Iterator[str]:
    return (f"[{number}] {text}" for number, text in enumerate(layout.footnotes, start=1))


def _alignments(layout: Layout) -> list[str]:
    return ["left"] + ["right"] * (len(layout.names) - 1)


def _wrapped(lines: Sequence[str] | Iterator[str], width: int) -> list[str]:
    return [
        textwrap.fill(line, max(width, 20), subsequent_indent="  ", break_long_words=False)
        for line in lines
    ]


def _blocks(layout: Layout, width: int) -> list[list[int]]:
    """Columns of each block, without the first: all in one, else the pairs evenly apart."""
    sizes = [
        _GAP + max(len(name), *(len(row[place]) for row in layout.cells))
        for place, name in enumerate(layout.names)
    ]
    if sum(sizes) <= width:
        return [list(range(1, len(sizes)))]
    first = layout.first_pair
    pairs = list(range(first, len(sizes)))
    each = max(1, (width - sizes[0]) // max(sizes[first:]))
    each = math.ceil(len(pairs) / math.ceil(len(pairs) / each))
    blocks = [pairs[start : start + each] for start in range(0, len(pairs), each)]
    return _summary_blocks(sizes, first, width) + blocks


def _summary_blocks(sizes: Sequence[int], first: int, width: int) -> list[list[int]]:
    """The columns before the pairs, as many in a block as fit."""
    blocks: list[list[int]] = [[]]
    for place in range(1, first):
        if blocks[-1] and sizes[0] + sum(sizes[p] for p in blocks[-1]) + sizes[place] > width:
            blocks.append([])
        blocks[-1].append(place)
    return [block for block in blocks if block]


def _block(layout: Layout, columns: Sequence[int], *, color: bool) -> str:
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
        header_style="none",
    )
    for place in (0, *columns):
        side: JustifyMethod = "left" if place == 0 else "right"
        table.add_column(Text(layout.names[place]), no_wrap=True, justify=side)
    before = (False, *layout.aside)
    for row, aside, last in zip(layout.cells, layout.aside, before, strict=False):
        if aside and not last:
            table.add_section()
        cells = [Text(row[place]) for place in (0, *columns)]
        table.add_row(*cells, style="dim" if aside and color else "")
    text = io.StringIO()
    console = Console(
        file=text,
        width=1 << 14,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"
