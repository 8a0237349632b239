"""Leaderboards as LaTeX, and turned: escapes, structure, marks, golden tables.

The golden tables are made from `tests/golden/leaderboard/records.json`. To make them again after
a change that is meant:

    python -m tests.unit.test_latex
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.report.latex import escape, label_of, latex, latex_tables
from clser_bench.report.layout import Layout, lay_out, transpose
from clser_bench.report.tables import leaderboard
from clser_bench.report.text import markdown, terminal
from clser_bench.store.sqlite import Store
from tests.golden.test_leaderboard import FOLDER, fill

HOSTILE = r"a_b&c%$#{}~^\x"
SHOWN = {
    **{f"\\{special}": special for special in "&%$#_{}"},
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\ldots{}": "…",
    r"{\char34}": '"',
    "{`}": "`",
    r"$\cdot$": "·",
    r"$\rightarrow$": "→",
    r"$\pm$": "±",
    r"$\times$": "×",
    r"$\leq$": "≤",
    r"$\geq$": "≥",
    "$-$": "−",
    "---": "—",
    "--": "–",
    "{}": "",
}
TOKEN = re.compile("|".join(re.escape(known) for known in sorted(SHOWN, key=len, reverse=True)))
SPECIAL = frozenset('&%$#_{}\\~^<>|"`→±–')
TEXTS = st.text() | st.text(alphabet=[*SPECIAL, *"-,'—…−·[]*1a \n"])


def shown(written: str) -> str:
    """What LaTeX shows for escaped text; fails at a special character of no known command."""
    plain, place = "", 0
    while place < len(written):
        token = TOKEN.match(written, place)
        if token:
            plain += SHOWN[token[0]]
            place = token.end()
            continue
        assert written[place] not in SPECIAL, (written, place)
        plain += written[place]
        place += 1
    return plain


def rows_of(written: str) -> list[list[str]]:
    """The cells of every row of the tables of a text, split where LaTeX splits them."""
    lines = [line for line in written.splitlines() if line.endswith(" \\\\")]
    return [re.split(r" ?(?<!\\)& ?", line.removesuffix(" \\\\")) for line in lines]


def check_structure(written: str) -> None:
    """Braces and environments are closed in order, and comments stand alone on their lines."""
    lines = [line for line in written.splitlines() if not line.startswith("%")]
    assert not [line for line in lines if re.search(r"(?<!\\)%.", line)]
    text = re.sub(r"\\[&%$#_{}\\]", "", "\n".join(lines))
    depth = 0
    for brace in re.findall("[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert text.count("$") % 2 == 0
    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened


def check_rows(written: str, layout: Layout) -> None:
    """Every row has as many cells as the table has columns."""
    rows = rows_of(written)
    assert len(rows) == 1 + len(layout.cells)
    assert {len(row) for row in rows} == {len(layout.names)}
    columns = re.search(r"\\begin\{tabular\}\{(lr*)\}", written)
    assert columns is not None
    assert len(columns[1]) == len(layout.names)


def made(**changes) -> Layout:
    layout = Layout(
        title="bc, 5 shots, transductive",
        header=("suite bc · shots 5", "Cells: mean ± sd."),
        names=("method", "mean", "95 %", "B→C"),
        first_pair=3,
        cells=(
            ("logistic", "43.2 ± 7.8", "[32.6, 53.7]", "-3.0"),
            ("sere [1]", "57.4", "", "– [2]"),
            ("target-oracle (oracle)", "65.3", "", "70.4"),
        ),
        aside=(False, False, True),
        below=(),
        footnotes=("sere: a note", "sere: ValueError"),
    )
    return dataclasses.replace(layout, **changes)


def write(folder: Path) -> dict[str, str]:
    """The records' tables as LaTeX, and turned as Markdown, by file name."""
    given_records = json.loads((FOLDER / "records.json").read_text(encoding="utf-8"))
    with Store(folder / "clser.sqlite") as store:
        fill(store, given_records)
        tables = leaderboard(store, against="logistic", resamples=400)
    layouts = [lay_out(table) for table in tables]
    return {
        "table.tex": latex_tables(layouts),
        "transposed.md": "\n".join(markdown(transpose(layout)) for layout in layouts),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write(tmp_path_factory.mktemp("latex"))


@pytest.mark.parametrize("name", ["table.tex", "transposed.md"])
def test_golden_table_is_what_it_was(written, name):
    assert written[name] == (FOLDER / name).read_text(encoding="utf-8")


def test_golden_latex_is_well_formed_and_not_bold(written):
    check_structure(written["table.tex"])
    assert len({len(row) for row in rows_of(written["table.tex"])}) == 1
    assert not re.search(r"\\(textbf|bfseries|mathbf|bf)\b", written["table.tex"])


def test_hostile_text_is_escaped_by_hand():
    expected = (
        r"a\_b\&c\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}x"
        r"\textless{}\textgreater{}\textbar{} $\rightarrow$ $\pm$ --"
    )
    assert escape(HOSTILE + "<>| → ± –") == expected


@settings(deadline=None)
@given(TEXTS)
def test_any_text_is_shown_as_it_is(text):
    expected = "".join(letter if letter.isprintable() else " " for letter in text)
    assert shown(escape(text)).replace("−", "-") == expected.replace("−", "-")


@settings(max_examples=25, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_any_text_keeps_the_structure(method, title, note):
    layout = made(
        title=title,
        cells=((method, *"123"), ("x", method, "[1, 2]", ""), (f"{method} [1]", *"123")),
        names=("method", method, "", "B→C"),
        footnotes=(note,),
        below=(method,),
        header=(note, title),
    )
    for of in (layout, transpose(layout)):
        check_structure(latex(of))
        check_rows(latex(of), of)


def test_hostile_method_stays_in_its_cell():
    layout = made(cells=((HOSTILE, *"123"),), aside=(False,))
    assert [shown(cell) for cell in rows_of(latex(layout))[1]] == [HOSTILE, "1", "2", "3"]


@pytest.mark.parametrize("name", ["[x]", "*x"])
def test_a_row_does_not_begin_with_what_a_line_break_would_take(name):
    rows = rows_of(latex(made(cells=(("a", *"123"), (name, *"123")), aside=(False, False))))
    assert rows[2][0] == "{}" + name


def test_negative_numbers_have_a_minus_sign_and_names_a_hyphen():
    assert escape("-9.8 [-20.4, +0.7]") == "$-$9.8 [$-$20.4, +0.7]"
    assert escape("cdan-2") == "cdan-2"


def test_marks_are_raised_and_intervals_are_not():
    rows = rows_of(latex(made()))
    assert rows[1] == ["logistic", r"43.2 $\pm$ 7.8", "[32.6, 53.7]", "$-$3.0"]
    assert rows[2] == [r"sere\textsuperscript{1}", "57.4", "", r"--\textsuperscript{2}"]
    assert "\n\\textsuperscript{2} sere: ValueError\\par\n" in latex(made())


def test_a_number_in_brackets_without_a_footnote_is_text():
    rows = rows_of(latex(made(footnotes=())))
    assert rows[2][0] == "sere [1]"
    assert "minipage" not in latex(made(footnotes=()))


def test_oracles_are_grey_below_a_rule():
    text = latex(made())
    grey = r"\color{gray}"
    row = rf"{grey}target-oracle (oracle) & {grey}65.3 &  & {grey}70.4 \\"
    assert f"\\midrule\n{row}\n\\bottomrule\n" in text
    assert text.count(grey) == 3
    assert text.count(r"\midrule") == 2


def test_packages_are_those_that_the_table_needs():
    plain = made(aside=(False,) * 3)
    assert latex(plain).startswith("% needs \\usepackage{booktabs}\n")
    assert latex(made()).startswith("% needs \\usepackage{booktabs,xcolor}\n")
    wide = made(names=("method", "m" * 99, "95 %", "B→C"))
    assert latex(wide).startswith("% needs \\usepackage{booktabs,graphicx,xcolor}\n")


@pytest.mark.parametrize(
    ("letters", "float_", "resized"), [(1, "table", 0), (60, "table*", 0), (99, "table*", 1)]
)
def test_the_float_depends_on_the_width(letters, float_, resized):
    layout = made(names=("a", "b" * letters), cells=(("x", "1"),), aside=(False,))
    text = latex(layout)
    assert f"\\begin{{{float_}}}" in text
    assert text.count(r"\resizebox{\textwidth}{!}{%") == resized
    check_structure(text)
    check_rows(text, layout)


def test_caption_has_the_title_and_the_header():
    caption = (
        r"\caption[{bc, 5 shots, transductive}]{bc, 5 shots, transductive. "
        r"{\small suite bc $\cdot$ shots 5. Cells: mean $\pm$ sd.}}"
    )
    assert caption in latex(made()).splitlines()


def test_lines_below_come_before_the_footnotes():
    text = latex(made(below=("sere: k_1",)))
    assert text.index("sere: k\\_1\\par") < text.index(r"\textsuperscript{1} sere: a note\par")


def test_labels_are_safe_and_differ():
    assert label_of("bc:fixed4, 5 shots (synthetic speech)") == (
        "tab:bc-fixed4-5-shots-synthetic-speech"
    )
    assert label_of("ß→") == "tab:leaderboard"
    text = latex_tables([made(), made(), made(title="bc, 5 shots, transductive 2"), made()])
    first = "tab:bc-5-shots-transductive"
    assert re.findall(r"\\label\{(.*)\}", text) == [first, *(f"{first}-{n}" for n in (2, "2-2", 3))]


def test_transposed_table_by_hand():
    turned = transpose(made())
    assert turned.names == ("", "logistic", "sere [1]", "target-oracle (oracle)")
    assert turned.cells == (
        ("mean", "43.2 ± 7.8", "57.4", "65.3"),
        ("95 %", "[32.6, 53.7]", "", ""),
        ("B→C", "-3.0", "– [2]", "70.4"),
    )
    assert turned.aside == (False, False, False)
    assert (turned.title, turned.header) == (made().title, made().header)
    assert turned.footnotes == made().footnotes
    assert transpose(turned).cells == made().cells


def test_transposed_table_is_written_in_all_text_formats():
    turned = transpose(made())
    assert "| B→C  |         -3.0 |      – [2] |" in markdown(turned)
    assert rows_of(latex(turned))[0][2] == r"sere\textsuperscript{1}"
    assert r"\color" not in latex(turned)
    for width in (30, 200):
        text = terminal(turned, width=width, color=False)
        assert all(text.count(value) == 1 for value in ("43.2 ± 7.8", "57.4", "65.3", "– [2]"))


def test_a_table_without_methods_is_turned_too():
    empty = made(cells=(), aside=())
    assert transpose(empty).cells == (("mean",), ("95 %",), ("B→C",))
    check_structure(latex(empty))
    check_rows(latex(empty), empty)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for file, content in write(Path(temporary)).items():
            (FOLDER / file).write_text(content, encoding="utf-8")
