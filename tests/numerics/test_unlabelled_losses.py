"""Losses of the newer trained methods against loops, POT and autograd."""

from __future__ import annotations

import numpy as np
import ot
import torch
from scipy.special import softmax
from torch import Tensor

from clser_bench.hashing import generator
from clser_bench.nn import losses
from tests import tools
from tests.oracles import gradient

AAD, ADAMATCH, CDS, FREEMATCH, JUMBOT, PCS = map(
    tools.method, ("aad", "adamatch", "cds", "freematch", "jumbot", "pcs")
)

RNG = generator("losses of unlabelled batches")


def numbers(*shape: int) -> Tensor:
    return torch.from_numpy(RNG.standard_normal(shape))


U, KEYS, OTHERS = numbers(6, 4), numbers(6, 4), numbers(5, 4)


def unit(x: Tensor) -> np.ndarray:
    return (x / x.norm(dim=-1, keepdim=True)).numpy()


def test_unbalanced_plan_equals_pots() -> None:
    cost = numbers(7, 5).square()
    a, b = np.full(7, 1 / 7), np.full(5, 1 / 5)
    precise = {"reg_type": "kl", "numItermax": 10_000, "stopThr": 1e-14}
    theirs = ot.unbalanced.sinkhorn_unbalanced(a, b, cost.numpy(), 0.3, 1.5, **precise)
    ours = JUMBOT.unbalanced_plan(cost, entropy=0.3, marginals=1.5, iterations=500)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)
    assert abs(float(ours.sum()) - 1) > 1e-3


def test_a_plan_that_must_keep_its_masses_is_balanced() -> None:
    cost = numbers(7, 5).square().requires_grad_()
    plan = JUMBOT.unbalanced_plan(cost, entropy=0.3, marginals=1e6, iterations=500)
    np.testing.assert_allclose(plan.sum(dim=1).numpy(), 1 / 7, rtol=1e-4)
    np.testing.assert_allclose(plan.sum(dim=0).numpy(), 1 / 5, rtol=1e-4)
    assert not plan.requires_grad


def test_alignment_and_relative_confidence_by_loops() -> None:
    target, labelled = numbers(6, 3), numbers(4, 3)
    q, p = target.softmax(dim=-1).numpy(), labelled.softmax(dim=-1).numpy()
    ratio = p.mean(axis=0) / q.mean(axis=0)
    expected = np.stack([row * ratio / (row * ratio).sum() for row in q])
    found = ADAMATCH.aligned_logits(target.requires_grad_(), labelled)
    np.testing.assert_allclose(found.exp().numpy(), expected)
    assert not found.requires_grad
    confidence = np.mean([max(row) for row in p])
    np.testing.assert_allclose(float(losses.mean_confidence(labelled)), confidence)


def kept() -> FREEMATCH.Thresholds:
    return FREEMATCH.Thresholds(
        *(torch.tensor(v, dtype=torch.float64) for v in (0.5, [0.5, 0.3, 0.2], [0.6, 0.4, 0.0]))
    )


def test_thresholds_of_freematch_by_loops() -> None:
    weak = numbers(6, 3)
    p = weak.softmax(dim=-1).numpy()
    found = kept().moved(weak, 0.75)
    np.testing.assert_allclose(float(found.overall), 0.375 + 0.25 * p.max(axis=1).mean())
    np.testing.assert_allclose(found.share, 0.75 * kept().share.numpy() + 0.25 * p.mean(axis=0))
    count = [np.mean(p.argmax(axis=1) == k) for k in range(3)]
    np.testing.assert_allclose(found.taken, 0.75 * kept().taken.numpy() + 0.25 * np.array(count))
    expected = [[0.5, 0.3, 0.2][row.argmax()] / 0.5 * 0.5 for row in p]
    np.testing.assert_allclose(kept().of(weak).numpy(), expected)


def test_fairness_by_loops_and_without_sure_rows() -> None:
    strong, sure = numbers(6, 3), torch.tensor([1.0, 0, 1, 1, 0, 1]).double()
    p = strong.softmax(dim=-1).numpy()[[0, 2, 3, 5]]
    count = np.array([np.mean(p.argmax(axis=1) == k) for k in range(3)])

    def spread(share: np.ndarray, part: np.ndarray) -> np.ndarray:
        ratio = np.array([s / n if n > 0 else 0.0 for s, n in zip(share, part, strict=True)])
        return ratio / ratio.sum()

    a = spread(kept().share.numpy(), kept().taken.numpy())
    b = spread(p.mean(axis=0), count)
    expected = sum(x * np.log(max(y, 1e-12)) for x, y in zip(a, b, strict=True))
    found = FREEMATCH.fairness_loss(strong, sure, kept())
    np.testing.assert_allclose(float(found), expected)
    strong.requires_grad_()
    none = FREEMATCH.fairness_loss(strong, torch.zeros(6).double(), kept())
    assert float(none.detach()) == 0
    assert gradient(none, strong).eq(0).all()


def test_contrasts_of_instances_and_prototypes_by_loops() -> None:
    u, keys, others = unit(U), unit(KEYS), unit(OTHERS)
    own, matching, nearest = [], [], []
    for i in range(6):
        own.append(-np.log(softmax(u[i] @ keys.T / 0.2)[i]))
        p = softmax(u[i] @ others.T / 0.2)
        matching.append(-(p * np.log(p)).sum())
        nearest.append(-np.log(p.max()))
    for function, other, expected in (
        (CDS.instance_contrast, KEYS, own),
        (losses.matching_entropy, OTHERS, matching),
        (PCS.prototype_contrast, OTHERS, nearest),
    ):
        np.testing.assert_allclose(float(function(3 * U, other, 0.2)), np.mean(expected))


def test_prototypes_follow_their_rows_by_loops() -> None:
    prototypes = torch.from_numpy(unit(numbers(4, 4)))
    prototypes[3] = -torch.from_numpy(unit(U).mean(axis=0))
    prototypes[3] /= prototypes[3].norm()
    nearest = (unit(U) @ prototypes.numpy().T).argmax(axis=1)
    expected = []
    for k, old in enumerate(prototypes.numpy()):
        rows = unit(U)[nearest == k]
        moved = 0.7 * old + 0.3 * rows.mean(axis=0) if len(rows) else old
        expected.append(moved / np.linalg.norm(moved))
    assert len(set(nearest)) < 4
    found = PCS.moved_prototypes(prototypes, 2 * U.clone().requires_grad_(), 0.7)
    np.testing.assert_allclose(found.numpy(), expected)
    assert not found.requires_grad


def test_attraction_by_loops_and_its_gradient() -> None:
    logits = numbers(5, 3).requires_grad_()
    near = numbers(5, 2, 3).softmax(dim=-1)
    p = logits.softmax(dim=-1)
    value = AAD.attraction(p, near, 0.4)
    q, expected, slope = p.detach().numpy(), 0.0, np.zeros((5, 3))
    for i in range(5):
        others = sum(q[j] for j in range(5) if j != i)
        expected += (0.4 * q[i] @ others - sum(q[i] @ near[i, k].numpy() for k in range(2))) / 5
        slope[i] = (0.4 * others - near[i].numpy().sum(axis=0)) / 5
    np.testing.assert_allclose(float(value.detach()), expected)
    np.testing.assert_allclose(gradient(value, p), slope)
