"""SHOT: its losses by hand, its pseudo-labels, and its stages, which are ECAN's too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from clser_bench import registry
from tests.oracles import at, batch, pseudo_labels, small_network, view


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
    expected = torch.nn.functional.cross_entropy(network(view(10)), y, label_smoothing=0.3)
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
