"""What a pack's jobs come to when memory runs out, something breaks, or a method does not apply."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from clser_bench import registry
from clser_bench.problem import Job, Outcome
from clser_bench.train import execute as module
from clser_bench.train.check import example_problem
from clser_bench.train.engine import Result, train_pack
from clser_bench.train.execute import execute
from clser_bench.train.loop import train_one

PROBLEM = example_problem()
ONE_HOT = np.eye(3)[np.arange(36) % 3]


def jobs(count: int, name: str = "dann") -> list[Job]:
    short = {"steps": 4, "target_batch": 12, "source_batch": 12} if name == "dann" else {}
    made = []
    for n in range(count):
        weight = {"adversary_weight": 0.1 * (n + 1)} if name == "dann" else {}
        parameters = registry.create(name, {**short, **weight}).parameters()
        made.append(Job(id=f"j{n}", method=name, parameters=parameters, problem=PROBLEM, seed=n))
    return made


class Memory:
    """Holds packs up to a size; remembers sizes and devices."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []
        self.devices: set[str] = set()

    def __call__(self, methods: Sequence[Any], *rest: Any, device: str) -> list[Result]:
        self.sizes.append(len(methods))
        self.devices.add(device)
        if len(methods) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_pack(methods, *rest)


def same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    assert [one.id for one in found] == [one.id for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.status == "ok", one.reason
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [
        (8, 8, [8]),
        (8, 2, [8, 4, 2, 2, 4, 2, 2]),
        (7, 3, [7, 3, 4, 2, 2]),
        (2, 1, [2]),
        (4, 0, [4, 2, 2]),
    ],
)
def test_a_pack_that_does_not_fit_is_halved(
    monkeypatch: pytest.MonkeyPatch, count: int, most: int, sizes: list[int]
) -> None:
    """One alone is trained on the CPU, where it fits."""
    expected = execute(jobs(count))
    held = Memory(most)
    monkeypatch.setattr(module, "train_pack", held)
    same(execute(jobs(count), device="cuda:0"), expected)
    assert held.sizes == sizes
    assert held.devices == {"cuda:0"}


def test_one_that_does_not_fit_anywhere_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_method: object, _problem: object, seed: int) -> Result:
        if seed == 1:
            raise torch.OutOfMemoryError("not even one")
        return Result(np.zeros((36, 3)))

    monkeypatch.setattr(module, "train_pack", Memory(1))
    monkeypatch.setattr(module, "train_one", none)
    found = execute(jobs(3))
    assert [one.status for one in found] == ["ok", "failed", "ok"]
    assert "Traceback" in found[1].reason
    assert "not even one" in found[1].reason


def test_what_breaks_a_pack_fails_alone_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = execute(jobs(4))

    def breaks(*_: Any, **__: Any) -> list[Result]:
        raise ValueError("does not converge")

    def one(method: Any, problem: Any, seed: int) -> Result:
        if seed == 2:
            raise ValueError("this is the one")
        return train_one(method, problem, seed)

    monkeypatch.setattr(module, "train_pack", breaks)
    monkeypatch.setattr(module, "train_one", one)
    found = execute(jobs(4))
    assert [item.status for item in found] == ["ok", "ok", "failed", "ok"]
    assert "ValueError: this is the one" in found[2].reason
    same([found[0], found[1], found[3]], [expected[0], expected[1], expected[3]])


def test_a_trial_that_diverges_is_a_failure_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def results(methods: Sequence[Any], *_: Any, **__: Any) -> list[Result]:
        good = [Result(np.zeros((36, 3))) for _ in methods]
        return [Result(np.zeros((0, 0)), "the loss is not finite"), *good[1:]]

    monkeypatch.setattr(module, "train_pack", results)
    found = execute(jobs(3))
    assert [one.status for one in found] == ["failed", "ok", "ok"]
    assert found[0].reason == "the loss is not finite"
    assert {one.scores.dtype for one in found[1:]} == {np.dtype(np.float32)}


def test_what_does_not_apply_stays_out_of_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Memory(8)
    monkeypatch.setattr(module, "train_pack", held)
    wider = example_problem(d=4, f=7)
    mixed = jobs(3)
    mixed[1] = replace(mixed[1], problem=replace(PROBLEM, target=wider.target))
    found = execute(mixed)
    assert [one.status for one in found] == ["ok", "not_applicable", "ok"]
    assert "same size" in found[1].reason
    assert (held.sizes, held.devices) == ([2], {"cpu"})
    assert [one.id for one in found] == ["j0", "j1", "j2"]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (np.zeros((36, 2)), "wanted (36, 3)"),
        (np.zeros(36), "wanted (36, 3)"),
        (np.full((36, 3), np.nan), "the scores are not finite"),
        (np.ones((36, 3)) + 1j, "real numbers are needed"),
        (np.full((36, 3), "a"), "real numbers are needed"),
        (ONE_HOT * 1e-60, "the scores of 24 of 36 utterances lose their order in float32"),
        (1 + 1e-9 * ONE_HOT, "return log-probabilities"),
        ((1 + ONE_HOT) * 1e300, "lose their order in float32"),
        (np.full((36, 3), 1e300), "return log-probabilities"),
    ],
)
def test_scores_of_fitted_methods_are_checked(
    monkeypatch: pytest.MonkeyPatch, scores: np.ndarray, words: str
) -> None:
    monkeypatch.setattr(registry.load("lda"), "fit_predict", lambda *_: scores)
    (found,) = execute(jobs(1, "lda"))
    assert found.status == "failed"
    assert words in found.reason


def test_ties_and_whole_numbers_are_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    for scores in (-ONE_HOT, ONE_HOT.astype(bool), np.zeros((36, 3), np.int8)):
        monkeypatch.setattr(registry.load("lda"), "fit_predict", lambda *_, made=scores: made)
        (found,) = execute(jobs(1, "lda"))
        assert found.scores.argmax(1).tolist() == scores.argmax(1).tolist()


def test_a_single_tie_by_rounding_keeps_the_class_of_the_exact_scores() -> None:
    scores = np.log(0.1 + ONE_HOT)
    scores[7] = [-1.0, -1.0 + 1e-12, -2.0]
    stored = module.stored_scores(scores, 36, 3)
    assert stored.argmax(axis=1).tolist() == scores.argmax(axis=1).tolist()
    np.testing.assert_allclose(stored, scores, rtol=2e-7)


def test_fitted_methods_are_never_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train_pack", lambda *_, **__: pytest.fail("packed"))
    found = execute(jobs(3, "lda"), device="cuda")
    assert [one.status for one in found] == ["ok"] * 3
    assert execute([]) == []


@pytest.mark.parametrize(
    ("answer", "kept", "set_"), [(1, True, [(-3, 32 * 2**20), (-1, 2**31 - 1)]), (0, False, None)]
)
def test_the_allocator_is_given_both_thresholds_unless_it_refuses(
    monkeypatch: pytest.MonkeyPatch, answer: int, kept: bool, set_: list[tuple[int, int]] | None
) -> None:
    given: list[tuple[int, int]] = []

    def mallopt(*option: int) -> int:
        given.append(option)  # type: ignore[arg-type]
        return answer

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert module.keep_freed_memory.__wrapped__() is kept
    assert given == (set_ or given[:1])


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def absent(_: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert module.keep_freed_memory.__wrapped__() is False
