"""Texts of tables that Markdown and LaTeX must show as they are, whatever is in them."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from clser_bench.report.formats import (
    Footnotes,
    TextTable,
    escape,
    label_of,
    latex,
    literal,
    markdown,
    one_line,
    terminal,
)

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = "<script>alert(1)</script> $x$ *b* _c_ `d` a|b\\|c &lt; ~~s~~ [e](http://f)\n# g\x1b[2J"
PIECES = [
    *"\\`*_~<>&[]()!#|$:^-+.=\"' \n\x1b19ab",
    *("<b>", "</b>", "<!--", "&lt;", "&#35;", "](", "]: ", "[^1]", "**", "1. ", "- ", "http://a"),
]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def parsed(text):
    """The kinds of what a reader sees, and its texts."""
    kinds, texts = [], []
    for token in PARSER.parse(text):
        kinds += [token.type, *(child.type for child in token.children or ())]
        if token.type == "inline":
            texts.append("".join(child.content for child in token.children or ()))
    return [kind for kind in kinds if kind != "text"], texts


def filled(value):
    return TextTable(
        title=f"t {value}",
        header=(value,),
        names=("method", value),
        cells=((value, "1.0"),),
        aside=(False,),
        below=(value,),
        footnotes=(value,),
    )


@given(value=TEXTS)
@example(HOSTILE)
@example("[a]: http://b")
@example("[](]:0")
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
    bare = literal(value).replace("\\\\", "")
    assert bare.count("$") == bare.count("\\$"), "no formula is left"


def test_a_terminal_is_not_steered():
    text = terminal(filled(HOSTILE), width=200)
    assert "\x1b" not in text
    assert "\n#" not in text
    assert text.count("<script>alert(1)</script>") == 6


def structure(written):
    """Fail at an unclosed brace, formula or environment; give the number of cells of each row."""
    bare = re.sub(r"\\[&%$#_{}\\]", "", re.sub(r"^%.*$", "", written, flags=re.MULTILINE))
    depth = 0
    for brace in re.findall("[{}]", bare):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", bare):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    rows = [line for line in written.splitlines() if line.endswith(" \\\\")]
    return {len(re.split(r"(?<!\\)&", row)) for row in rows}


@given(value=TEXTS)
@example(HOSTILE)
@example("[2] a")
@example("* a")
@example("\\")
def test_any_text_keeps_the_structure_of_latex(value):
    assert structure(latex([filled(value)])) == {2}
    kept = re.sub(
        r"\\(?:[&%$#_{}]|\^\{\}|[a-z]+\{[<>]?\})|\{\\char34\}|\$\{?\\?[a-z-]+\}?\$",
        "",
        escape(value),
    )
    assert not set('&%#_^~<>|"→±–') & set(kept), "no special character is left"


def test_latex_by_hand():
    table = TextTable(
        title="bc, 5 shots",
        names=("method", "mean", "B→C"),
        cells=(("a_b [1]", "43.2 ± 7.8", "-3.0"), ("m [2]", "1.0", "– [1]"), ("bound", "2", "")),
        aside=(False, False, True),
        bold=(0,),
        footnotes=("a note of 5 %",),
    )
    written = latex([table, table])
    for part in (
        "\\textbf{a\\_b\\textsuperscript{1}} & \\textbf{43.2 $\\pm$ 7.8} & $-$3.0 \\\\",
        "m [2] & 1.0 & --\\textsuperscript{1} \\\\",
        "\\textcolor{gray}{bound} & \\textcolor{gray}{2} & \\\\",
        "\\textsuperscript{1} a note of 5 \\%",
        "\\label{tab:bc-5-shots}",
        "\\label{tab:bc-5-shots-2}",
    ):
        assert part in written, part
    assert "\\begin{table}" in written
    assert label_of("→") == "tab:leaderboard"
    names = ("method", *(f"pair {n}" for n in range(12)))
    wide = TextTable(title="t", names=names, cells=(("m", *["43.2"] * 12),))
    assert "\\begin{table*}" in latex([wide]), "it spans two columns"


def test_footnotes_are_numbered_once_and_ordinary_text_stays_as_it_is():
    notes = Footnotes()
    assert [notes.mark(text) for text in ("a", "", "b", "a")] == [" [1]", "", " [2]", " [1]"]
    assert notes.texts == ["a", "b"]
    ordinary = "density [1] assumes_prior: -3.0 [low, high]; * where p < 0.05 · ± 95 % (bound)"
    assert literal(ordinary) == ordinary
