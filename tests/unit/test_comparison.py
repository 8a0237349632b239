"""Comparisons of methods: differences, effects, wins, directions; `clser-bench compare`."""

from __future__ import annotations

import itertools
import json
import re
import statistics
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import MISUSED, app
from clser_bench.report.comparison import Comparison, compare, render, text_tables
from clser_bench.report.formats import write_tables
from clser_bench.report.intervals import count, evidence_of
from clser_bench.report.statistics import spread
from clser_bench.report.table import rows_of
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, RIGHT, TWELVE, put, run, tables_of
from tests.records import answer_key, ok, trial

HOSTILE = "<script>alert(1)</script>|$x$"


def compared(store) -> Any:
    (table,) = tables_of(store)
    return compare(store, store.frame(), table)


def counts_of(store, found):
    names = [line.method for line in found.lines]
    return count(store, found.table, rows_of(store.frame(), found.table), names)


def markdown(found: Comparison) -> str:
    return write_tables(text_tables(found), "md")


def contrasts(found: Comparison) -> dict[tuple[str, str], Any]:
    return {(item.method, item.other): item for item in found.contrasts}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Methods by their chance of being right, which varies with speaker, pair and draw."""
    key = answer_key([0, 1, 2] * 16, speakers="aaabbbcccddd" * 4)
    rng = np.random.default_rng(3)
    voices = {name: rng.normal(0, 0.05) for name in "abcd"}
    trials, records = [], []
    for method, chance in {"a": 0.8, "b": 0.78, "logistic": 0.6, "d": 0.58, "e": 0.4}.items():
        for pair, seed in itertools.product(TWELVE, range(3)):
            trials.append(trial(method, str(pair), seed=seed))
            level = chance + rng.normal(0, 0.05)
            likely = np.array([level + voices[name] for name in key.speakers])
            wrong = rng.random(len(key.y)) > likely
            records.append(ok(trials[-1], ((key.y + wrong) % 3).tolist(), key))
    with Store(tmp_path_factory.mktemp("noisy") / "r.sqlite") as store:
        store.plan({}, trials, pairs=TWELVE)
        store.put(records)
        yield store, compared(store)


def test_differences_are_simultaneous_and_those_of_the_table(noisy):
    store, found = noisy
    items, names = contrasts(found), [line.method for line in found.lines]
    assert list(items) == list(itertools.permutations(names, 2))
    evidence = evidence_of(store, found.table, rows_of(store.frame(), found.table))
    every = evidence.family(list(itertools.combinations(names, 2)))
    own = evidence.family([(name, "logistic") for name in "abde"])
    assert items["a", "b"].interval == every["a", "b"]
    for name in "abde":
        assert items[name, "logistic"].interval == own[name, "logistic"]
        assert found.table.line(name).difference == own[name, "logistic"]
    assert {item.n for item in items.values()} == {3}
    there, back = items["a", "d"], items["d", "a"]
    assert back.interval == there.interval.mirrored
    assert (back.effect, back.n) == (-there.effect, there.n)
    assert (back.wins, back.ties, back.losses) == (there.losses, there.ties, there.wins)


def test_ranks_of_the_table_follow_from_the_differences(noisy):
    _, found = noisy
    better = [item.other for item in found.contrasts if item.interval.verdict == "better"]
    worse = [item.other for item in found.contrasts if item.interval.verdict == "worse"]
    ranks = {line.method: line.ranks for line in found.lines}
    assert ranks == {name: (1 + better.count(name), 5 - worse.count(name)) for name in ranks}
    assert ranks["e"] == (5, 5)
    assert ranks["a"] != (1, 5)


def test_wins_are_cells_whose_own_interval_excludes_zero(noisy):
    store, found = noisy
    counts = counts_of(store, found)
    outcomes = set()
    for item in found.contrasts:
        cells: list[Any] = [
            spread({"one": [one], "other": [other]}).difference("one", "other")
            for one, other in zip(counts[item.method], counts[item.other], strict=True)
        ]
        wins, losses = sum(cell.low > 0 for cell in cells), sum(cell.high < 0 for cell in cells)
        assert (item.wins, item.ties, item.losses) == (wins, 12 - wins - losses, losses)
        gains = [cell.estimate for cell in cells]
        assert item.effect == pytest.approx(statistics.mean(gains) / statistics.stdev(gains))
        outcomes |= {(wins > 0, losses > 0, item.ties > 0)}
    assert len(outcomes) > 1


def test_directions_are_differences_of_two_pairs(noisy):
    store, found = noisy
    assert len(found.directions) == 6
    direction = found.directions[0]
    assert (str(direction.pair), direction.n) == ("B→C", 3)
    names = [str(pair) for pair in found.table.pairs]
    places = [names.index(name) for name in ("B→C", "C→B")]
    both = {name: [items[at] for at in places] for name, items in counts_of(store, found).items()}
    own = spread(both, weights=(1, -1))
    for interval, line in zip(direction.methods, found.lines, strict=True):
        there, back = (line.cells[at].mean for at in places)
        assert interval.estimate == pytest.approx(there - back)
        assert interval == own.mean(line.method)
    assert direction.mean == own.average()


def test_there_is_no_effect_where_pairs_do_not_vary(store):
    put(store, {"a": (100, 100), "b": (0, 0), "c": (0, 0)})
    items = contrasts(compared(store))
    gain, same = items["a", "b"], items["b", "c"]
    assert (gain.effect, gain.interval.estimate) == (None, 100)
    assert (gain.wins, gain.ties, gain.losses) == (2, 0, 0)
    assert (same.effect, same.interval.estimate, same.interval.p) == (None, 0, 1)
    assert (same.wins, same.ties, same.losses) == (0, 2, 0)


def test_a_single_pair_has_neither_effect_nor_direction(store):
    put(store, {"a": (50,), "b": (0,)}, pairs=PAIRS[:1])
    found = compared(store)
    assert contrasts(found)["a", "b"].effect is None
    assert found.directions == ()
    assert "d_z" in markdown(found)


def test_two_like_methods_have_the_direction_of_one_and_no_difference(store):
    put(store, {"a": (100, 50), "b": (100, 50)})
    found = compared(store)
    (direction,) = found.directions
    assert direction.mean == pytest.approx(direction.methods[0])
    assert direction.mean.estimate == pytest.approx(50)
    # zero has no sign
    assert re.search(r"\| +0\.0 \[0\.0, 0\.0\] \|", markdown(found))
    assert not re.search(r"[+-]0\.0", markdown(found))


def test_methods_are_compared_on_the_draws_that_both_have(store):
    run(store, {"a": 20, "b": 12}, seeds=4)
    run(store, {"c": 16}, seeds=2)
    found = compared(store)
    items = contrasts(found)
    assert [items["a", other].n for other in "bc"] == [4, 2]
    assert found.directions[0].n == 2


def test_methods_without_a_common_draw_are_not_compared(store):
    run(store, {"a": 20, "b": 12}, seeds=1)
    late = [trial("c", str(pair), seed=7) for pair in PAIRS]
    store.plan({}, late, pairs=PAIRS)
    store.put([ok(of, RIGHT, KEY) for of in late])
    found = compared(store)
    assert list(contrasts(found)) == [("a", "b"), ("b", "a")]
    assert found.directions == ()
    assert "2 pairs of methods share no draw, so they are not compared" in found.remarks
    assert any("holds for this one draw only" in remark for remark in found.remarks)
    assert "Directions" not in markdown(found)


def test_with_all_labels_one_draw_is_compared_with_many(store):
    run(store, {"a": 20}, seeds=1, shots="all")
    run(store, {"b": 12}, seeds=3, shots="all")
    found = compared(store)
    item = contrasts(found)["a", "b"]
    assert item.n == 1
    assert item.interval.low < item.interval.estimate < item.interval.high
    assert found.directions[0].n == 1
    assert not any("this one draw" in remark for remark in found.remarks)


@pytest.mark.parametrize(("role", "ranks"), [("bound", []), ("ranked", [(1, 1)])])
def test_one_method_is_compared_with_none_and_a_bound_not_at_all(store, role, ranks):
    run(store, {"a": 8}, notes={"a": MethodNote(role=role)})
    found = compared(store)
    assert [line.ranks for line in found.lines] == ranks
    assert (found.contrasts, len(found.directions)) == ((), len(ranks))
    assert "Differences" not in markdown(found)
    assert bool(json.loads(render([found], "json"))) == bool(ranks)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`compare` on two tables: that of 5 shots has a bound and a method with a missing cell."""
    file = tmp_path_factory.mktemp("results") / "clser.sqlite"
    methods = {"logistic": 12, "good": 22, HOSTILE: 12, "chance": 8, "holed": 16}
    notes = {"chance": MethodNote(role="bound")}
    with Store(file) as store:
        run(store, methods, notes=notes, left_out={("holed", "B→C", 0)})
        run(store, {"logistic": 12, "good": 20}, shots=1)
    return lambda *words: CliRunner().invoke(app, ["compare", *words, "--results", str(file)])


def test_the_command_writes_text_and_latex(command):
    result = command("--shots", "5")
    assert result.exit_code == 0, result.output
    for part in ("+41.7", HOSTILE, "not compared, since a pair has no result: holed"):
        assert part in result.stdout, part
    assert "\n\n\n" not in result.stdout
    assert "chance" not in result.stdout
    latex = command("--shots", "5", "--format", "latex").stdout
    assert latex.count("\\begin{tabular}") == latex.count("\\label{") == 4


def test_the_command_compares_those_that_were_asked_for(command):
    def rows(*words: str) -> list[dict[str, Any]]:
        return json.loads(command("--format", "json", *words).stdout)

    assert {row["shots"] for row in rows()} == {1, 5}
    chosen = rows("--shots", "5", "--methods", "good,logistic")
    assert {row["method"] for row in chosen if row["row"] == "method"} == {"good", "logistic"}
    assert {row["shots"] for row in chosen} == {5}


FILTERS = ("suite", "features", "normalise", "setting", "target-prior", "selection")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *(((f"--{name}", "other"), "there are no results of ") for name in FILTERS),
        (("--format", "csv"), "there is no format 'csv'"),
        (("--methods", "good,logistik"), "no results of 'logistik'; did you mean 'logistic'?"),
    ],
)
def test_the_command_says_what_is_wrong(command, words, message):
    result = command(*words)
    assert (result.exit_code, result.stdout) == (MISUSED, "")
    assert message in result.stderr
