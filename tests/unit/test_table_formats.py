"""Leaderboards in words: headers, footnotes, widths, formats."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys

import numpy as np
import pytest

from clser_bench.problem import SkippedFile
from clser_bench.report.aggregate import one_line
from clser_bench.report.tables import leaderboard, render
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, TWELVE, guesses, rows_of, run
from tests.records import ok, trial


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "clser.sqlite") as opened:
        yield opened


def test_chance_stands_in_every_table(store):
    run(store, {"m": 20})
    line = next(line for line in render(leaderboard(store)).splitlines() if "chance" in line)
    assert line.split() == ["chance", "level", "33.3", "33.3", "33.3"]
    run(store, {"chance": 8}, notes={"chance": MethodNote(role="bound")})
    assert "chance level" not in render(leaderboard(store))


def test_header_names_every_rule(store):
    run(store, {"m": 20}, setting="inductive", prior="dirichlet:1", synthetic=True)
    for how in ("table", "md"):
        text = " ".join(render(leaderboard(store), how).split())
        for part in ("suite bc", "features acoustic", "normalisation corpus", "setting inductive",
                     "prior dirichlet:1", "selection default", "shots 5", "seeds 2",
                     "protocol version 1", "UAR: mean of per-class recalls, %",
                     "(synthetic speech)", "conditional on these corpora"):  # fmt: skip
            assert part in text


def test_notes_and_skipped_files_are_footnotes(store):
    note = "equations reconstructed from the abstract"
    run(store, {"sere": 20}, notes={"sere": MethodNote(assumes_prior="uniform", note=note)})
    store.put_skipped([SkippedFile(corpus="C", name="x.wav", reason="empty")])
    text = render(leaderboard(store))
    assert f"[1] sere: {note}" in text
    assert "[2] 1 file(s) of C could not be read" in text
    assert re.search(r"sere \[1\] .* uniform", text)


@pytest.mark.parametrize("width", [100, 120, 160, 400])
def test_twelve_pairs_are_readable_at_any_width(store, width):
    run(store, {"m" * 20: 20, "sere-no-prototype": 12}, pairs=TWELVE)
    text = render(leaderboard(store), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for pair in TWELVE:
        assert text.count(f" {pair}") == 1
    assert sum(line.startswith("sere-no-prototype") for line in text.splitlines()) == (
        1 if width == 400 else 3
    )


def test_a_narrow_terminal_cuts_nothing(store):
    run(store, {"m" * 30: 20}, pairs=TWELVE)
    text = render(leaderboard(store), width=30)
    assert "m" * 30 in text
    assert all(f" {pair}" in text for pair in TWELVE)


def test_only_a_terminal_gets_escape_codes(store):
    run(store, {"m": 20}, selection="oracle")
    tables = leaderboard(store)
    assert "\x1b" not in render(tables)
    coloured = render(tables, color=True)
    assert "\x1b[2m" in coloured
    assert "\x1b[1m" not in coloured  # nothing is bold: noise must not look like a winner


def test_csv_and_json_hold_the_same(store):
    run(store, {"m": 20, "n, too": 12}, left_out={("m", "B→C", 0)})
    tables = leaderboard(store, against="n, too", with_=("time",))
    read = list(csv.DictReader(io.StringIO(render(tables, "csv"))))
    for one, other in zip(read, rows_of(tables), strict=True):
        blank = {name: "" for name in one if name not in other or other[name] is None}
        assert one == {**{name: str(value) for name, value in other.items()}, **blank}


def test_tables_do_not_depend_on_the_order_of_storing(tmp_path):
    texts = []
    for turn in (1, -1):
        with Store(tmp_path / f"{turn}.sqlite") as store:
            trials = [trial(m, str(p), seed=s) for m in "ab" for p in PAIRS for s in range(3)]
            store.plan({}, trials, pairs=PAIRS)
            for of in trials[::turn]:
                rng = np.random.default_rng(int(of.id[:8], 16))
                store.put([ok(of, guesses(15, rng), KEY, seconds=rng.random())])
            tables = leaderboard(store, against="a")
            texts.append([render(tables, how) for how in ("table", "md", "latex", "csv", "json")])
    assert texts[0] == texts[1]


def test_one_line_of_a_reason():
    assert one_line("first\nsecond") == "first"
    assert one_line("x\nTraceback (most recent call last):\n  f\nE: why\n") == "E: why"
    assert one_line("") == "no reason given"


def test_a_table_needs_neither_torch_nor_ray_nor_pandas():
    code = (
        "import sys, clser_bench.report.tables\n"
        "heavy = ('torch', 'ray', 'pandas', 'scipy.stats', 'sklearn')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
