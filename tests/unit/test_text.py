"""Texts of tables that Markdown must show as they are: against a Markdown parser."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from clser_bench.report.layout import Layout
from clser_bench.report.text import literal, markdown, one_line, terminal

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = "<script>alert(1)</script> $x$ *b* _c_ `d` a|b\\|c &lt; ~~s~~ [e](http://f)\n# g\x1b[2J"
PIECES = [
    *"\\`*_~<>&[]()!#|$:^-+.=\"' \n\x1b19ab",
    *("<b>", "</b>", "<!--", "&lt;", "&#35;", "](", "]: ", "[^1]", "**", "1. ", "- ", "http://a"),
]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
PLAIN = Layout(
    title="t",
    header=("h",),
    names=("method", "B→C"),
    first_pair=1,
    cells=(("m", "1.0"),),
    aside=(False,),
    below=("b",),
    footnotes=("f",),
)


def parsed(text):
    """The kinds of what a reader sees, and its texts."""
    kinds, texts = [], []
    for token in PARSER.parse(text):
        kinds += [token.type, *(child.type for child in token.children or ())]
        if token.type == "inline":
            texts.append("".join(child.content for child in token.children))
    return [kind for kind in kinds if kind != "text"], texts


def filled(value):
    return dataclasses.replace(
        PLAIN,
        title=f"t {value}",
        header=(value,),
        names=("method", value),
        cells=((value, "1.0"),),
        below=(value,),
        footnotes=(value,),
    )


@given(value=TEXTS)
@example(HOSTILE)
@example("[a]: http://b")
@example("[a]: <b> 'c'")
@example("<script a")
@example("***")
@example("1. a")
@example("a *b* c* * d*")
def test_a_parser_sees_text_and_nothing_else(value):
    shown = one_line(value) or "–"
    kinds, texts = parsed(markdown(filled(value if one_line(value) else shown)))
    expected, _ = parsed(markdown(filled("x")))
    assert kinds == expected
    assert [one_line(text) for text in texts] == [
        f"t {shown}", shown, "method", shown, shown, "1.0", shown, f"[1] {shown}",
    ]  # fmt: skip


@given(value=TEXTS)
def test_no_formula_is_left(value):
    bare = literal(value).replace("\\\\", "")
    assert bare.count("$") == bare.count("\\$")


@pytest.mark.parametrize(
    "ordinary",
    [
        "[low, high]: 95 % interval of the mean over pairs, conditional on these corpora.",
        "vs logistic [95 %]: difference of the means; * where p < 0.05 after Holm.",
        "+14.2 [+2.4, +26.0]*",
        "assumes_prior",
        "density [1]",
        "-3.0",
        "chance (bound)",
        "200 steps of 8 labelled + 64 source · B→C – ±",
    ],
)
def test_ordinary_text_stays_as_it_is(ordinary):
    assert literal(ordinary) == ordinary


def test_a_terminal_is_not_steered():
    text = terminal(filled(HOSTILE), width=200, color=False)
    assert "\x1b" not in text
    assert "\n#" not in text
    assert text.count("<script>alert(1)</script>") == 6
