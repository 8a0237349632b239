"""The packed engine equals the one-trial loop, whatever a method uses of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from clser_bench.errors import SpecError
from clser_bench.nn.backbone import HIDDEN, SharedClassifier
from clser_bench.registry import hyper
from clser_bench.train.check import example_problem
from clser_bench.train.contract import Batch, Phase, Shape, Snapshot, State, Trained
from clser_bench.train.engine import Result, train_pack
from clser_bench.train.loop import train_one


@dataclass(frozen=True, kw_only=True)
class Plain(Trained):
    steps: int = hyper(8, low=1)
    weight: float = hyper(0.5, low=0.0)

    def network(self, shape: Shape) -> nn.Module:
        return SharedClassifier(shape.d, shape.f, shape.c)

    def loss(self, network: Any, batch: Batch) -> Tensor:
        return functional.cross_entropy(network(batch.labelled), batch.y) * self.weight


class TwoHeads(SharedClassifier):
    def __init__(self, d: int, f: int, c: int) -> None:
        super().__init__(d, f, c)
        self.other = nn.Linear(HIDDEN, c)


@dataclass(frozen=True, kw_only=True)
class Phased(Plain):
    """Alternating steps as of MCD, then a second stage that sees the target only, as of SHOT."""

    def network(self, shape: Shape) -> nn.Module:
        return TwoHeads(shape.d, shape.f, shape.c)

    def phases(self) -> tuple[Phase, ...]:
        features: Any = {"trains": ("backbone",)}
        return (
            Phase("both", stop=0.5),
            Phase("apart", trains=("head", "other"), stop=0.5),
            Phase("together", repeat=3, stop=0.5, penalised=False, **features),
            Phase("entropy", start=0.5, reset_optimiser=True, uses=("target",), **features),
        )

    def _gap(self, network: Any, batch: Batch) -> Tensor:
        x = network.embed(batch.target)
        return (network.head(x).softmax(-1) - network.other(x).softmax(-1)).abs().mean()

    def both(self, network: Any, batch: Batch) -> Tensor:
        x = network.embed(batch.labelled)
        head, other = (part(x) for part in (network.head, network.other))
        return functional.cross_entropy(head, batch.y) + functional.cross_entropy(other, batch.y)

    def apart(self, network: Any, batch: Batch) -> Tensor:
        return self.both(network, batch) - self.weight * self._gap(network, batch)

    def together(self, network: Any, batch: Batch) -> Tensor:
        return self._gap(network, batch)

    def entropy(self, network: Any, batch: Batch) -> Tensor:
        assert len(batch.y) == len(batch.labelled.summary) == len(batch.source.summary) == 0
        p = network(batch.target).softmax(-1)
        return -(p * p.log()).sum(-1).mean()


@dataclass(frozen=True, kw_only=True)
class Teacher(Plain):
    """A moving-average teacher on noisy views of instants, with noise of its own."""

    inputs_instants: ClassVar[bool] = True
    views: ClassVar[bool] = True

    def initial_carry(self, network: Any) -> State:
        return {k: v.clone() for k, v in network.named_parameters()}

    def update_carry(self, network: Any, batch: Batch) -> State:
        now = dict(network.named_parameters())
        return {name: 0.9 * old + 0.1 * now[name] for name, old in batch.carry.items()}

    def noise_size(self, shape: Shape) -> int:
        return HIDDEN

    def loss(self, network: Any, batch: Batch) -> Tensor:
        x = network.embed(batch.labelled) * (batch.noise > -1).to(batch.noise.dtype)
        known = functional.cross_entropy(network.head(x), batch.y)
        taught = functional_call(network, batch.carry, (batch.weak,)).detach().softmax(-1)
        consistency = functional.cross_entropy(network(batch.strong), taught)
        return known + self.weight * batch.progress * consistency


@dataclass(frozen=True, kw_only=True)
class Curriculum(Plain):
    """Pseudo-labels of the whole target, assigned again every third step."""

    @property
    def refresh_every(self) -> int:
        return 3

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        assert len(snapshot.labelled.embedding) == len(snapshot.y)
        noise = torch.from_numpy(snapshot.rng.random(len(snapshot.target.scores)))
        weight = noise * (0.5 + snapshot.progress)
        return {"label": snapshot.target.scores.argmax(-1), "weight": weight}

    def loss(self, network: Any, batch: Batch) -> Tensor:
        known = functional.cross_entropy(network(batch.labelled), batch.y)
        state = batch.state
        each = functional.cross_entropy(network(batch.target), state["label"], reduction="none")
        return known + self.weight * (each * state["weight"]).mean()


PROBLEMS, SEEDS = [example_problem(name) for name in "abba"], [1, 2, 3, 4]


def several(kind: type[Plain]) -> list[Plain]:
    return [
        kind(weight=0.2 + i, learning_rate=1e-2 / (1 + i), weight_decay=0.1 * i, target_batch=7)
        for i in range(4)
    ]


@pytest.fixture(scope="module", params=[Plain, Phased, Teacher, Curriculum])
def packed(request: pytest.FixtureRequest) -> tuple[list[Plain], list[Result]]:
    """Four methods of a kind, and what training them together gives."""
    methods = several(request.param)
    return methods, train_pack(methods, PROBLEMS, SEEDS, dtype=torch.float64)


def test_pack_equals_loop(packed: tuple[list[Plain], list[Result]]) -> None:
    trials = zip(packed[0], PROBLEMS, SEEDS, packed[1], strict=True)
    for method, problem, seed, result in trials:
        alone = train_one(method, problem, seed, dtype=torch.float64)
        assert result.failure == alone.failure == ""
        np.testing.assert_allclose(result.scores, alone.scores, rtol=0, atol=1e-9)


def test_a_trial_does_not_depend_on_its_neighbours(packed) -> None:
    methods, results = packed
    pair = train_pack(methods[2:0:-1], PROBLEMS[2:0:-1], SEEDS[2:0:-1], dtype=torch.float64)
    for result, among in zip(pair, results[2:0:-1], strict=True):
        np.testing.assert_allclose(result.scores, among.scores, rtol=0, atol=1e-9)


def test_training_moves_the_scores_and_seeds_differ() -> None:
    problem = example_problem("a")
    long = Plain(steps=30, learning_rate=1e-2)
    one, other, again = (train_one(long, problem, seed).scores for seed in (1, 2, 1))
    untrained = train_one(Plain(steps=1, learning_rate=1e-6), problem, 1).scores
    assert one.tobytes() == again.tobytes()
    assert np.abs(one - other).max() > 1e-3
    right, before = ((s.argmax(1) == np.arange(36) % 3).mean() for s in (one, untrained))
    assert right > 0.7 > before


def test_a_diverging_trial_fails_alone() -> None:
    methods = [Plain(), Plain(weight=1e300, learning_rate=1.0), Plain()]
    problems = [example_problem("a")] * 3
    # 1e300 is finite in float64 and overflows in float32.
    found = train_pack(methods, problems, [1, 2, 1])
    assert "not finite at step 0" in found[1].failure
    assert found[0].failure == found[2].failure == ""
    assert found[0].scores.tobytes() == found[2].scores.tobytes()
    assert "not finite at step 0" in train_one(methods[1], problems[1], 2).failure


def test_phases_are_checked() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Plain):
        def phases(self) -> tuple[Phase, ...]:
            return (Phase("loss", trains=("bone",)),)

    words = r"trains 'bone', but the network has \['backbone', 'head'\]"
    with pytest.raises(SpecError, match=words):
        train_one(Wrong(), example_problem(), 1)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    train_pack([Plain(steps=1)] * 2, [example_problem()] * 2, [1, 2])
    assert torch.equal(before, torch.get_rng_state())
