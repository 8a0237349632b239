"""Shallow methods, whole and in parts, against scikit-learn, SciPy and POT, step by step.

The problem is one in which a mix-up shows: the labelled classes are uneven, the target is shifted
and stretched, and the rows to adapt to are others than the scored ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from clser_bench.errors import MethodError
from clser_bench.hashing import generator
from clser_bench.problem import Labelled, Problem, Table
from clser_bench.shallow import sides
from clser_bench.shallow.sides import sides_of
from clser_bench.train.check import example_problem
from tests import tools
from tests.oracles import solved

GFK, STRENGTH = tools.method("gfk"), 0.05


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


NO_LABEL = np.full(30, -1)


def gaps_of_means(y: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The authors' M = sum of e e', over all rows and over each class of both; -1 is no class."""
    every, of_source = np.concatenate([y, label]), np.arange(len(y) + len(label)) < len(y)
    members = [of_source | True, *(every == k for k in np.intersect1d(y, label) if k >= 0)]
    m = np.zeros((len(every), len(every)))
    for member in members:
        ours, theirs = member & of_source, member & ~of_source
        e = ours / ours.sum() - theirs / theirs.sum()
        m += np.outer(e, e)
    return m


def components(label: np.ndarray, regularisation: float) -> np.ndarray:
    """Three components from the authors' matrices over all rows, M and the centring H."""
    x, y = np.concatenate([SOURCE, TARGET]), np.full(60, -1)
    y[PROBLEM.labelled.rows] = Y
    h = np.eye(90) - 1 / 90
    scatter = x.T @ h @ x / 90
    cost = x.T @ gaps_of_means(y, label) @ x + regularisation * np.eye(6)
    values, vectors = scipy.linalg.eig(np.linalg.solve(cost, scatter))
    w = vectors[:, np.argsort(values.real)[::-1][:3]].real
    return w / np.linalg.norm(w, axis=0)


@pytest.mark.parametrize(
    ("name", "rounds"), [("tca", {}), *(("jda", {"rounds": rounds}) for rounds in (0, 1, 4))]
)
def test_tca_and_jda_from_problem_to_scores(name: str, rounds: dict[str, Any]) -> None:
    w = components(NO_LABEL, 0.3)
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


def test_principal_basis_equals_scikit_learn_up_to_sign() -> None:
    ours = sides.principal_basis(SOURCE, 4)
    np.testing.assert_allclose(np.abs(ours.T), np.abs(PCA(4).fit(SOURCE).components_), atol=1e-9)
    assert sides.principal_basis(SOURCE[:3], 5).shape == (6, 2)


@pytest.mark.parametrize("conditional", [False, True])
def test_transfer_components_solve_the_papers_eigenproblem(conditional: bool) -> None:
    """(X M X' + r I) W = X H X' W Phi^-1 at unit length, M the sum of e e'."""
    y, label = np.arange(60) % 3, np.arange(30) % 2  # class 2 is never predicted
    gaps = sides.mean_gaps(SOURCE.mean(axis=0), TARGET, SOURCE, y, label if conditional else None)
    both = np.concatenate([SOURCE, TARGET])
    m = gaps_of_means(y, label if conditional else NO_LABEL)
    np.testing.assert_allclose(gaps.T @ gaps, both.T @ m @ both, atol=1e-10)
    scatter = sides.covariance(both)
    w = sides.transfer_components(gaps, scatter, dimension=4, regularisation=0.3)
    cost = both.T @ m @ both + 0.3 * np.eye(6)
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1)
    kept = w.T @ scatter @ w
    np.testing.assert_allclose(kept, np.diag(np.diag(kept)), atol=1e-9)
    ratio = np.diag(w.T @ cost @ w) / np.diag(kept)
    np.testing.assert_allclose(cost @ w, scatter @ w * ratio, atol=1e-8)
    smallest = np.sort(scipy.linalg.eigvals(cost, scatter).real)[:4]
    np.testing.assert_allclose(ratio, smallest, rtol=1e-8)


def test_geodesic_between_equal_subspaces_is_their_projection() -> None:
    source = sides.principal_basis(SOURCE, 3)
    turned = source @ np.linalg.qr(generator("turn").standard_normal((3, 3)))[0]
    found = GFK.geodesic_flow_kernel(source, turned)
    np.testing.assert_allclose(found, source @ source.T, atol=1e-7)


def test_lda_equals_the_discriminant_by_hand() -> None:
    """Class means m_k and the shrunken within-class covariance S: x'S^-1 m_k - m_k'S^-1 m_k / 2."""
    problem = example_problem(shots=6)
    x, y = problem.source.summary[problem.labelled.rows].astype(float), problem.labelled.y
    means = np.stack([x[y == k].mean(axis=0) for k in range(3)])
    within = sum((x[i] - means[y[i]])[:, None] * (x[i] - means[y[i]]) for i in range(18)) / 18
    within = 0.5 * within + 0.5 * np.trace(within) / 5 * np.eye(5)
    target = problem.target.summary.astype(float)
    pulled = np.linalg.solve(within, means.T)
    expected = target @ pulled - 0.5 * np.sum(means * pulled.T, axis=1)
    ours = registry.create("lda", {"shrinkage": 0.5}).fit_predict(problem, generator("t"))
    centre = lambda s: s - s.mean(axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(centre(ours), centre(expected), atol=0.05 * np.abs(expected).max())
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.5, priors=[1 / 3] * 3)
    np.testing.assert_array_equal(ours.argmax(axis=1), model.fit(x, y).predict(target))


def test_sides_take_their_own_rows() -> None:
    problem = example_problem()
    labelled = Labelled(np.array([3, 1]), np.array([0, 1]))
    rows: Any = {"unlabelled": np.array([0, 2]), "adapt": np.array([5, 7]), "scored": np.array([6])}
    sides = sides_of(replace(problem, labelled=labelled, **rows))
    np.testing.assert_array_equal(sides.known, problem.source.summary[[3, 1]])
    np.testing.assert_array_equal(sides.source, problem.source.summary[[0, 1, 2, 3]])
    np.testing.assert_array_equal(sides.target, problem.target.summary[[5, 7]])
    np.testing.assert_array_equal(sides.scored, problem.target.summary[[6]])


def test_values_beyond_second_moments_are_refused() -> None:
    problem = example_problem()
    huge = Table("x", np.array(problem.target.instants), np.array(problem.target.summary) * 1e9)
    with pytest.raises(MethodError, match="normalise them"):
        sides_of(replace(problem, target=huge))
