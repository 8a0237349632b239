"""Losses of unlabelled batches: formulas, loops, hand-worked cases, POT, invariances, limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.nn import losses
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Trained
from clser_bench.train.loop import train_one
from tests import tools
from tests.oracles import assert_formula, gradient

AFN, BNM, MCC, MCD = map(tools.method, ("afn", "bnm", "mcc", "mcd"))
AAD, ADAMATCH, CDS, FREEMATCH, JUMBOT, PCS = map(
    tools.method, ("aad", "adamatch", "cds", "freematch", "jumbot", "pcs")
)

Array = np.ndarray


def drawn(seed: int, n: int = 7, c: int = 4) -> Array:
    return 2 * np.random.default_rng(seed).standard_normal((n, c))


def confusion(x: Array, temperature: float, weight: Array) -> float:
    """The authors' formula; `weight` holds the certainties constant."""
    p = softmax(x / temperature, axis=1)
    matrix = (p * (len(p) * weight / weight.sum())[:, None]).T @ p
    matrix /= matrix.sum(axis=1, keepdims=True)
    return float((matrix.sum() - np.trace(matrix)) / len(matrix))


OTHER = drawn(50)
WEIGHT = 1 + np.exp(-entropy(softmax(drawn(1) / 2.5, axis=1), axis=1))
NORMS = np.linalg.norm(drawn(1), axis=1)
CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Array], float]]] = {
    "entropy": (losses.mean_entropy, lambda x: entropy(softmax(x, axis=1), axis=1).mean()),
    "confusion": (lambda x: MCC.class_confusion(x, 2.5), lambda x: confusion(x, 2.5, WEIGHT)),
    "nuclear norm": (
        BNM.batch_nuclear_norm,
        lambda x: float(np.linalg.norm(softmax(x, axis=1), "nuc") / len(x)),
    ),
    "discrepancy": (
        lambda x: MCD.classifier_discrepancy(x, torch.from_numpy(OTHER)),
        lambda x: float(np.abs(softmax(x, axis=1) - softmax(OTHER, axis=1)).mean()),
    ),
    "stepwise norm": (
        lambda x: AFN.stepwise_norm_loss(x, 0.7),
        lambda x: float(np.mean((np.linalg.norm(x, axis=1) - (NORMS + 0.7)) ** 2)),
    ),
    "common norm": (
        lambda x: AFN.common_norm_loss(x, 25.0),
        lambda x: float((np.linalg.norm(x, axis=1).mean() - 25) ** 2),
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_value_and_gradient_equal_the_formula_and_differences(name: str) -> None:
    assert_formula(*CASES[name], torch.from_numpy(drawn(1)))


@pytest.mark.parametrize("name", sorted(set(CASES) - {"discrepancy"}))
def test_the_order_of_utterances_does_not_matter(name: str) -> None:
    ours, _ = CASES[name]
    x = torch.from_numpy(drawn(2))
    torch.testing.assert_close(ours(x), ours(x.flip(0)))


@pytest.mark.parametrize("name", ["entropy", "confusion", "nuclear norm"])
def test_an_offset_of_an_utterance_does_not_matter(name: str) -> None:
    ours, _ = CASES[name]
    x = torch.from_numpy(drawn(3))
    torch.testing.assert_close(ours(x), ours(x + torch.arange(7.0)[:, None]))


def test_entropy_of_half_and_half_is_one_bit() -> None:
    half = torch.tensor([[0.0, 0.0, -1e4]], dtype=torch.float64)
    assert losses.mean_entropy(half).item() == pytest.approx(math.log(2))
    assert losses.mean_entropy(torch.tensor([[1e4, 0.0]])).item() == 0


def test_confusion_of_certain_and_of_uniform_predictions() -> None:
    certain = 1e3 * torch.eye(3, dtype=torch.float64)[torch.tensor([0, 1, 1, 2])]
    assert MCC.class_confusion(certain, 2.5).item() == pytest.approx(0, abs=1e-12)
    assert MCC.class_confusion(torch.zeros(5, 4), 2.5).item() == pytest.approx(3 / 4)


def test_confusion_by_hand() -> None:
    """p = (1, 0) and (1/2, 1/2): weights in proportion 2 and 3/2, so 8/7 and 6/7 of n = 2.

    C = [[8/7 + 3/14, 3/14], [3/14, 3/14]], rows' sums 11/7 and 3/7: 3/22 and 1/2 are off.
    """
    logits = torch.tensor([[1e4, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert MCC.class_confusion(logits, 2.5).item() == pytest.approx((3 / 22 + 1 / 2) / 2)


def test_confusion_is_largest_and_finite_when_all_are_certain_of_one_class() -> None:
    x = torch.zeros(3, 3)
    x[:, 0] = 1e4
    assert MCC.class_confusion(x, 2.5).item() == pytest.approx(2 / 3)
    x.requires_grad_()
    assert torch.isfinite(gradient(MCC.class_confusion(x, 2.5), x)).all()


def test_nuclear_norm_of_certain_predictions_is_a_sum_of_roots() -> None:
    def norm(*classes: int) -> float:
        certain = 1e3 * torch.eye(3, dtype=torch.float64)[list(classes)]
        return BNM.batch_nuclear_norm(certain).item()

    assert norm(0, 0, 0, 0, 1) == pytest.approx((2 + 1) / 5)
    assert norm(0, 0, 1, 1, 2, 2) == pytest.approx(3 * math.sqrt(2) / 6)
    assert norm(0, 1, 2, 0, 1, 2) > norm(0, 0, 0, 0, 1, 2) > norm(0, 0, 0, 0, 0, 0)
    uniform = BNM.batch_nuclear_norm(torch.zeros(6, 3, dtype=torch.float64)).item()
    assert uniform == pytest.approx(math.sqrt(6 * 3) / 3 / 6)


def test_discrepancy_by_hand_symmetric_and_none_of_a_head_with_itself() -> None:
    one = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)
    other = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], dtype=torch.float64)
    assert MCD.classifier_discrepancy(one, other).item() == pytest.approx((0.5 + 0.5) / 4)
    there, back = (MCD.classifier_discrepancy(*pair) for pair in ((one, other), (other, one)))
    torch.testing.assert_close(there, back)
    x = torch.from_numpy(OTHER).requires_grad_()
    itself = MCD.classifier_discrepancy(x, x.detach())
    assert itself.item() == 0
    assert not gradient(itself, x).any()


def test_feature_norms_by_hand() -> None:
    """A row (3, 4) of length 5 among two: the slope is -2 step (3/5, 4/5) / 2."""
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    for loss, value, slope in (
        (AFN.stepwise_norm_loss(x, 2.0), 4, [-1.2, -1.6]),
        (AFN.common_norm_loss(x, 3.5), 1, [-0.6, -0.8]),
    ):
        assert loss.item() == pytest.approx(value)
        np.testing.assert_allclose(gradient(loss, x), [slope, [0.0, 0.0]], atol=1e-12)


def trained_scores(name: str, **parameters: float) -> Tensor:
    method = registry.create(name, {"steps": 60, "learning_rate": 1e-3, **parameters})
    assert isinstance(method, Trained)
    return torch.from_numpy(train_one(method, example_problem("a", c=4), 1).scores)


def test_mcc_lowers_the_confusion_of_the_target() -> None:
    rate = {"learning_rate": 3e-3}
    with_it, without = (trained_scores("mcc", confusion_weight=w, **rate) for w in (1.0, 0.0))
    assert MCC.class_confusion(with_it, 2.5) < 0.95 * MCC.class_confusion(without, 2.5)


def test_bnm_raises_the_nuclear_norm_of_the_target() -> None:
    with_it, without = (trained_scores("bnm", norm_weight=w) for w in (3.0, 0.0))
    assert BNM.batch_nuclear_norm(with_it) > 1.05 * BNM.batch_nuclear_norm(without)


def test_mcd_takes_step_c_as_often_as_asked() -> None:
    method = registry.create("mcd", {"repetitions": 3})
    assert isinstance(method, Trained)
    assert [(phase.trains, phase.repeat) for phase in method.phases()] == [
        ((), 1),
        (("one", "other"), 1),
        (("backbone",), 3),
    ]


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
