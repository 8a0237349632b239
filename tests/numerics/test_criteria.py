"""Criteria of unsupervised selection: skada, sums by hand, invariances, hard cases."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skada.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import rel_entr, softmax
from scipy.stats import entropy, norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from clser_bench.nn.losses import information_loss
from clser_bench.scoring import criteria

Array = np.ndarray
validation, ratios = criteria.deep_embedded_validation, criteria.importance_weights
agreement, density = criteria.ensemble_agreement, criteria.soft_neighbourhood_density
OF_TARGETS = (criteria.mutual_information, criteria.negative_entropy, density)
RNG = np.random.default_rng(0)  # where the draw does not matter
CERTAIN = np.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3]]


def normal(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def drawn(seed: int, n: int = 30, c: int = 4, spread: float = 2.0) -> Array:
    return criteria.probabilities(spread * normal(n, c, seed=seed))


class SoftmaxOfRows(Pipeline):  # type: ignore[misc]
    """A classifier as skada's scorers ask for it, with features that are what it is given."""

    def predict_proba(self, x: Array, **_: object) -> Array:
        return criteria.probabilities(x)

    def predict_log_proba(self, x: Array, **_: object) -> Array:
        return np.log(criteria.probabilities(x))


ESTIMATOR = SoftmaxOfRows([("features", FunctionTransformer()), ("scores", "passthrough")])


def by_skada(scorer: Any, scores: Array) -> float:
    """The criterion of target rows; skada wants a source row as well."""
    x, y = np.concatenate([scores[:1], scores]), np.zeros(len(scores) + 1, dtype=int)
    domain = np.array([1] + [-2] * len(scores))
    return float(scorer(ESTIMATOR, x, y, sample_domain=domain))


def density_by_scipy(p: Array, temperature: float) -> float:
    logits = (1 - cdist(p, p, "cosine")) / temperature
    np.fill_diagonal(logits, -np.inf)
    return float(entropy(softmax(logits, axis=1), axis=1).mean())


def test_probabilities_by_hand_and_at_any_size() -> None:
    found = criteria.probabilities(np.log(np.array([[1, 2, 5], [3, 3, 6]], dtype=np.float32)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]], rtol=1e-6)
    hard = np.array([[1e5, -1e5], [-1e5, -1e5], [0.0, -np.inf]])
    np.testing.assert_array_equal(criteria.probabilities(hard), [[1, 0], [0.5, 0.5], [1, 0]])


def test_entropy_by_hand_and_by_skada() -> None:
    """skada's mean runs over utterances and classes, ours over utterances."""
    p = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    assert criteria.negative_entropy(p) == pytest.approx(-(0 + 1 + 1.5) * math.log(2) / 3)
    scores, scorer = normal(30, 4, seed=0), skada.metrics.PredictionEntropyScorer()
    found = criteria.negative_entropy(criteria.probabilities(scores))
    assert found == pytest.approx(4 * by_skada(scorer, scores), rel=1e-12)


def test_mutual_information_by_hand_and_by_divergence() -> None:
    found = criteria.mutual_information(np.array([[1.0, 0], [0.5, 0.5]]))
    expected = -0.75 * math.log(0.75) - 0.25 * math.log(0.25) - 0.5 * math.log(2)
    assert found == pytest.approx(expected, rel=1e-12)
    scores = normal(25, 5, seed=1)
    p = criteria.probabilities(scores)
    found = criteria.mutual_information(p)
    assert found == pytest.approx(rel_entr(p, p.mean(axis=0)).sum(axis=1).mean(), rel=1e-9)
    assert found == pytest.approx(-float(information_loss(torch.from_numpy(scores))), rel=1e-9)


@pytest.mark.parametrize("spread", [0.1, 2.0, 20.0])
def test_density_equals_skada(spread: float) -> None:
    """skada leaves the diagonal in, at minus one: exp(-20) of the mass or less."""
    scores, scorer = spread * normal(60, 4, seed=2), skada.metrics.SoftNeighborhoodDensity()
    expected = pytest.approx(by_skada(scorer, scores), rel=1e-6)
    assert density(criteria.probabilities(scores)) == expected


@pytest.mark.parametrize("temperature", [1e-4, 0.05, 3.0])
def test_density_equals_scipy(temperature: float) -> None:
    for p in (drawn(3, n=12), CERTAIN):
        expected = density_by_scipy(p, temperature)
        assert density(p, temperature) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_density_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    p = drawn(4, n=53)
    whole = density(p)
    for cells in (1, 53, 400, 53 * 53):
        monkeypatch.setattr(criteria, "BLOCK_CELLS", cells)
        assert density(p) == pytest.approx(whole, rel=1e-12)


def test_density_of_many_rows_needs_little_memory() -> None:
    tracemalloc.start()
    density(drawn(5, n=5_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6  # all similarities at once are 200 MB


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("criterion", OF_TARGETS)
def test_order_of_rows_and_classes(criterion: Callable[[Array], float], seed: int) -> None:
    p, rng = drawn(seed), np.random.default_rng(seed)
    expected = pytest.approx(criterion(p), rel=1e-10)
    assert criterion(p[rng.permutation(len(p))]) == expected
    assert criterion(p[:, rng.permutation(p.shape[1])]) == expected


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6), st.floats(0, 200))
def test_bounds(seed: int, n: int, c: int, spread: float) -> None:
    information, entropy, spread_out = (each(drawn(seed, n, c, spread)) for each in OF_TARGETS)
    assert -1e-12 <= information <= math.log(min(n, c)) + 1e-12
    assert -math.log(c) - 1e-12 <= entropy <= 0
    assert 0 <= spread_out <= math.log(max(n - 1, 1)) + 1e-12


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (np.full((6, 4), 0.25), (0, -math.log(4), math.log(5))),
        (np.eye(4)[[2] * 6], (0, 0, math.log(5))),
        (np.eye(4)[[2]], (0, 0, 0)),
        (np.full((1, 4), 0.25), (0, -math.log(4), 0)),
        (np.ones((3, 1)), (0, 0, math.log(2))),
        (CERTAIN, (math.log(4), 0, 0)),
    ],
)
def test_extremes(p: Array, expected: tuple[float, float, float]) -> None:
    np.testing.assert_allclose([each(p) for each in OF_TARGETS], expected, atol=1e-6)


def test_source_criteria_by_scikit_learn_and_hand() -> None:
    p, y = drawn(6), np.random.default_rng(6).integers(0, 4, 30)
    assert criteria.source_risk(p, y) == pytest.approx(-log_loss(y, p, labels=range(4)))
    np.testing.assert_allclose(criteria.cross_entropies(p, y), -np.log(p[range(30), y]))
    assert criteria.source_risk(CERTAIN, np.arange(8) // 2) == 0
    assert criteria.source_risk(CERTAIN[:1], np.array([1])) == pytest.approx(math.log(1e-12))
    assert criteria.source_accuracy(p, y) == balanced_accuracy_score(y, p.argmax(axis=1))
    p = np.eye(3)[[0, 0, 1, 2]]  # class 2 is predicted and never true
    assert criteria.source_accuracy(p, np.array([0, 0, 0, 1])) == pytest.approx((2 / 3 + 0) / 2)
    assert criteria.source_accuracy(np.full((2, 2), 0.5), np.array([0, 1])) == 0.5


def test_deep_embedded_validation_equals_skada() -> None:
    """All of it: the domain classifier, the ratios, the losses, the control variate.

    skada is given a loss in a column, as its weights are: its own is a row, and row times column
    is a matrix.
    """
    x, y = normal(120, 3, seed=8), np.random.default_rng(8).integers(0, 3, 120)
    x[80:] += 0.5
    scorer = skada.metrics.DeepEmbeddedValidation(
        domain_classifier=make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-10)),
        loss_func=lambda y, p: -np.log(p[np.arange(len(y)), y])[:, None],
        random_state=5,
    )
    domain = np.repeat([1, -2], [80, 40])
    theirs = scorer(ESTIMATOR, x, y, sample_domain=domain)
    rows, asked = train_test_split(np.arange(80), test_size=0.33, random_state=5)
    weights = ratios(x[rows], x[asked], x[80:], rng=RNG, strengths=[0.1])
    losses = criteria.cross_entropies(criteria.probabilities(x[asked]), y[asked])
    assert validation(losses, weights) == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0, 3.0])
def test_deep_embedded_validation_by_hand(weight: float) -> None:
    # w l = 1, 0, 6 and w = 1, 2, 3: cov = 2.5, var = 1, eta = -2.5, so 7/3 - 2.5 * 2 + 2.5.
    losses, equal = np.array([1.0, 0, 2]), weight * (1 + 1e-15 * np.arange(3))  # but for rounding
    assert validation(losses, np.array([1.0, 2, 3])) == pytest.approx(-(7 / 3 - 2.5 * 2 + 2.5))
    assert validation(losses, equal) == pytest.approx(-weight)
    assert validation(losses[:1], equal[:1]) == pytest.approx(-weight)


@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0.01, 100))
def test_a_constant_loss_is_its_own_risk(seed: int, m: int, constant: float) -> None:
    """The control variate removes all of the weights' noise where the loss is constant."""
    found = validation(np.full(m, constant), np.exp(normal(m, seed=seed)))
    assert found == pytest.approx(-constant, rel=1e-6)


def test_weights_and_risk_of_shifted_normals() -> None:
    """N(0, 1) to N(1, 1): the ratio is exp(x - 1/2) and the mean of x² goes from 1 to 2."""
    source = norm.ppf((np.arange(6_000) + 0.5) / 6_000)[:, None]
    weights = ratios(source, source, 1 + source[::2], rng=np.random.default_rng(0))
    x = source[:, 0]
    np.testing.assert_allclose(weights, np.exp(x - 0.5), rtol=0.1)
    assert validation(x**2, weights) == pytest.approx(-2, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_penalty_is_strong_where_there_is_nothing_to_tell_apart(seed: int) -> None:
    """Weights of one distribution are 1; 60 and 200 rows of 40 features feign other ones."""
    parts, rng = np.split(normal(290, 40, seed=seed), [60, 90]), np.random.default_rng(0)
    fixed = np.log(ratios(*parts, rng=rng, strengths=[1.0]))
    assert np.log(ratios(*parts, rng=rng)).std() < fixed.std() / 2


def test_weights_repeat_and_do_not_depend_on_the_units() -> None:
    parts = [normal(40, 3, seed=15), normal(20, 3, seed=16), 1 + normal(50, 3, seed=17)]
    expected = ratios(*parts, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(ratios(*parts, rng=np.random.default_rng(0)), expected)
    moved = [part * np.array([1e3, 1e-3, 7]) + 5 for part in parts]
    np.testing.assert_allclose(ratios(*moved, rng=np.random.default_rng(0)), expected, rtol=1e-3)


def test_weights_of_hard_cases_are_finite() -> None:
    x, rng = np.column_stack([np.ones(5), normal(5, seed=18)]), np.random.default_rng(0)
    apart = ratios(x, 1e6 * x, x + 1e3, rng=rng)
    assert ((apart > 0) & np.isfinite(apart)).all()
    assert np.isfinite(validation(np.arange(5.0), apart))
    assert np.isfinite(ratios(x[:2], x[:1], x[2:4], rng=rng)).all()
    np.testing.assert_allclose(ratios(x[:4, :1], x[:3, :1], x[:, :1], rng=rng), 1, rtol=1e-3)


def test_agreement_by_hand() -> None:
    one, two, sure = np.array([0.6, 0.4]), np.array([0.4, 0.6]), np.array([0.0, 1])
    # Mean probabilities predict 0 0 0 1; a vote would predict 0 0 0 0.
    p = np.array([[one, two, one, one], [one, one, one, one], [one, one, one, sure]])
    np.testing.assert_allclose(agreement(p), [(2 / 3 + 0) / 2, 0.5, 1])


def test_agreement_is_the_share_where_classes_are_equally_frequent() -> None:
    """The authors' score, where the ensemble predicts each class equally often."""
    rng, wanted = np.random.default_rng(19), np.repeat(np.arange(4), 25)
    p = np.stack([0.6 * np.eye(4)[wanted] + 0.4 * drawn(seed, n=100) for seed in range(7)])
    p[2:4] = drawn(20, n=100)
    expected = [(each.argmax(axis=1) == wanted).mean() for each in p]
    np.testing.assert_allclose(agreement(p), expected)
    moved = p[::-1, rng.permutation(100)][..., rng.permutation(4)]
    np.testing.assert_allclose(agreement(moved), expected[::-1])
    np.testing.assert_array_equal(agreement(p[2:4]), [1, 1])  # equals
    np.testing.assert_array_equal(agreement(p[:1, :1]), [1])  # a single one, of one row


P, X, Y = np.full((3, 2), 0.5), normal(4, 2, seed=0), np.arange(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: criteria.probabilities(Y), r"scores has shape \(3,\); wanted \[n, c\]"),
        (lambda: criteria.probabilities(P[:0]), r"shape \(0, 2\)"),
        (lambda: criteria.probabilities(np.array([[np.nan, 0], [1, 0]])), "1 of 2 rows of scores"),
        (lambda: criteria.probabilities(np.full((1, 2), -np.inf)), "1 of 1 rows of scores"),
        (lambda: criteria.mutual_information(3 * P), "sum off 1 by 2; wanted class"),
        (lambda: criteria.negative_entropy(P - [1, -1]), "a least value of -0.5"),
        (lambda: criteria.negative_entropy(np.array([[np.nan, 1]])), "1 of 2 values of p are NaN"),
        (lambda: density(P, 0.0), "temperature is 0.0; wanted"),
        (lambda: density(P, np.nan), "temperature is nan; wanted"),
        (lambda: agreement(P), r"shape \(3, 2\); wanted \[p, n, c\]"),
        (lambda: criteria.source_risk(P, Y[:2]), r"y has shape \(2,\), of int64; wanted 3"),
        (lambda: criteria.source_risk(P, 0.0 * Y), "of float64; wanted 3 integers"),
        (lambda: criteria.source_accuracy(P, Y), "y runs from 0 to 2; wanted"),
        (lambda: criteria.source_accuracy(P, Y - 1), "y runs from -1 to 1; wanted"),
        (lambda: ratios(X, X[:, :1], X, rng=RNG), r"held_out \(4, 1\) and target \(4, 2\); wanted"),
        (lambda: ratios(X[:1], X, X, rng=RNG), r"source \(1, 2\)"),
        (lambda: ratios(X, np.inf * X, X, rng=RNG), "8 of 8 values of held_out"),
        (lambda: validation(Y, Y[:2]), r"losses \(3,\) and weights \(2,\) from 0.0; wanted as"),
        (lambda: validation(Y, Y - 2), "from -2.0; wanted"),
        (lambda: validation(Y[:1], np.array([np.nan])), "1 of 1 values of weights"),
    ],
)
def test_wrong_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
