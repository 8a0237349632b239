"""UAR and its company against scikit-learn and by hand."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as oracle

from clser_bench.errors import MethodError
from clser_bench.problem import Outcome
from clser_bench.scoring.metrics import join, measure, score
from tests.records import answer_key, trial


def outcome(scores, status="ok", **rest):
    return Outcome(id="x", status=status, scores=np.asarray(scores, np.float32), **rest)


@st.composite
def scored(draw):
    size, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    y = draw(hnp.arrays(np.int64, size, elements=st.integers(0, classes - 1)))
    # few distinct values, so that ties are common
    elements = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
    return draw(hnp.arrays(np.float32, (size, classes), elements=elements)), y, classes


@given(scored())
@settings(max_examples=60)
def test_metrics_equal_those_of_scikit_learn(case):
    scores, y, classes = case
    found = measure(scores, answer_key(y, classes=tuple("abcdef"[:classes])))
    guess = [max(range(classes), key=lambda c: (row[c], -c)) for row in scores]
    present = sorted(set(y.tolist()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f1 = oracle.f1_score(y, guess, labels=present, average="macro", zero_division=0)
        recalls = oracle.recall_score(y, guess, labels=present, average=None, zero_division=0)
    assert found.uar == pytest.approx(100 * recalls.mean())
    assert found.war == pytest.approx(100 * oracle.accuracy_score(y, guess))
    assert found.macro_f1 == pytest.approx(100 * f1)
    assert [found.recalls[c] for c in present] == pytest.approx(100 * recalls)
    expected = oracle.confusion_matrix(y, guess, labels=range(classes))
    assert found.confusion == tuple(map(tuple, expected.tolist()))


def test_uar_by_hand():
    # recalls 2/2, 1/2, 0/1: the mean is 50, the accuracy 3/5
    scores = np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 1]]
    found = measure(scores, answer_key([0, 0, 1, 1, 2]))
    assert [found.uar, found.war] == pytest.approx([50, 60])
    assert list(found.recalls) == [100, 50, 0]
    assert found.confusion == ((2, 0, 0), (1, 1, 0), (0, 1, 0))
    # F1: 4/5, 2/4, 0
    assert found.macro_f1 == pytest.approx(100 * (0.8 + 0.5 + 0) / 3)
    # a class without utterances is dropped from the mean
    found = measure(scores[[0, 2]], answer_key([0, 0]))
    assert found.uar == 50
    assert math.isnan(found.recalls[2])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.array([[0, 0, 0]] * 3 + [[0, 0, np.nan]]), "1 of 4 utterances are NaN"),
        *((np.zeros(shape), r"wanted \(4, 3\)") for shape in [(3, 3), (4, 2), (0, 3)]),
    ],
)
def test_scores_that_cannot_be_measured_are_an_error_and_fail_the_trial(scores, message):
    key = answer_key([0, 1, 2, 0])
    with pytest.raises(MethodError, match=message):
        measure(scores.astype(np.float32), key)
    record = score(trial(), [outcome(scores)], [key])
    assert record.status == "failed"
    assert re.search(message, record.reason)


def test_folds_are_measured_as_one():
    first, second = answer_key([0, 0, 1]), answer_key([1, 2])
    folds = [outcome(np.eye(3)[[0, 1, 1]]), outcome(np.eye(3)[[0, 2]])]
    scores, key = join(folds, [first, second])
    assert key.y.tolist() == [0, 0, 1, 1, 2]
    assert measure(scores, key).recalls == (50, 50, 100)


@pytest.mark.parametrize(
    ("states", "expected"),
    [(("ok", "failed"), "failed"), (("not_applicable", "failed"), "failed"),
     (("ok", "not_applicable"), "not_applicable")],
)  # fmt: skip
def test_a_trial_is_as_bad_as_its_worst_fold(states, expected):
    folds = [outcome(np.eye(3)[[0]], status, reason=status, seconds=2) for status in states]
    record = score(trial(), folds, [answer_key([0]), answer_key([0])])
    assert (record.status, record.reason, record.seconds) == (expected, expected, 4)
    assert record.metrics is None
