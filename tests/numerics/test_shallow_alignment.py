"""Shallow alignments against SciPy, skada, loops and numeric integration."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import skada
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from clser_bench import registry
from clser_bench.errors import MethodError
from clser_bench.hashing import generator
from clser_bench.problem import Labelled, Problem, Table
from clser_bench.shallow import subspaces
from clser_bench.shallow.sides import sides_of
from clser_bench.train.check import example_problem
from tests.tools import fit

CORAL, GFK = (importlib.import_module(f"clser_bench.methods.{name}") for name in ("coral", "gfk"))


def draw(name: str, n: int, f: int) -> np.ndarray:
    rng = generator("shallow", name)
    return rng.standard_normal((n, f)) @ rng.standard_normal((f, f)) + rng.standard_normal(f)


SOURCE, TARGET = draw("source", 40, 6), draw("target", 50, 6)


def test_recolouring_gives_the_source_the_target_s_covariance() -> None:
    """Without the ridge; with it, SciPy's matrix square roots are the reference."""
    moved = (SOURCE - SOURCE.mean(axis=0)) @ CORAL.recolouring(SOURCE, TARGET, 1e-9)
    np.testing.assert_allclose(moved.T @ moved / 40, np.cov(TARGET.T, ddof=0), atol=1e-5)
    eye = np.eye(6)
    own = np.linalg.inv(scipy.linalg.sqrtm(np.cov(SOURCE.T, ddof=0) + eye))
    expected = own @ scipy.linalg.sqrtm(np.cov(TARGET.T, ddof=0) + eye)
    np.testing.assert_allclose(CORAL.recolouring(SOURCE, TARGET, 1.0), expected, atol=1e-8)


def test_recolouring_moves_rows_as_skada_does() -> None:
    adapter = skada.CORALAdapter(reg=1e-9)
    x = np.concatenate([SOURCE - SOURCE.mean(axis=0), TARGET - TARGET.mean(axis=0)])
    domain = np.array([1] * 40 + [-2] * 50)
    theirs = adapter.fit_transform(x, sample_domain=domain, allow_source=True)
    theirs = np.asarray(getattr(theirs, "X", theirs))[:40]
    ours = x[:40] @ CORAL.recolouring(SOURCE, TARGET, 1e-9)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_principal_basis_equals_scikit_learn_up_to_sign() -> None:
    ours = subspaces.principal_basis(SOURCE, 4)
    np.testing.assert_allclose(np.abs(ours.T), np.abs(PCA(4).fit(SOURCE).components_), atol=1e-9)
    assert subspaces.principal_basis(SOURCE[:3], 5).shape == (6, 2)


def mmd_matrix(ns: int, nt: int, y: np.ndarray, label: np.ndarray) -> np.ndarray:
    """M_0 + sum_k M_k of JDA entry by entry; every source row is labelled."""
    n = ns + nt
    total = np.zeros((n, n))
    side = [0] * ns + [1] * nt
    every = np.concatenate([y, label])
    for k in [None, *np.intersect1d(y, label)]:
        member = [k is None or every[i] == k for i in range(n)]
        size = [sum(m for m, s in zip(member, side, strict=True) if s == which) for which in (0, 1)]
        for i in range(n):
            for j in range(n):
                if member[i] and member[j]:
                    sign = 1 if side[i] == side[j] else -1
                    total[i, j] += sign / (size[side[i]] * size[side[j]])
    return total


@pytest.mark.parametrize("conditional", [False, True])
def test_transfer_components_solve_the_papers_eigenproblem(conditional: bool) -> None:
    """(X M X' + r I) W = X H X' W Phi^-1 at unit length, with M built by loops."""
    y, label = np.arange(40) % 3, np.arange(50) % 2  # class 2 is never predicted
    gaps = subspaces.mean_gaps(
        SOURCE.mean(axis=0), TARGET, SOURCE, y, label if conditional else None
    )
    both = np.concatenate([SOURCE, TARGET])
    none = np.full(40, -1), np.full(50, -2)
    m = mmd_matrix(40, 50, *((y, label) if conditional else none))
    np.testing.assert_allclose(gaps.T @ gaps, both.T @ m @ both, atol=1e-10)
    scatter = subspaces.covariance(both)
    w = subspaces.transfer_components(gaps, scatter, dimension=4, regularisation=0.3)
    cost = both.T @ m @ both + 0.3 * np.eye(6)
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1)
    kept = w.T @ scatter @ w
    np.testing.assert_allclose(kept, np.diag(np.diag(kept)), atol=1e-9)
    ratio = np.diag(w.T @ cost @ w) / np.diag(kept)
    np.testing.assert_allclose(cost @ w, scatter @ w * ratio, atol=1e-8)
    smallest = np.sort(scipy.linalg.eigvals(cost, scatter).real)[:4]
    np.testing.assert_allclose(ratio, smallest, rtol=1e-8)


def tca_by_skada(x: np.ndarray, mu: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """skada's projection of 40 source and 50 target rows, and both kernel matrices of the paper."""
    domain = np.repeat([1, -2], [40, 50])
    adapter = skada.TransferComponentAnalysisAdapter(kernel="linear", n_components=3, mu=mu)
    adapter.fit(x, sample_domain=domain)
    kernel = x @ x.T
    e = np.repeat([1 / 40, -1 / 50], [40, 50])
    cost = np.eye(90) + mu * kernel @ np.outer(e, e) @ kernel
    return kernel @ adapter.eigvects_, cost, kernel @ (np.eye(90) - 1 / 90) @ kernel


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.abs(np.sum(a * b, axis=0)) / lengths


def test_transfer_components_equal_skada_where_the_means_agree() -> None:
    """skada calls `eigh` on a product that is symmetric only there, so it serves only there."""
    x = np.concatenate([SOURCE - SOURCE.mean(axis=0), TARGET - TARGET.mean(axis=0)])
    theirs, _, _ = tca_by_skada(x, 0.7)
    gaps = subspaces.mean_gaps(x[:40].mean(axis=0), x[40:], x[:40], np.zeros(40, int), None)
    ours = subspaces.transfer_components(
        gaps, subspaces.covariance(x), dimension=3, regularisation=0.3
    )
    np.testing.assert_allclose(cosines(x @ ours, theirs), 1, atol=1e-8)


def test_transfer_components_equal_the_kernel_form_of_whitened_rows() -> None:
    """Where X'X = n I the dual's penalty is the primal's, and r = 1 / (n mu)."""
    both = np.concatenate([SOURCE, TARGET])[:, :3]
    values, vectors = np.linalg.eigh(both.T @ both / 90)
    x = both @ (vectors / np.sqrt(values))
    _, cost, scatter = tca_by_skada(x, 0.7)
    dual = scipy.linalg.eigh(scatter, cost)[1][:, ::-1][:, :3]
    gaps = subspaces.mean_gaps(x[:40].mean(axis=0), x[40:], x[:40], np.zeros(40, int), None)
    ours = subspaces.transfer_components(
        gaps, subspaces.covariance(x), dimension=3, regularisation=1 / (90 * 0.7)
    )
    np.testing.assert_allclose(cosines(x @ ours, x @ x.T @ dual), 1, atol=1e-8)


def test_geodesic_flow_kernel_is_the_integral_over_the_geodesic() -> None:
    """P(t) = P_s U cos(t theta) - Q sin(t theta), summed over 2000 midpoints."""
    source = subspaces.principal_basis(SOURCE, 3)
    target = subspaces.principal_basis(TARGET, 3)
    u, cosine, vt = np.linalg.svd(source.T @ target)
    theta = np.arccos(np.clip(cosine, -1, 1))
    across = (target @ vt.T - source @ u * cosine) / np.sin(theta)
    total = np.zeros((6, 6))
    steps = 2000
    for t in (np.arange(steps) + 0.5) / steps:
        place = source @ u * np.cos(t * theta) + across * np.sin(t * theta)
        total += place @ place.T / steps
    ours = GFK.geodesic_flow_kernel(source, target)
    np.testing.assert_allclose(ours, total, atol=1e-6)
    end = source @ u * np.cos(theta) + across * np.sin(theta)
    np.testing.assert_allclose(end @ end.T, target @ target.T, atol=1e-9)


def test_geodesic_between_equal_subspaces_is_their_projection() -> None:
    source = subspaces.principal_basis(SOURCE, 3)
    turned = source @ np.linalg.qr(draw("turn", 3, 3))[0]
    np.testing.assert_allclose(
        GFK.geodesic_flow_kernel(source, turned), source @ source.T, atol=1e-7
    )


def tilted(problem: Problem) -> Problem:
    """The target's summaries stretched along a direction that says nothing of the class, and
    shifted."""
    table = problem.target
    stretch = np.diag([1.0, 1.0, 1.0, 1.0, 6.0])
    summary = (np.array(table.summary) @ stretch + 2.0).astype(np.float32)
    return replace(problem, target=Table("tilted", np.array(table.instants), summary))


def accuracy(name: str, problem: Problem, **values: float) -> float:
    scores = fit(name, problem, **values)
    return float((scores.argmax(axis=1) == np.arange(len(scores)) % 3).mean())


@pytest.mark.parametrize(
    ("name", "values"),
    [("coral", {"ridge": 1.0, "strength": 0.05}), ("subspace-alignment", {}), ("gfk", {})],
)
def test_centring_alignments_undo_a_shift(name: str, values: dict[str, float]) -> None:
    problem = tilted(example_problem(n_source=90, n_target=90, shots=10))
    assert accuracy(name, problem, **values) > accuracy("logistic", problem) + 0.05


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
    part = Problem(
        classes=problem.classes,
        source=problem.source,
        target=problem.target,
        labelled=Labelled(np.array([3, 1]), np.array([0, 1])),
        unlabelled=np.array([0, 2]),
        adapt=np.array([5, 7]),
        scored=np.array([6]),
    )
    sides = sides_of(part)
    np.testing.assert_array_equal(sides.known, problem.source.summary[[3, 1]])
    np.testing.assert_array_equal(sides.source, problem.source.summary[[0, 1, 2, 3]])
    np.testing.assert_array_equal(sides.target, problem.target.summary[[5, 7]])
    np.testing.assert_array_equal(sides.scored, problem.target.summary[[6]])


def test_values_beyond_second_moments_are_refused() -> None:
    problem = example_problem()
    huge = Table("x", np.array(problem.target.instants), np.array(problem.target.summary) * 1e9)
    with pytest.raises(MethodError, match="normalise them"):
        sides_of(Problem(**{**problem.__dict__, "target": huge}))
