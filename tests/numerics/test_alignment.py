"""Starts without labels, against scikit-learn."""

from __future__ import annotations

import torch
from sklearn.decomposition import PCA

from clser_bench.nn.alignment import principal_axes


def test_principal_axes_equal_scikit_learn_up_to_sign() -> None:
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x * torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5], dtype=torch.float64) + 7
    ours = principal_axes(x, 3)
    theirs = torch.from_numpy(PCA(3).fit(x.numpy()).components_)
    torch.testing.assert_close(ours.abs(), theirs.abs(), atol=1e-9, rtol=0)
    torch.testing.assert_close(ours @ ours.T, torch.eye(3, dtype=torch.float64))
    assert (ours.gather(1, ours.abs().argmax(1, keepdim=True)) > 0).all()


def test_whitening_takes_out_a_power_of_the_variances() -> None:
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x * torch.tensor([5.0, 2.0, 0.5], dtype=torch.float64)
    variances = torch.from_numpy(PCA(3).fit(x.numpy()).explained_variance_) * 399 / 400
    for power in (0.0, 0.5, 1.0):
        z = x @ principal_axes(x, 3, whitening=power).T
        expected = variances ** (1 - power)
        torch.testing.assert_close(z.var(dim=0, correction=0), expected)
    constant = principal_axes(torch.ones(5, 3), 2, whitening=1.0)
    assert torch.isfinite(constant).all()


def test_more_axes_than_values_are_zero_rows() -> None:
    axes = principal_axes(torch.randn(9, 2, generator=torch.Generator().manual_seed(0)), 4)
    assert axes.shape == (4, 2)
    assert not axes[2:].any()


def test_more_values_than_observations() -> None:
    x = torch.randn(12, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    centred = x - x.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    wanted = vectors.flip(-1)[:, :6].T / values.flip(-1)[:6, None].sqrt()
    made = principal_axes(x, 6, whitening=1.0)
    likeness = torch.nn.functional.cosine_similarity(made, wanted, dim=-1).abs()
    torch.testing.assert_close(likeness, torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(made.norm(dim=-1), wanted.norm(dim=-1))
    # the mean takes one direction away: the twelfth row is empty, as are those beyond
    many = principal_axes(x, 20)
    assert many.shape == (20, 40)
    assert bool((many[:11].norm(dim=-1) > 0.99).all())
    assert not many[11:].any()
