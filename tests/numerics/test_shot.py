"""SHOT: its losses by hand, its pseudo-labels and stages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clser_bench import registry
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.train.contract import Batch, Embedded, Snapshot, Trained, View
from tests.tools import rand


def network_and_target() -> tuple[SharedClassifier, View]:
    torch.manual_seed(1)
    return SharedClassifier(3, 5, 3).double(), View(rand(10, 0, 3), rand(10, 8))


def labels_of(method: Trained, network: SharedClassifier, whole: View) -> Tensor:
    described = Embedded(network.embed(whole).detach(), network(whole).detach())
    rng = np.random.default_rng(0)
    return method.update_pseudo_labels(Snapshot(described, torch.arange(0), described, 0.5, rng))[
        "label"
    ]


def test_shot_loss_of_the_target_by_loops() -> None:
    method: Any = registry.create("shot", {"pseudo_weight": 0.7})
    network, whole = network_and_target()
    rows = [0, 4, 4, 8]
    label = labels_of(method, network, whole)[rows]
    target, none = View(*(part[rows] for part in whole)), View(*(part[:0] for part in whole))
    batch = Batch(none, torch.arange(0), none, target, none, none, {"label": label}, torch.zeros(0))
    p = network(target).detach().softmax(-1).numpy()
    mean = p.mean(axis=0)
    expected = float((mean * np.log(mean)).sum())
    for row, k in zip(p, label.tolist(), strict=True):
        expected += (-sum(v * math.log(v) for v in row) - 0.7 * math.log(row[k])) / len(rows)
    assert float(method.target_loss(network, batch).detach()) == pytest.approx(expected)


def test_shot_loss_of_the_source_equals_torch() -> None:
    method: Any = registry.create("shot", {"smoothing": 0.3})
    network, whole = network_and_target()
    none, y = View(*(part[:0] for part in whole)), torch.arange(10) % 3
    batch = Batch(whole, y, none, none, none, none, {}, torch.zeros(0))
    expected = torch.nn.functional.cross_entropy(network(whole), y, label_smoothing=0.3)
    torch.testing.assert_close(method.source_loss(network, batch), expected)


def test_shot_adapts_features_without_the_source() -> None:
    method = registry.create("shot")
    assert isinstance(method, Trained)
    first, second = method.phases()
    assert (first.uses, second.uses) == (("labelled",), ("target",))
    assert second.start == first.stop
    assert second.trains == ("backbone",)


def test_shot_pseudo_labels_follow_their_rows() -> None:
    method = registry.create("shot")
    assert isinstance(method, Trained)
    network, whole = network_and_target()
    label = labels_of(method, network, whole)
    assert label.shape == (10,)
    assert len(set(label.tolist())) > 1
    order = torch.tensor([3, 1, 9, 0, 2, 8, 7, 4, 6, 5])
    turned = labels_of(method, network, View(*(part[order] for part in whole)))
    assert turned.tolist() == label[order].tolist()
