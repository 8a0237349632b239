"""Projections: PCA beside scikit-learn's, what may not change it, and odd input."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from clser_bench.errors import FeatureError
from clser_bench.hashing import generator
from clser_bench.report.drawing import check_projection as check
from clser_bench.report.drawing import project, standardised


@pytest.fixture
def values() -> np.ndarray:
    random = generator("test", "projection")
    return random.standard_normal((60, 9)) @ random.standard_normal((9, 9)) + 3.0


@pytest.fixture
def clusters() -> np.ndarray:
    random = generator("test", "clusters")
    return np.concatenate([random.standard_normal((30, 6)) + 12.0 * k for k in range(2)])


def test_pca_is_that_of_scikit_learn_up_to_sign(values: np.ndarray) -> None:
    reference, ours = PCA(n_components=2, svd_solver="full"), project(values)
    theirs = reference.fit_transform(values)
    np.testing.assert_allclose(np.abs(ours.points), np.abs(theirs), atol=1e-9)
    assert ours.explained
    np.testing.assert_allclose(ours.explained, reference.explained_variance_ratio_, atol=1e-12)


def test_the_sign_makes_the_largest_loading_positive(values: np.ndarray) -> None:
    points = project(values).points
    loadings = points.T @ (values - values.mean(axis=0))
    assert (loadings[[0, 1], np.abs(loadings).argmax(axis=1)] > 0).all()


def test_order_of_rows_and_columns_and_an_offset_change_nothing(values: np.ndarray) -> None:
    points = project(values).points
    rows = generator("test", "rows").permutation(len(values))
    columns = generator("test", "columns").permutation(values.shape[1])
    for changed, expected in (
        (values[rows], points[rows]), (values[:, columns], points),
        (values + 100.0, points), (3.0 * values, 3.0 * points),
    ):  # fmt: skip
        np.testing.assert_allclose(project(changed).points, expected, atol=1e-9)


def test_a_line_by_hand() -> None:
    made = project(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    np.testing.assert_allclose(made.points, [[-5, 0], [0, 0], [5, 0]], atol=1e-12)
    assert made.explained == pytest.approx((1.0, 0.0))


@pytest.mark.parametrize("shape", [(1, 4), (5, 1), (1, 1), (3, 4)])
def test_little_or_constant_input_gives_points_that_are_finite(shape: tuple[int, int]) -> None:
    made = project(np.ones(shape, np.float32))
    assert made.points.shape == (shape[0], 2)
    assert not made.points.any()
    assert made.explained == (0.0, 0.0)


def test_z_scores_are_those_of_scikit_learn_and_constants_vanish(values: np.ndarray) -> None:
    np.testing.assert_allclose(standardised(values), StandardScaler().fit_transform(values))
    constant = np.full((7, 1), 0.1)
    assert not standardised(np.hstack([constant, constant * 1e6])).any()


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_two_clusters_are_apart_and_the_same_each_time(how: str, clusters: np.ndarray) -> None:
    made = project(clusters, how)
    assert np.array_equal(made.points, project(clusters, how).points)
    assert (made.explained is None) == (how == "tsne")
    distances = np.linalg.norm(made.points[:, None] - made.points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert ((distances.argmin(axis=1) < 30) == (np.arange(60) < 30)).all()


@pytest.mark.parametrize("count", [5, 8])
def test_tsne_works_on_few_and_equal_rows(count: int) -> None:
    random = generator("test", "few").standard_normal((count, 3))
    for rows in (np.ones((count, 3)), random):
        assert np.isfinite(project(rows, "tsne").points).all()


def test_wrong_values_are_refused_with_the_row() -> None:
    wrong = np.ones((4, 3))
    with pytest.raises(FeatureError, match="'tsne' needs 5 utterances or more, got 4; take pca"):
        project(wrong, "tsne")
    wrong[2, 1] = np.nan
    with pytest.raises(FeatureError, match="row 2 of the values"):
        project(wrong)
    with pytest.raises(FeatureError, match=r"not empty, got \(0, 3\)"):
        project(np.ones((0, 3)))
    with pytest.raises(FeatureError, match="did you mean 'pca'"):
        check("pcaa")


def test_without_umap_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(FeatureError, match="pip install umap-learn, or take pca or tsne"):
        project(np.ones((9, 3)), "umap")


def test_umap_gets_a_seed_and_neighbours_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    class Fake:
        def __init__(self, **options: object) -> None:
            asked.update(options)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Fake))
    values = generator("test", "umap").standard_normal((9, 4))
    made = project(values, "umap")
    np.testing.assert_allclose(made.points, project(values).points, atol=1e-6)
    assert made.explained is None
    assert asked["n_neighbors"] == 8
    assert isinstance(asked["random_state"], int)
