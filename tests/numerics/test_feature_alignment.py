"""Alignments: a planted map is found again, and nothing depends on the order of rows."""

import inspect
from typing import Any

import numpy as np
import pytest

from clser_bench.errors import FeatureError
from clser_bench.features.align import ALIGNMENTS, MEANING, Side, align, by_anchors
from clser_bench.features.columns import ACOUSTIC_SUMMARY, opensmile_columns
from clser_bench.hashing import generator

LATENT, A, B = 6, 20, 30


def latent(rng: np.random.Generator, n: int) -> np.ndarray:
    """Independent, skewed each in its own way, of falling variance."""
    drawn = rng.gamma(np.linspace(0.5, 4, LATENT), size=(n, LATENT))
    return (drawn - drawn.mean(axis=0)) / drawn.std(axis=0) * 2.0 ** -np.arange(LATENT)


@pytest.fixture(scope="module")
def planted():
    """Other utterances on either side, each side seen through its own rotation."""
    rng = generator("test", "alignment")
    maps = [np.linalg.qr(rng.standard_normal((size, size)))[0][:LATENT] for size in (A, B)]
    return [latent(rng, n) for n in (900, 1100)], maps, latent(rng, 300)


def names(a: int, b: int) -> dict[str, Any]:
    """Columns of which neither side has the other's."""
    ours, theirs = (tuple(f"{side}{n}" for n in range(size)) for side, size in (("a", a), ("b", b)))
    return {"source_names": ours, "target_names": theirs}


def aligned(planted, how: str, *, order: bool = False):
    hidden, maps, _ = planted
    sides = [(z @ m).astype(np.float32) for z, m in zip(hidden, maps, strict=True)]
    mixed = np.tril(np.ones((LATENT, LATENT))) * 2.0 ** np.arange(LATENT)[:, None]
    anchors = [z @ mixed for z in hidden]
    if order:
        for number, side in enumerate(sides):
            turned = generator("order", number).permutation(len(side))
            sides[number], anchors[number] = side[turned], anchors[number][turned]
    known = tuple(anchor.astype(np.float32) for anchor in anchors)
    return align(*sides, how=how, size=32, anchors=known, **names(A, B))


@pytest.mark.parametrize(("how", "least"), [("moments", 0.9), ("anchors", 0.95)])
def test_a_planted_map_is_found(how: str, least: float, planted):
    # Of few axes, clearly different: of as many as are used on speech only anchors find them.
    _, (first, second), fresh = planted
    found = aligned(planted, how)
    mine = found[0].apply((fresh @ first).astype(np.float32))
    theirs = found[1].apply((fresh @ second).astype(np.float32))
    assert mine.shape == theirs.shape == (300, LATENT)
    likeness = [np.corrcoef(mine[:, k], theirs[:, k])[0, 1] for k in range(LATENT)]
    assert np.mean(likeness) > least


@pytest.mark.parametrize("how", ["moments", "gromov", "anchors"])
def test_the_order_of_rows_does_not_matter(how: str, planted):
    one, other = aligned(planted, how), aligned(planted, how, order=True)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-6)
        np.testing.assert_allclose(a.offset, b.offset, atol=1e-6)


def test_no_label_can_be_given():
    assert not {"y", "labels", "labelled"} & set(inspect.signature(align).parameters)


def test_names_take_what_both_have_with_its_sign():
    values = np.zeros((3, 3), np.float32)
    ours = ("mean_pitch", "voiced_alpha_ratio", "log2_seconds")
    few = ("loudness_sma3_amean", "alphaRatioV_sma3nz_amean")
    theirs = (*few, "F0semitoneFrom27.5Hz_sma3nz_amean")
    found = align(values, values, how="names", size=32, source_names=ours, target_names=theirs)
    values = np.array([1.0, 2.0, 3.0], np.float32)
    assert [side.apply(values).tolist() for side in found] == [[1, 2], [3, -2]]
    assert found[0].matrix.shape == (3, 2)


def test_names_of_the_table_are_names_of_the_sets():
    ours = {name for name, _ in MEANING.values()}
    short = {name for name in MEANING if name in opensmile_columns("egemaps")[1]}
    assert len(short) == 22
    assert {MEANING[name][0] for name in short} <= set(ACOUSTIC_SUMMARY)
    assert len(ours) == len(MEANING)


def test_procrustes_by_hand():
    # The other side is the first turned by a quarter; the anchors are the first's own axes.
    axes = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    shares = np.array([0.5, 0.5])
    first, second = (Side(axes=rows, shares=shares) for rows in (axes, axes @ turn))
    found = by_anchors(first, second, (axes, axes))
    np.testing.assert_allclose(axes @ turn @ found, axes, atol=1e-12)


@pytest.mark.parametrize("how", [how for how in ALIGNMENTS if how != "names"])
def test_odd_sides(how: str):
    rng = generator("test", "odd sides")
    few = rng.standard_normal((5, 40)).astype(np.float32)
    some = rng.standard_normal((60, 3)).astype(np.float32)
    some[:, 1] = 2.0
    known = (few[:, :2], some[:, :2])
    asked: Any = {"how": how, "size": 32, **names(40, 3)}
    found = align(few, some, anchors=known, **asked)
    assert [side.matrix.shape for side in found] == [(40, 2), (3, 2)]
    assert np.isfinite(found[1].apply(some)).all()
    with pytest.raises(FeatureError, match="at least two utterances"):
        align(few[:1], some, anchors=(known[0][:1], known[1]), **asked)
    with pytest.raises(FeatureError, match="features that vary"):
        align(few, np.zeros_like(some), anchors=known, **asked)


@pytest.mark.parametrize(
    ("how", "message"),
    [("names", "share 1 named columns"), ("anchors", "needs columns that both sides share")],
)
def test_columns_that_are_missing_are_named(how: str, message: str):
    values = np.eye(4, 2, dtype=np.float32)
    with pytest.raises(FeatureError, match=message):
        align(values, values, how=how, size=2, source_names=("a", "b"), target_names=("c", "b"))
