"""Confusion matrices of tables."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.report.confusion_figure import confusion, count_confusions
from clser_bench.report.tables import leaderboard
from clser_bench.store.sqlite import Store
from tests.boards import PAIRS
from tests.drawn import labels
from tests.records import answer_key, ok, trial


def test_confusion_has_shares_of_the_true_class_and_counts():
    matrices = [np.array([[3, 1], [0, 0]]), np.array([[1, 1], [2, 8]])]
    figure = confusion(matrices, ("anger", "fear"), ("a", "b"), width=7)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["a, n = 4", "b, n = 12"]
    assert labels(first) == ["anger (4)", "fear (0)"]
    assert labels(second) == ["anger (2)", "fear (10)"]
    assert labels(second, "x") == ["anger", "fear"]
    shown = [{one.get_position(): one.get_text() for one in axis.texts} for axis in figure.axes]
    assert shown[0] == {(0, 0): "75", (1, 0): "25", (0, 1): "–", (1, 1): "–"}
    assert shown[1] == {(0, 0): "50", (1, 0): "50", (0, 1): "20", (1, 1): "80"}


def test_confusion_refuses_what_does_not_fit():
    with pytest.raises(SpecError, match=r"a: the matrix is \(3, 3\); it must be \(2, 2\)"):
        confusion([np.ones((3, 3), int)], ("anger", "fear"), ("a",))
    with pytest.raises(SpecError, match="0 matrices"):
        confusion([], ("anger",), ())


def test_counted_confusions_are_those_of_the_stored_metrics(tmp_path):
    rng = np.random.default_rng(1)
    classes = {"B→C": ("anger", "neutral"), "C→B": ("anger", "fear", "sadness")}
    records, trials = [], []
    for method, (pair, names), seed in itertools.product("mo", classes.items(), range(2)):
        y = np.arange(24) % len(names)
        of = trial(method, pair, seed=seed, classes=names)
        trials.append(of)
        records.append(
            ok(of, rng.integers(0, len(names), 24), answer_key(y.tolist(), classes=names))
        )
    with Store(tmp_path / "s.sqlite") as store:
        store.plan({}, trials, pairs=PAIRS)
        store.put(records)
        (table,) = leaderboard(store, intervals=False)
        found, order = count_confusions(store, table, ["o", "m"])
        with pytest.raises(SpecError, match="has no 'x'"):
            count_confusions(store, table, ["x"])
    assert order == ("anger", "fear", "neutral", "sadness")
    for method, matrix in zip("om", found, strict=True):
        expected = dict.fromkeys(itertools.product(order, order), 0)
        for record in records:
            names = record.trial.classes
            for one, other in itertools.product(range(len(names)), repeat=2):
                if record.trial.method == method:
                    expected[names[one], names[other]] += record.metrics.confusion[one][other]
        assert matrix.ravel().tolist() == list(expected.values())
        assert matrix.sum() == 2 * 2 * 24
