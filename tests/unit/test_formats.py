"""Tables in words: texts that every format shows as they are; headers, footnotes, widths."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from clser_bench.protocol import Condition
from clser_bench.report.formats import (
    Footnotes,
    TextTable,
    escape,
    label_of,
    latex,
    literal,
    markdown,
    terminal,
)
from clser_bench.report.formats import one_line as in_one_line
from clser_bench.report.render import condition_line, paper_table, render
from clser_bench.report.statistics import Interval
from clser_bench.store.records import MethodNote, one_line
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, TWELVE, guesses, run, tables_of
from tests.records import ok, trial

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
    shown = in_one_line(value) or "–"
    kinds, texts = parsed(markdown(filled(value if in_one_line(value) else shown)))
    expected, _ = parsed(markdown(filled("x")))
    assert kinds == expected
    assert [in_one_line(text) for text in texts] == [
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
    assert "resizebox" not in latex([wide])


def test_footnotes_are_numbered_once_and_ordinary_text_stays_as_it_is():
    notes = Footnotes()
    assert [notes.mark(text) for text in ("a", "", "b", "a")] == [" [1]", "", " [2]", " [1]"]
    assert notes.texts == ["a", "b"]
    ordinary = "density [1] assumes_prior: -3.0 [low, high]; * where p < 0.05 · ± 95 % (bound)"
    assert literal(ordinary) == ordinary


def test_chance_stands_in_a_table_without_its_method(store):
    run(store, {"m": 20})
    line = next(line for line in render(tables_of(store)).splitlines() if "chance" in line)
    assert line.split() == ["chance", "level", "33.3", "33.3", "33.3"]


def test_the_lines_above_a_table_name_every_unusual_rule(store):
    rules = {"setting": "inductive", "prior": "dirichlet:1", "corruption": "noise:10"}
    run(store, {"m": 20}, selection="other-pairs", synthetic=True, **rules)
    for how in ("table", "md", "latex"):
        text = " ".join(render(tables_of(store), how).replace("{:}", ":").split())
        for part in ("bc, 5 shots, inductive (synthetic speech)", "acoustic",
                     "normalisation corpus", "prior dirichlet:1"):  # fmt: skip
            assert part in text, (how, part)
    text = render(tables_of(store), width=400)
    assert "target corrupted by noise:10" in text
    assert "selection other-pairs" in text


@dataclass(frozen=True, kw_only=True)
class WithAccent(Condition):
    """The rules with one that was added later."""

    accent: str = "any"


def test_a_rule_that_is_added_is_part_of_ids_and_stands_above_a_table_where_it_is_in_force(store):
    (of, *_) = run(store, {"m": 20})
    (table,) = tables_of(store)
    usual, later = (WithAccent(**vars(of.condition), accent=name) for name in ("any", "native"))
    assert replace(of, condition=usual).id == of.id != replace(of, condition=later).id
    assert condition_line(replace(table, condition=usual)) == condition_line(table)
    assert " · accent native · " in condition_line(replace(table, condition=later))


def test_all_labels_have_intervals_over_speakers_and_say_so(store):
    run(store, {"logistic": 20}, shots="all", seeds=1)
    assert "intervals are over speakers only" in render(tables_of(store), explain=True)


@pytest.mark.parametrize(("width", "blocks"), [(30, 17), (100, 3), (160, 3), (400, 1)])
def test_twelve_pairs_are_readable_at_any_width(store, width, blocks):
    run(store, {"m" * 25: 20, "sere-no-prototype": 12}, pairs=TWELVE)
    text = render(tables_of(store), width=width)
    assert max(map(len, text.splitlines())) <= max(width, 40)  # a name is never cut
    assert "…" not in text
    for pair in TWELVE:
        assert text.count(f" {pair}") == 1
    for name in ("m" * 25, "sere-no-prototype"):
        assert sum(line.startswith(name) for line in text.splitlines()) == blocks


def test_tables_do_not_depend_on_the_order_of_storing(tmp_path):
    texts = []
    for turn in (1, -1):
        with Store(tmp_path / f"{turn}.sqlite") as store:
            trials = [trial(m, str(p), seed=s) for m in "ab" for p in PAIRS for s in range(3)]
            store.plan({}, trials, pairs=PAIRS)
            for of in trials[::turn]:
                rng = np.random.default_rng(int(of.id[:8], 16))
                store.put([ok(of, guesses(15, rng), KEY, seconds=rng.random())])
            tables = tables_of(store, against="a")
            texts.append([render(tables, how) for how in ("table", "md", "latex", "csv", "json")])
    assert texts[0] == texts[1]


def test_one_line_of_a_reason():
    assert one_line("first\nsecond") == "first"
    assert one_line("x\nTraceback (most recent call last):\n  f\nE: why\n") == "E: why"
    assert one_line("") == "no reason given"


def test_every_method_that_may_be_the_best_is_bold(store):
    run(store, {"logistic": 9, "one": 10, "two": 11, "three": 12})
    table = tables_of(store)[0]
    better = Interval(estimate=2.0, low=1.0, high=3.0, p=0.01)
    found = {"one": (3, 3), "two": (1, 2), "three": (1, 2), "logistic": (4, 4)}
    lines = tuple(
        dataclasses.replace(line, difference=better, ranks=found[line.method])
        for line in table.lines
    )
    bold = paper_table(dataclasses.replace(table, lines=lines)).bold
    assert {lines[place].method for place in bold} == {"two", "three"}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="TeX is not installed")
@pytest.mark.parametrize("pairs", [False, True])
def test_latex_of_twelve_pairs_fits_a_page(store, tmp_path, pairs):
    names = {"logistic": 12, "logistic-balanced": 13, "a_b$%&^~{}": 11, "sere": 14}
    names |= {"adversarial-transformer": 9} if pairs else {}
    notes = {"sere": MethodNote(note='<equations> reconstructed | from "the" abstract → ±')}
    encoder = "hf:whisper-base@5d06f8f91d486582:layer=3:pool=mean:context=padded"
    run(store, names, pairs=TWELVE, seeds=3, notes=notes, features=encoder)
    text = render(tables_of(store), "latex", pairs=pairs)
    assert "resizebox" not in text
    assert ("\\begin{table*}" in text) == pairs
    (tmp_path / "table.tex").write_text(
        "\\documentclass[twocolumn,10pt]{article}\n\\usepackage{booktabs,xcolor}\n"
        f"\\begin{{document}}\n{text}\nText.\n\\end{{document}}\n",
        encoding="utf-8",
    )
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Overfull \\hbox" not in made.stdout
