"""Parts of shallow alignments; `test_shallow_methods` has coral, tca, jda and gfk as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from clser_bench import registry
from clser_bench.errors import MethodError
from clser_bench.hashing import generator
from clser_bench.problem import Labelled, Table
from clser_bench.shallow import sides
from clser_bench.shallow.sides import sides_of
from clser_bench.train.check import example_problem
from tests import tools

GFK = tools.method("gfk")


def draw(name: str, n: int, f: int) -> np.ndarray:
    rng = generator("shallow", name)
    return rng.standard_normal((n, f)) @ rng.standard_normal((f, f)) + rng.standard_normal(f)


SOURCE, TARGET = draw("source", 40, 6), draw("target", 50, 6)


def test_principal_basis_equals_scikit_learn_up_to_sign() -> None:
    ours = sides.principal_basis(SOURCE, 4)
    np.testing.assert_allclose(np.abs(ours.T), np.abs(PCA(4).fit(SOURCE).components_), atol=1e-9)
    assert sides.principal_basis(SOURCE[:3], 5).shape == (6, 2)


@pytest.mark.parametrize("conditional", [False, True])
def test_transfer_components_solve_the_papers_eigenproblem(conditional: bool) -> None:
    """(X M X' + r I) W = X H X' W Phi^-1 at unit length, M the sum of e e'."""
    y, label = np.arange(40) % 3, np.arange(50) % 2  # class 2 is never predicted
    gaps = sides.mean_gaps(SOURCE.mean(axis=0), TARGET, SOURCE, y, label if conditional else None)
    both = np.concatenate([SOURCE, TARGET])
    signs = np.repeat([1.0, -1.0], [40, 50])
    members = [np.concatenate([y, label]) == k for k in (0, 1)] if conditional else []
    m = np.zeros((90, 90))
    for member in (np.full(90, True), *members):
        e = sum(member * (signs == s) * s / np.sum(member & (signs == s)) for s in (1, -1))
        m += np.outer(e, e)
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
    turned = source @ np.linalg.qr(draw("turn", 3, 3))[0]
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
    rows = {"unlabelled": np.array([0, 2]), "adapt": np.array([5, 7]), "scored": np.array([6])}
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
