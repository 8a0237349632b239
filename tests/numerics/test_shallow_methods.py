"""Shallow methods from problem to scores against scikit-learn, SciPy and POT, step by step.

The problem is one in which a mix-up shows: the labelled classes are uneven, the target is shifted
and stretched, and the rows to adapt to are others than the scored ones.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import pytest
import scipy.linalg
from scipy.optimize import LinearConstraint
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.problem import Labelled, Problem, Table
from clser_bench.shallow.sides import sides_of
from clser_bench.train.check import example_problem
from tests.oracles import solved

STRENGTH = 0.05


def uneven(*, c: int = 3) -> Problem:
    """Class 0 has two labelled rows, the others six; 30 rows to adapt to, 18 to score."""
    problem = example_problem(c=c, shots=6, f=6, n_source=60, n_target=48)
    stretch = np.array([1, 2, 1, 0.5, 1, 3], dtype=np.float32)
    summary = np.array(problem.target.summary) * stretch + np.float32(1)
    rows, y = problem.labelled.rows, problem.labelled.y
    kept = np.flatnonzero((y != 0) | (np.arange(len(y)) < 2))
    return replace(
        problem,
        target=Table("uneven", problem.target.instants, summary),
        labelled=Labelled(rows[kept], y[kept]),
        unlabelled=np.setdiff1d(np.arange(60), rows[kept]),
        adapt=np.arange(30),
        scored=np.arange(30, 48),
    )


PROBLEM = uneven()
Y = PROBLEM.labelled.y
PLAIN = sides_of(PROBLEM)
FRONT = sides_of(PROBLEM, front="axes")
KNOWN, SOURCE, TARGET, SCORED = FRONT.known, FRONT.source, FRONT.target, FRONT.scored


def scores_of(name: str, problem: Problem = PROBLEM, **values: float) -> np.ndarray:
    """With the C of `logistic` below, whatever default a selection chose."""
    values = {"strength": STRENGTH, **values} if name != "lda" else values
    return registry.create(name, values).fit_predict(problem, generator("test"))


def logistic(x: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500)
    return model.fit(x, Y, sample_weight=weights).predict_log_proba(target)


def test_svm_of_two_classes_solves_the_dual_programme() -> None:
    """max sum a - |sum a y x|^2 / 2, 0 <= a <= C m / (2 m_k), sum a y = 0, by SLSQP."""
    problem = uneven(c=2)
    x = problem.source.summary[problem.labelled.rows].astype(np.float64)
    y, m = problem.labelled.y, len(problem.labelled.y)
    sign, most = 2.0 * y - 1, 0.1 * m / (2 * np.bincount(y)[y])
    gram = (x @ x.T) * np.outer(sign, sign)
    dual = solved(
        lambda a: 0.5 * a @ gram @ a - a.sum(), most / 2, lambda a: gram @ a - 1,
        most=most, constraints=LinearConstraint(sign[None], 0, 0),
    )  # fmt: skip
    normal = (dual * sign) @ x
    inside = (dual > 1e-4 * most) & (dual < most * (1 - 1e-4))
    assert inside.any()
    offset = np.mean(sign[inside] - x[inside] @ normal)
    expected = problem.target.summary[30:].astype(np.float64) @ normal + offset
    found = scores_of("svm", problem, strength=0.1)
    np.testing.assert_allclose(found, np.stack([-expected, expected], axis=1), atol=5e-3)


def test_svm_counts_the_votes_of_pairs() -> None:
    """Each pair's own machine, with the balanced weights of all classes; no tied votes here."""
    weight = dict(enumerate(len(Y) / (3 * np.bincount(Y))))
    votes = np.zeros((18, 3))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pair = np.isin(Y, (first, second))
        own = {k: weight[k] for k in (first, second)}
        model = SVC(C=STRENGTH, kernel="linear", class_weight=own).fit(PLAIN.known[pair], Y[pair])
        votes[np.arange(18), model.predict(PLAIN.scored)] += 1
    decided = votes.max(axis=1) == 2
    assert decided.sum() > 12
    assert len(np.unique(votes.argmax(axis=1)[decided])) > 1
    found = scores_of("svm").argmax(axis=1)
    np.testing.assert_array_equal(found[decided], votes.argmax(axis=1)[decided])


def test_svm_lowers_c_where_squared_lengths_sum_to_more() -> None:
    """Rows 100 times as long: C is divided by what their squared lengths exceed the sum by."""
    source, target = (
        Table("long", table.instants, 100 * np.asarray(table.summary))
        for table in (PROBLEM.source, PROBLEM.target)
    )
    lower = 1e4 * float((PLAIN.known**2).sum()) / 1e5
    assert lower > 10
    found = scores_of("svm", replace(PROBLEM, source=source, target=target), strength=STRENGTH)
    model = SVC(C=STRENGTH / lower, kernel="linear", class_weight="balanced")
    model.fit(100.0 * PLAIN.known, Y)
    np.testing.assert_allclose(found, model.decision_function(100.0 * PLAIN.scored), rtol=1e-3)


@pytest.mark.parametrize("name", ["svm", "lda"])
def test_an_absent_class_scores_below_all_others(name: str) -> None:
    absent = replace(PROBLEM, classes=("anger", "fear", "happiness", "neutral"))
    found = scores_of(name, absent)
    assert (found[:, 3] < found[:, :3].min(axis=1)).all()
    np.testing.assert_array_equal(found[:, :3], scores_of(name))


def test_lda_of_two_classes_names_the_classes_in_order() -> None:
    problem = uneven(c=2)
    x = problem.source.summary[problem.labelled.rows].astype(np.float64)
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.5, priors=[0.5, 0.5])
    model.fit(x, problem.labelled.y)
    expected = model.predict(problem.target.summary[30:].astype(np.float64))
    assert len(np.unique(expected)) == 2
    found = scores_of("lda", problem, shrinkage=0.5)
    np.testing.assert_array_equal(found.argmax(axis=1), expected)


def test_coral_from_problem_to_scores() -> None:
    root = [scipy.linalg.sqrtm(np.cov(x.T, ddof=0) + 0.5 * np.eye(6)) for x in (SOURCE, TARGET)]
    moved = (KNOWN - SOURCE.mean(axis=0)) @ np.linalg.inv(root[0]) @ root[1] + TARGET.mean(axis=0)
    found = scores_of("coral", ridge=0.5)
    np.testing.assert_allclose(found, logistic(moved, SCORED), atol=1e-3)


def test_subspace_alignment_from_problem_to_scores() -> None:
    source, target = PCA(3).fit(SOURCE), PCA(3).fit(TARGET)
    aligned = source.transform(KNOWN) @ source.components_ @ target.components_.T
    found = scores_of("subspace-alignment", dimension=3)
    np.testing.assert_allclose(found, logistic(aligned, target.transform(SCORED)), atol=1e-3)


def test_gfk_inner_products_are_those_of_all_subspaces_on_the_way() -> None:
    """The features of 400 subspaces side by side instead of the kernel's root."""
    source, target = (PCA(2).fit(x).components_.T for x in (SOURCE, TARGET))
    u, cosine, vt = np.linalg.svd(source.T @ target)
    theta = np.arccos(np.clip(cosine, -1, 1))
    across = (target @ vt.T - source @ u * cosine) / np.sin(theta)
    angles = [t * theta for t in (np.arange(400) + 0.5) / 400]
    way = np.hstack([source @ u * np.cos(angle) + across * np.sin(angle) for angle in angles]) / 20
    expected = logistic((KNOWN - SOURCE.mean(axis=0)) @ way, (SCORED - TARGET.mean(axis=0)) @ way)
    np.testing.assert_allclose(scores_of("gfk", dimension=2), expected, rtol=2e-3, atol=1e-3)


def components(label: np.ndarray | None, regularisation: float) -> np.ndarray:
    """Three components from the authors' matrices over all rows: M = sum of e e', H centring."""
    x = np.concatenate([SOURCE, TARGET])
    every = np.full(90, -1)
    every[PROBLEM.labelled.rows] = Y
    e = np.concatenate([np.full(60, 1 / 60), np.full(30, -1 / 30)])
    m = np.outer(e, e)
    if label is not None:
        every[60:] = label
        for k in np.intersect1d(Y, label):
            of_source, of_target = ((every == k) & (e * sign > 0) for sign in (1, -1))
            gap = of_source / of_source.sum() - of_target / of_target.sum()
            m = m + np.outer(gap, gap)
    h = np.eye(90) - 1 / 90
    scatter = x.T @ h @ x / 90
    cost = x.T @ m @ x + regularisation * np.eye(6)
    values, vectors = scipy.linalg.eig(np.linalg.solve(cost, scatter))
    w = vectors[:, np.argsort(values.real)[::-1][:3]].real
    return w / np.linalg.norm(w, axis=0)


@pytest.mark.parametrize(
    ("name", "rounds"), [("tca", {}), *(("jda", {"rounds": rounds}) for rounds in (0, 1, 4))]
)
def test_tca_and_jda_from_problem_to_scores(name: str, rounds: dict[str, int]) -> None:
    w = components(None, 0.3)
    for _ in range(rounds.get("rounds", 0)):
        w = components(logistic(KNOWN @ w, TARGET @ w).argmax(axis=1), 0.3)
    found = scores_of(name, dimension=3, regularisation=0.3, **rounds)
    np.testing.assert_allclose(found, logistic(KNOWN @ w, SCORED @ w), atol=1e-3)


def test_ot_from_problem_to_scores() -> None:
    """POT's plan for masses that are balanced by class, then its barycentric mapping by hand."""
    cost = np.sum((KNOWN[:, None] - TARGET) ** 2, axis=-1)
    masses = 1 / (3 * np.bincount(Y)[Y])
    plan = ot.da.sinkhorn_lpl1_mm(
        masses, Y, np.full(30, 1 / 30), cost / cost.max(), 0.3, eta=0.2,
        numInnerItermax=10_000, stopInnerThr=1e-10,
    )  # fmt: skip
    moved = plan @ TARGET / masses[:, None]
    found, alone = (
        scores_of("ot", entropy=0.3, group=group, rounds=10, iterations=10_000)
        for group in (0.2, 0.0)
    )
    np.testing.assert_allclose(found, logistic(moved, SCORED), atol=1e-3)
    assert np.abs(found - alone).max() > 0.01


def test_kmm_from_problem_to_scores() -> None:
    """The kernel of half the median distance by loops, the weights by SLSQP."""
    m = len(KNOWN)
    distance = [[float(np.sum((a - b) ** 2)) for b in TARGET] for a in KNOWN]
    scale = 2 * 0.5**2 * np.median(distance)
    across = np.array([np.mean([np.exp(-d / scale) for d in row]) for row in distance])
    kernel = np.array([[np.exp(-np.sum((a - b) ** 2) / scale) for b in KNOWN] for a in KNOWN])
    slack = (np.sqrt(m) - 1) / np.sqrt(m)
    weights = solved(
        lambda w: 0.5 * w @ kernel @ w - m * w @ across, np.ones(m),
        lambda w: kernel @ w - m * across, most=1000,
        constraints=LinearConstraint(np.ones((1, m)), m * (1 - slack), m * (1 + slack)),
    )  # fmt: skip
    expected = logistic(KNOWN, SCORED, np.maximum(weights, 1e-3 * weights.mean()))
    assert np.abs(expected - logistic(KNOWN, SCORED)).max() > 0.02
    np.testing.assert_allclose(scores_of("kmm", width=0.5, bound=1000.0), expected, atol=2e-3)
