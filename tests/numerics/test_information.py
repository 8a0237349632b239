"""Information maximisation, SHOT and MME: loops, torch, hand-worked cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clser_bench import registry
from clser_bench.nn import losses
from clser_bench.train.contract import Shape, View
from tests import tools
from tests.oracles import assert_same, at, batch, gradient, pseudo_labels, small_network, view
from tests.tools import rand

SHOT = tools.method("shot")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothed_cross_entropy_equals_torch_and_its_gradient(smoothing: float) -> None:
    logits, y = rand(6, 4).requires_grad_(), torch.tensor([0, 3, 1, 1, 2, 0])
    factor = torch.tensor(smoothing, dtype=torch.float64)
    expected = functional.cross_entropy(logits, y, label_smoothing=smoothing)
    assert_same(SHOT.smoothed_cross_entropy(logits, y, factor), expected, logits)


def test_smoothed_cross_entropy_by_hand_and_per_trial() -> None:
    """Probabilities 0.8 and 0.2, smoothing 0.2: targets 0.9 and 0.1."""
    logits, y = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0])
    per_trial = torch.vmap(SHOT.smoothed_cross_entropy, in_dims=(None, None, 0))
    found = per_trial(logits, y, torch.tensor([0.2, 0.0]))
    expected = [-0.9 * math.log(0.8) - 0.1 * math.log(0.2), -math.log(0.8)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_information_loss_has_its_gradient_and_ignores_offsets() -> None:
    """Of its value see `test_mutual_information_by_hand_and_by_divergence`."""
    logits = rand(7, 4)
    found = float(losses.information_loss(logits))
    assert torch.autograd.gradcheck(losses.information_loss, (logits.requires_grad_(),))
    moved = logits.detach() + rand(7, 1, seed=1)
    assert float(losses.information_loss(moved)) == pytest.approx(found)


def test_information_loss_by_hand() -> None:
    """Sure and balanced: -log 2. Sure of one class, or unsure throughout: nothing is learned."""
    balanced = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    loss = losses.information_loss(balanced)
    assert float(loss.detach()) == pytest.approx(-math.log(2))
    assert torch.isfinite(gradient(loss, balanced)).all()
    assert float(losses.information_loss(torch.tensor([[1e4, 0.0]] * 2))) == 0.0
    assert float(losses.information_loss(torch.zeros(3, 2))) == pytest.approx(0.0, abs=1e-6)


def test_weighted_centroids_by_numpy_and_without_weight() -> None:
    u, weight = rand(6, 3), rand(6, 4, seed=1).abs()
    weight[:, 2] = 0
    found = SHOT.weighted_centroids(u, weight)
    for k in (0, 1, 3):
        expected = np.average(u.numpy(), axis=0, weights=weight[:, k].numpy())
        np.testing.assert_allclose(found[k].numpy(), expected)
    assert not found[2].any()


def labels_by_numpy(embedding: np.ndarray, scores: np.ndarray, rounds: int) -> list[int]:
    """Row by row, with distances instead of cosines."""
    n, c = scores.shape
    u = [np.append(row, 1.0) / math.sqrt(float(row @ row) + 1) for row in embedding]
    share = [np.exp(s - s.max()) / np.exp(s - s.max()).sum() for s in scores]
    label = [int(np.argmax(s)) for s in scores]
    for _ in range(rounds):
        centre = {k: sum(share[i][k] * u[i] for i in range(n)) for k in sorted(set(label))}
        unit = {k: v / math.sqrt(float(v @ v)) for k, v in centre.items()}
        distance = [{k: 1 - float(v @ row) for k, v in unit.items()} for row in u]
        label = [min(each, key=each.__getitem__) for each in distance]
        share = [np.eye(c)[k] for k in label]
    return label


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_centroid_labels_equal_numpy(rounds: int) -> None:
    changed = 0
    for seed in range(5):
        embedding, scores = rand(40, 3, seed=seed), rand(40, 5, seed=100 + seed)
        scores[:, 3] -= 9
        found = SHOT.centroid_labels(embedding, scores, rounds=rounds)
        expected = labels_by_numpy(embedding.numpy(), scores.numpy(), rounds)
        assert found.tolist() == expected
        assert 3 not in expected
        changed += int((found != scores.argmax(dim=-1)).sum())
    assert changed > 0


def test_centroid_labels_by_hand() -> None:
    """The third row is taken for class 0 but lies with the row of class 1."""
    embedding = torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 8.0], [8.0, 0.0]])
    scores = torch.tensor([[4.0, 0.0], [0.0, 4.0], [0.1, 0.0], [4.0, 0.0]])
    assert SHOT.centroid_labels(embedding, scores, rounds=2).tolist() == [0, 1, 1, 0]


def test_centroid_labels_without_differences() -> None:
    one = SHOT.centroid_labels(torch.zeros(1, 4), torch.tensor([[0.0, 2.0]]), rounds=2)
    assert one.tolist() == [1]
    alike = SHOT.centroid_labels(torch.ones(3, 4), torch.zeros(3, 2), rounds=2)
    assert len(set(alike.tolist())) == 1


def test_cosine_logits_by_hand_and_their_gradient() -> None:
    u = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    found = losses.cosine_logits(u, prototypes, 0.5)
    torch.testing.assert_close(found, torch.tensor([[1.2, 3.2], [0.0, 4.0]]))
    torch.testing.assert_close(losses.cosine_logits(100 * u, prototypes, 0.5), found)
    assert torch.isfinite(losses.cosine_logits(torch.zeros(1, 2), prototypes, 0.5)).all()
    assert torch.autograd.gradcheck(
        lambda u, w: losses.cosine_logits(u, w, 0.3),
        (rand(4, 3).requires_grad_(), rand(2, 3, seed=1).requires_grad_()),
    )


def test_mme_classifier_raises_and_features_lower_the_entropy() -> None:
    """The gradient of each part is that of the paper's objective of this part, worked naively."""
    method: Any = registry.create("mme", {"entropy_weight": 0.4, "temperature": 0.2})
    torch.manual_seed(0)
    network = method.network(Shape(c=3, t=4, d=3, f=5, d_target=3, f_target=5)).double()
    labelled, y, target = view(6), torch.arange(6) % 3, view(9, seed=2)
    loss = method.loss(network, batch(labelled=labelled, y=y, target=target))

    def scores(view: View) -> Tensor:
        u: Tensor = network.embed(view)
        w: Tensor = network.head.weight
        return (u / u.square().sum(-1, keepdim=True).sqrt()) @ w.T / 0.2

    p = scores(target).softmax(-1)
    entropy = -(p * p.log()).sum() / 9
    emotion = -scores(labelled).softmax(-1)[torch.arange(6), y].log().mean()
    for part, sign in (("backbone.", 1), ("head.", -1)):
        objective = emotion + sign * 0.4 * entropy
        chosen = [p for name, p in network.named_parameters() if name.startswith(part)]
        assert chosen
        for parameter in chosen:
            torch.testing.assert_close(gradient(loss, parameter), gradient(objective, parameter))


def test_shot_loss_of_the_target_by_loops() -> None:
    method: Any = registry.create("shot", {"pseudo_weight": 0.7})
    network, rows = small_network(1), [0, 4, 4, 8]
    label = pseudo_labels(method, network, view(10))["label"][rows]
    target = at(view(10), rows)
    p = network(target).detach().softmax(-1).numpy()
    mean = p.mean(axis=0)
    expected = float((mean * np.log(mean)).sum())
    for row, k in zip(p, label.tolist(), strict=True):
        expected += (-sum(v * math.log(v) for v in row) - 0.7 * math.log(row[k])) / len(rows)
    found = method.target_loss(network, batch(target=target, state={"label": label}))
    assert float(found.detach()) == pytest.approx(expected)


def test_shot_loss_of_the_source_equals_torch() -> None:
    method: Any = registry.create("shot", {"smoothing": 0.3})
    network, y = small_network(1), torch.arange(10) % 3
    expected = functional.cross_entropy(network(view(10)), y, label_smoothing=0.3)
    found = method.source_loss(network, batch(labelled=view(10), y=y))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["shot", "ecan"])
def test_features_are_adapted_without_the_source(name: str) -> None:
    method: Any = registry.create(name)
    first, second = method.phases()
    assert (first.uses, second.uses) == (("labelled",), ("target",))
    assert second.start == first.stop
    assert second.trains == ("backbone",)


def test_shot_pseudo_labels_follow_their_rows() -> None:
    method: Any = registry.create("shot")
    network, whole = small_network(1), view(10)
    label = pseudo_labels(method, network, whole)["label"]
    assert label.shape == (10,)
    assert len(set(label.tolist())) > 1
    order = torch.tensor([3, 1, 9, 0, 2, 8, 7, 4, 6, 5])
    turned = pseudo_labels(method, network, at(whole, order))["label"]
    assert turned.tolist() == label[order].tolist()
