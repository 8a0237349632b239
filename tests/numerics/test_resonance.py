"""SERE's equations against plain loops and hand-worked numbers, and degenerate input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clser_bench import registry
from clser_bench.nn import resonance
from clser_bench.train.check import example_problem, scores_of
from tests.tools import rand


def test_embedding_has_equal_blocks_and_keeps_distances() -> None:
    """Equation 1: with all axes, distances are those of the scaled columns."""
    f, h = [3 * rand(20, 4), 3 * rand(30, 4, seed=1)], [rand(20, 2, seed=2), rand(30, 2, seed=3)]
    axes = resonance.principal_embedding(f, h, [torch.eye(2).double()] * 2, size=6, dynamic=0.5)
    scaled = []
    for sides, weight in ((f, 1.0), (h, 0.5)):
        variance = sum(float(((x - x.mean(0)) ** 2).sum() / len(x)) for x in sides) / 2
        scaled.append(sides[0] * weight / math.sqrt(variance))
    z = torch.cat([f[0], h[0]], dim=1) @ axes.vectors
    both = torch.cat(scaled, dim=1)
    torch.testing.assert_close(torch.cdist(z, z), torch.cdist(both, both))
    assert axes.within.trace() == pytest.approx(6)


def test_without_variation_within_utterances_the_metric_is_round() -> None:
    found = resonance.instant_covariance(torch.eye(3).double(), 2, torch.zeros(1, 1).double())
    torch.testing.assert_close(found, torch.eye(3).double())


def test_shrinkage_by_hand() -> None:
    """Equation 2: trace 4 of two values, so the target of shrinkage has trace 4."""
    covariance = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    found = resonance.shrunk(covariance, torch.diag(torch.tensor([2.0, 0.0])), amount=0.5, mix=0.5)
    torch.testing.assert_close(found, torch.tensor([[3.0, 0.5], [0.5, 1.0]]))


def test_resonance_is_the_squared_distance_in_the_metric() -> None:
    """Equation 3."""
    z, c, root = rand(5, 3), rand(2, 3, seed=1), rand(3, 3, seed=2)
    metric = root @ root.T + torch.eye(3)
    wanted = torch.zeros(5, 2, dtype=torch.float64)
    for i, k in np.ndindex(5, 2):
        gap = z[i] - c[k]
        wanted[i, k] = -0.5 * gap @ torch.linalg.inv(metric) @ gap
    torch.testing.assert_close(resonance.resonance(z, c, metric), wanted.log_softmax(dim=1))


def test_balancing_evens_the_rows_to_adapt_to_alone() -> None:
    """Equation 4."""
    scores = rand(40, 3) + torch.tensor([2.0, 0.0, -1.0])
    found = resonance.balanced(scores, 30, steps=200)
    torch.testing.assert_close(found[:30].exp().mean(dim=0), torch.full((3,), 1 / 3).double())
    changed = scores.clone()
    changed[35:] += rand(5, 3, seed=1)
    torch.testing.assert_close(resonance.balanced(changed, 30, steps=200)[:35], found[:35])


def test_confidence_and_agreement_by_hand() -> None:
    q = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    torch.testing.assert_close(resonance.confidence(q), torch.tensor([0.0, 1.0]))
    a = torch.eye(2)[[0, 0, 1, 1]]
    assert resonance.agreement(a, torch.eye(2)[[0, 0, 1, 0]]) == pytest.approx(0.5)


def test_within_classes_equals_a_loop() -> None:
    z, y = rand(12, 3), torch.arange(12) % 3
    q = torch.nn.functional.one_hot(y).double()
    wanted = torch.zeros(3, 3, dtype=torch.float64)
    for i in range(12):
        gap = z[i] - z[y == y[i]].mean(dim=0)
        wanted += torch.outer(gap, gap) / 12
    torch.testing.assert_close(resonance.within_classes(q, z, resonance.covariance(z)), wanted)


def clusters(shots: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Three classes, whose target is moved; labels of the first `shots` of each."""
    centres = 4 * torch.eye(3).double()
    y = torch.arange(60) % 3
    source, target = rand(60, 3) + centres[y], rand(45, 3, seed=1) + centres[y[:45]] + 0.5
    labels = torch.nn.functional.one_hot(y).double()
    labels[3 * shots :] = 0
    return source, labels, target


PLAIN = {"shrinkage": 0.5, "mix": 0.5, "source_mass": 3.0, "target_mass": 1.0}


def chain(source: Tensor, labels: Tensor, target: Tensor, **changes: Any) -> resonance.Chain:
    options: dict[str, Any] = {**PLAIN, "within": torch.eye(3).double(), **changes}
    return resonance.chain(source, labels, target, len(target), **options)


def round_(covariance: Tensor, amount: float) -> Tensor:
    scale = covariance.trace() / len(covariance)
    return (1 - amount) * covariance + amount * scale * torch.eye(len(covariance)).double()


def begun(source: Tensor) -> tuple[Tensor, Tensor]:
    """Class means of the six labelled rows, and the metric that these give."""
    known = source[:6]
    anchors = torch.stack([known[k::3].mean(dim=0) for k in range(3)])
    gaps = known - anchors.repeat(2, 1)
    return anchors, round_(gaps.T @ gaps / 3, 0.8)


def test_links_equal_a_loop() -> None:
    """Equations 5 and 6, one round each."""
    source, labels, target = clusters()
    found = chain(source, labels, target, source_rounds=1, target_rounds=1, threshold=None)
    anchors, start = begun(source)
    q = resonance.balanced(resonance.resonance(source, anchors, start), 60).exp()
    pulled = []
    for k in range(3):
        each = [float(row[k] * resonance.confidence(row[None])[0]) for row in q[6:]]
        mean = sum(w * z for w, z in zip(each, source[6:], strict=True)) / sum(each)
        pulled.append((anchors[k] + 3 * mean) / 4)
    q = torch.cat([torch.eye(3).double().repeat(2, 1), q[6:]])
    spread = resonance.within_classes(q, source, resonance.covariance(source))
    link = resonance.resonance(target, torch.stack(pulled), round_(spread, 0.5))
    torch.testing.assert_close(found.source_link, resonance.balanced(link, 45))
    q = resonance.balanced(link, 45).exp()
    moved = []
    for k in range(3):
        weight = q[:, k] * resonance.confidence(q)
        moved.append((pulled[k] + (weight / weight.sum()) @ target) / 2)
    torch.testing.assert_close(found.prototypes, torch.stack(moved))
    assert found.answer is found.target_link


def test_added_speech_pulls_after_the_source_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equation 5a, one round; classes that an added corpus lacks keep their prototypes nearly."""
    monkeypatch.setattr(resonance, "ADDED_ROUNDS", 1)
    source, labels, target = clusters()
    added = 0.3 * rand(40, 3, seed=2).double() + 4 * torch.eye(3).double()[0]
    found = chain(source, labels, target, source_rounds=1, target_mass=0.0, added=added)
    plain = chain(source, labels, target, source_rounds=1, target_mass=0.0)
    assert found.source.equal(plain.source)
    q = resonance.balanced(resonance.resonance(source, *begun(source)), 60).exp()
    q = torch.cat([labels[:6], q[6:]])
    spread = resonance.within_classes(q, source, resonance.covariance(source))
    scores = resonance.resonance(torch.cat([source, added]), plain.prototypes, round_(spread, 0.5))
    q = resonance.balanced(scores, 60).exp()[60:]
    weight = q * resonance.confidence(q)[:, None]
    pull = (weight / weight.sum(dim=0)).T @ added
    torch.testing.assert_close(found.prototypes, (plain.prototypes + pull) / 2)
    mixed = 0.75 * spread + 0.25 * resonance.within_classes(q, added, resonance.covariance(added))
    torch.testing.assert_close(found.covariance, round_(mixed, 0.5))
    none = chain(source, labels, target, added=added[:0])
    assert none.answer.equal(chain(source, labels, target).answer)


def test_without_the_chain_both_sides_pull_at_once() -> None:
    """Equations 5 and 6 in one round, from the same assignments."""
    source, labels, target = clusters()
    found = chain(source, labels, target, source_rounds=1, chained=False)
    anchors, start = begun(source)
    pulls = []
    for side, first, size in ((source, 6, 60), (target, 0, 45)):
        q = resonance.balanced(resonance.resonance(side, anchors, start), size).exp()[first:]
        weight = q * resonance.confidence(q)[:, None]
        pulls.append((weight / weight.sum(dim=0)).T @ side[first:])
    torch.testing.assert_close(found.prototypes, (anchors + 3 * pulls[0] + pulls[1]) / 5)
    assert found.source_link.equal(found.target_link)
    assert not found.answer.equal(chain(source, labels, target, source_rounds=1).answer)


def test_the_check_falls_back_to_the_average() -> None:
    """Equation 7: no agreement passes a threshold of one."""
    found = chain(*clusters(), threshold=1.0)
    average = resonance.balanced(found.start + found.source_link + found.target_link, 45)
    torch.testing.assert_close(found.answer, average)
    assert found.agreement > 0.65
    assert chain(*clusters()).answer.equal(found.target_link)


def test_the_order_of_the_target_says_nothing() -> None:
    source, labels, target = clusters()
    order = torch.randperm(45, generator=torch.Generator().manual_seed(0))
    moved = chain(source, labels, target[order]).answer
    torch.testing.assert_close(moved, chain(source, labels, target).answer[order])


@pytest.mark.parametrize("shots", [1, 20])
def test_one_shot_and_no_unlabelled_source(shots: int) -> None:
    source, labels, target = clusters(shots)
    assert torch.isfinite(chain(source, labels, target).answer).all()
    alone = labels.sum(dim=1) > 0
    found = chain(source[alone], labels[alone], 0 * target)
    assert torch.isfinite(found.answer).all()


def test_averaged_scores_ignore_their_scales() -> None:
    """Equation 8."""
    a, b = rand(30, 3), rand(30, 3, seed=1)
    both, scaled = resonance.averaged([a, b], 30), resonance.averaged([7 * a + 1, b], 30)
    torch.testing.assert_close(both, scaled)
    first = resonance.averaged([a, b], 30, weights=(1.0, 0.0))
    torch.testing.assert_close(first, resonance.averaged([a], 30))


def test_dual_resonance_equals_a_loop() -> None:
    """Equation 9, instance and instance."""
    u, q, weight = rand(4, 3), rand(4, 2, seed=1).softmax(dim=1), rand(4, seed=2).abs()
    wanted = 0.0
    for i in range(4):
        others = [j for j in range(4) if j != i]
        cosine = torch.stack([torch.cosine_similarity(u[i], u[j], dim=0) / 0.2 for j in others])
        alike = torch.stack([q[i] @ q[j] for j in others])
        wanted -= float(weight[i] * (alike / alike.sum() * cosine.log_softmax(dim=0)).sum())
    assert float(resonance.dual_resonance(u, q, weight, 0.2)) == pytest.approx(wanted)


ABLATIONS = [entry.name for entry in registry.entries().values() if entry.base == "sere"]


def test_narrow_instants_stay_out() -> None:
    problem = example_problem(n_source=60, n_target=60)
    (narrow,) = scores_of("sere", problem)
    assert (narrow == scores_of("sere-no-instants", problem)[0]).all()


def test_every_ablation_acts() -> None:
    """On a problem whose instants are wide enough to be used."""
    problem = example_problem(n_source=60, n_target=60, d=130)
    answers = {name: scores_of(name, problem)[0] for name in ABLATIONS}
    same = [n for n in ABLATIONS if n != "sere" and (answers[n] == answers["sere"]).all()]
    assert set(same) <= {"sere-no-check"}  # acts where the check fails, tested above
