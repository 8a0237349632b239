"""The contract of a method as functions: for the contract tests, and for `check-method FILE`.

Each check takes a registered name and raises `MethodError` with one sentence where the method
breaks the contract. Problems are small and made of random numbers: all checks of a fitted method
take a second, of a trained one some ten.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clser_bench import registry
from clser_bench.errors import MethodError, SpecError
from clser_bench.hashing import digest_array, generator
from clser_bench.problem import Floats, Job, Labelled, Outcome, Problem, Rows, Table, Value
from clser_bench.train.contract import POINTS, Trained
from clser_bench.train.engine import train_pack
from clser_bench.train.execute import execute
from clser_bench.train.loop import train_one

SHORT: Mapping[str, Value] = {"steps": 6, "target_batch": 12, "source_batch": 12}
"""The budget of trained methods in most checks."""


def example_table(name: str, *, n: int, t: int = 4, d: int = 3, f: int = 5, c: int = 3) -> Table:
    """A table whose rows lie around class centres shared by all tables; row i has class i % c."""
    centres = generator("centres", c, d, f).standard_normal((c, d + f))
    rng = generator("table", name)
    label = np.arange(n) % c
    instants = centres[label, None, :d] + rng.standard_normal((n, t, d))
    summary = centres[label, d:] + rng.standard_normal((n, f))
    return Table(name, instants.astype(np.float32), summary.astype(np.float32))


def example_problem(
    name: str = "a",
    *,
    n_source: int = 40,
    n_target: int = 36,
    c: int = 3,
    shots: int = 4,
    t: int = 4,
    d: int = 3,
    f: int = 5,
) -> Problem:
    """A problem with `shots` labelled rows per class; the class of target row i is i % c."""
    source = example_table(f"{name} source", n=n_source, t=t, d=d, f=f, c=c)
    target = example_table(f"{name} target", n=n_target, t=t, d=d, f=f, c=c)
    rows = np.concatenate([np.arange(label, n_source, c)[:shots] for label in range(c)])
    rest = np.setdiff1d(np.arange(n_source), rows)
    everything = np.arange(n_target)
    return Problem(
        classes=("anger", "fear", "happiness", "neutral", "sadness", "surprise")[:c],
        source=source,
        target=target,
        labelled=Labelled(rows.astype(np.int64), (rows % c).astype(np.int64)),
        unlabelled=rest.astype(np.int64),
        adapt=everything.astype(np.int64),
        scored=everything.astype(np.int64),
    )


def shifted_problem(name: str = "a") -> Problem:
    """An example whose target is moved by two units, so that adaptation has something to do.

    It has 900 target rows, so that a term which moves one answer in a hundred is seen to act.
    """
    problem = example_problem(name, n_source=90, n_target=900)
    return with_target(problem, lambda values: values + np.float32(2))


def make(name: str, settings: Mapping[str, Value] = SHORT) -> Any:
    """A method with a small budget, as far as it has one and its preset does not set it."""
    own, preset = registry.load(name).ranges(), registry.entry(name).overrides
    kept = {key: value for key, value in settings.items() if key in own and key not in preset}
    return registry.create(name, kept)


def job(name: str, problem: Problem, *, seed: int = 3, label: str = "job") -> Job:
    """A job with a small budget."""
    parameters = make(name).parameters()
    return Job(id=label, method=name, parameters=parameters, problem=problem, seed=seed)


def run(name: str, problem: Problem) -> Outcome:
    """What comes of a job with a small budget."""
    return execute([job(name, problem)])[0]


def scores_of(name: str, *problems: Problem, seeds: Sequence[int] = (3,)) -> list[Floats]:
    """Scores with a small budget, of problems of equal sizes in one pack, or MethodError."""
    each = list(seeds) * (len(problems) // len(seeds))
    jobs = [job(name, one, seed=seed) for one, seed in zip(problems, each, strict=True)]
    scores = []
    for outcome in execute(jobs):
        if outcome.status != "ok":
            raise MethodError(f"an ordinary problem gives no scores: {outcome.reason}")
        scores.append(outcome.scores)
    return scores


def changed(table: Table, change: Callable[[Floats], Floats]) -> Table:
    """A table with other values."""
    values = change(np.array(table.instants)), change(np.array(table.summary))
    return Table(f"{table.key} changed", *values)


def with_target(problem: Problem, change: Callable[[Floats], Floats]) -> Problem:
    """The problem with other values of the target."""
    return replace(problem, target=changed(problem.target, change))


def _raised(rows: Rows) -> Callable[[Floats], Floats]:
    """Adds three to all values of some rows."""

    def change(values: Floats) -> Floats:
        values[rows] += 3
        return values

    return change


def card(name: str) -> None:
    """The docstring, the declarations and the explanations of hyper-parameters are there."""
    entry, method = registry.entry(name), make(name)
    text = ast.get_docstring(ast.parse(entry.file.read_bytes())) or ""
    for word in ("Reference:", "Departures:"):
        _demand(word in text, f"the docstring of {entry.file.name} has no '{word}'")
    _demand(bool(entry.summary), "the first line of the docstring is empty")
    _demand(
        method.assumes_prior in ("none", "uniform", "estimated"),
        f"assumes_prior is {method.assumes_prior!r}: allowed are none, uniform, estimated",
    )
    parts = ("labelled", "source", "target")
    _demand(set(method.uses) <= set(parts), f"uses is {method.uses!r}: allowed are {parts}")
    for key, span in method.ranges().items():
        _demand(bool(span.about), f"hyper-parameter '{key}' has no about=")


def points(name: str) -> None:
    """The grid of a selection is small and holds the defaults."""
    cls, overrides = registry.load(name), registry.entry(name).overrides
    found = cls.points(overrides)
    _demand(len(found) <= POINTS, f"the grid has {len(found)} points; allowed are {POINTS}")
    made = [registry.create(name, point).parameters() for point in found]
    whole = int(np.prod([len(values) for values in cls.grid().values()]))
    _demand(
        len(set(made)) == len(found) == whole, "the grid lacks the defaults, or repeats a value"
    )
    _demand(cls.points(overrides, fixed=cls.grid()) == ({},), "a fixed grid still has points")


def reproducible(name: str) -> None:
    """The same seed gives the same bytes, of the right shape, and the inputs stay as they were."""
    problem = example_problem()
    tables = (problem.source, problem.target)
    before = [digest_array(t.instants) + digest_array(t.summary) for t in tables]
    (first,), (second,) = scores_of(name, problem), scores_of(name, problem)
    _demand(first.tobytes() == second.tobytes(), "the same seed gives other scores: use rng")
    after = [digest_array(t.instants) + digest_array(t.summary) for t in tables]
    _demand(before == after, "the features were written into")


def deterministic(name: str) -> None:
    """`deterministic` says whether the seed matters."""
    problem = example_problem()
    one, other = scores_of(name, problem, problem, seeds=(1, 2))
    same = one.tobytes() == other.tobytes()
    said, what = registry.load(name).deterministic, "the same" if same else "other"
    _demand(same == said, f"deterministic = {said}, but two seeds give {what} scores")


def pack_equals_loop(name: str) -> None:
    """Packed training equals the one-trial loop to 1e-9 in float64."""
    method = make(name)
    if not isinstance(method, Trained) or not method.packable:
        return
    methods = [replace(method, learning_rate=rate) for rate in (1e-3, 1e-2, 3e-3)]
    problems = [example_problem("a"), example_problem("b"), example_problem("b")]
    packed = train_pack(methods, problems, [1, 2, 3], dtype=torch.float64)
    for one, problem, seed, result in zip(methods, problems, [1, 2, 3], packed, strict=True):
        alone = train_one(one, problem, seed, dtype=torch.float64)
        _demand(not result.failure, f"a packed trial fails: {result.failure}")
        gap = float(np.abs(result.scores - alone.scores).max())
        _demand(gap <= 1e-9, f"packed and single training differ by {gap:.2g} (allowed 1e-9)")


def order_of_rows(name: str) -> None:
    """A row number says nothing: the same utterances at other rows get the same scores.

    `adapt` names the moved rows in their old order, so that a trained method's batches hold the
    same utterances; a fitted method is also given them in the new order.
    """
    problem = example_problem()
    order = np.random.default_rng(0).permutation(36)
    place = np.argsort(order)
    moved = with_target(problem, lambda values: values[order])
    scores, followed = scores_of(name, problem, replace(moved, adapt=place, scored=place))
    _demand_equal(followed, scores, "the order of the table's rows changes the scores")
    if registry.load(name).kind == "fitted":
        (again,) = scores_of(name, moved)
        _demand_equal(again, scores[order], "the order of rows changes the scores")


def scored_rows_apart(name: str) -> None:
    """Scored rows are no data: each is answered by itself in the inductive setting.

    Where more rows are adapted to than are scored (added corpora), a fitted method gives those that
    are the scores that they have among all.
    """
    problem = replace(example_problem(), adapt=np.arange(24), scored=np.arange(24, 36))
    other = with_target(problem, _raised(np.arange(30, 36)))
    scores, others = scores_of(name, problem, other)
    text = "a scored row moves the scores of another; adapt to problem.adapt alone"
    _demand_equal(others[:6], scores[:6], text)
    if registry.load(name).kind == "fitted":
        whole = example_problem()
        scores, others = scores_of(name, whole, replace(whole, scored=whole.scored[5:24]))
        text = "rows that are adapted to and not scored change the scores of the others"
        _demand_equal(others, scores[5:24], text)


def declared_data(name: str) -> None:
    """Data that `uses` does not name do not change the scores."""
    problem = replace(example_problem(), adapt=np.arange(24), scored=np.arange(24, 36))
    used = make(name).uses
    source = replace(problem, source=changed(problem.source, _raised(problem.unlabelled)))
    target = replace(problem, adapt=np.arange(12))
    for part, other, what in (
        ("source", source, "the unlabelled source changes"),
        ("target", target, "the rows to adapt to change"),
    ):
        if part not in used:
            scores, others = scores_of(name, problem, other)
            same = np.array_equal(others, scores)
            _demand(same, f"{what} the scores, but uses does not name '{part}'")


def _one_class(problem: Problem) -> Problem:
    only = problem.labelled.y == 0
    labelled = Labelled(problem.labelled.rows[only], problem.labelled.y[only])
    return replace(problem, classes=("anger",), labelled=labelled)


HARD: Mapping[str, Callable[[], Problem]] = {
    "one class": lambda: _one_class(example_problem()),
    "two utterances": lambda: replace(example_problem(), adapt=np.arange(2), scored=np.arange(2)),
    "constant target": lambda: with_target(example_problem(), np.zeros_like),
    "huge values": lambda: with_target(example_problem(), lambda v: v * np.float32(1e18)),
    "one shot": lambda: example_problem(shots=1),
    "no unlabelled source": lambda: replace(example_problem(), unlabelled=np.zeros(0, np.int64)),
}


def hard_problems(name: str, cases: Collection[str] = tuple(HARD)) -> None:
    """A degenerate problem gives finite scores or a reason."""
    for case in cases:
        outcome = run(name, HARD[case]())
        answered = np.isfinite(outcome.scores).all() if outcome.status == "ok" else outcome.reason
        _demand(bool(answered), f"a problem with {case} gives neither scores nor a reason")


def unequal_sizes(name: str) -> None:
    """Other feature sizes of the target are answered as `unequal_sizes` says."""
    problem, wider = example_problem(), example_problem(d=4, f=7)
    outcome = run(name, replace(problem, target=wider.target))
    cls = registry.load(name)
    if not cls.unequal_sizes and cls.role == "ranked":
        _demand(outcome.status == "not_applicable", "other feature sizes must be not applicable")
        _demand("same size" in outcome.reason, f"the reason is '{outcome.reason}'")


def learns(name: str) -> None:
    """Classes that lie apart are separated: two of three target utterances at least."""
    if registry.load(name).role != "ranked":
        return
    problem = example_problem(n_source=90, n_target=90, shots=10)
    method = registry.create(name)
    one = Job(id="x", method=name, parameters=method.parameters(), problem=problem, seed=3)
    (outcome,) = execute([one])
    _demand(outcome.status == "ok", f"an ordinary problem gives no scores: {outcome.reason}")
    right = float((outcome.scores.argmax(axis=1) == np.arange(90) % 3).mean())
    _demand(right > 0.6, f"well-separated classes: {100 * right:.0f} % right, of three classes")


def moved_share(name: str, problem: Problem, *, seed: int = 3) -> float:
    """Share of answers that the adaptation term of a trained method moves.

    The control is the method itself from the same start, with the hyper-parameters that its
    `control` names. MethodError where training fails.
    """
    cls = registry.load(name)
    methods = [registry.create(name), registry.create(name, cls.control)]
    if cls.packable and set(cls.control) <= set(cls.real()):
        results = train_pack(methods, [problem] * 2, [seed] * 2)
    else:
        results = [train_one(method, problem, seed) for method in methods]
    for result in results:
        if result.failure:
            raise MethodError(f"an ordinary problem fails: {result.failure}")
    own, control = (result.scores.argmax(axis=1) for result in results)
    return float((own != control).mean())


def adaptation_moves(name: str) -> None:
    """The adaptation term of a trained method moves answers on a shifted target."""
    cls = registry.load(name)
    if not issubclass(cls, Trained) or set(registry.create(name).uses) == {"labelled"}:
        return
    _demand(bool(cls.control), "a trained method that adapts declares control = {...}")
    unknown = set(cls.control) - set(cls.ranges())
    _demand(not unknown, f"control names {sorted(unknown)}, which are no hyper-parameters")
    moves = any(moved_share(name, shifted_problem(number)) for number in "ab")
    _demand(moves, "the adaptation term moves no answer on a shifted target")


CHECKS: Mapping[str, Callable[[str], None]] = {
    check.__name__: check
    for check in (
        *(card, points, reproducible, deterministic, pack_equals_loop, order_of_rows),
        *(scored_rows_apart, declared_data, hard_problems, unequal_sizes, learns),
        adaptation_moves,
    )
}
"""The checks by name. Bounds skip those that ask for an answer by each utterance's features."""

NOT_FOR_BOUNDS = ("order_of_rows", "scored_rows_apart", "declared_data")


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    name: str  # registered name
    check: str  # which check
    text: str  # what is wrong, one sentence


def checks_of(name: str) -> tuple[str, ...]:
    """The checks that a method has to pass."""
    bound = registry.load(name).role == "bound"
    return tuple(check for check in CHECKS if not (bound and check in NOT_FOR_BOUNDS))


def check_method(path: Path | str) -> list[Finding]:
    """What is wrong with the method of a file, which this process then knows, and its presets.

    SpecError where the file cannot be read or imported as one method.
    """
    base = registry.add_plugin(path)
    findings = []
    for name in [e.name for e in registry.entries().values() if e.base == base]:
        registry.load(name)
        for check in checks_of(name):
            try:
                CHECKS[check](name)
            except (MethodError, SpecError) as error:
                findings.append(Finding(name, check, str(error)))
            except Exception as error:  # noqa: BLE001
                # Whatever a stranger's method raises is a finding about it.
                findings.append(Finding(name, check, f"raises {error!r}"))
    return findings


def _demand(condition: bool, text: str) -> None:
    if not condition:
        raise MethodError(text)


def _demand_equal(found: Floats, expected: Floats, text: str) -> None:
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-4):
        raise MethodError(f"{text} (by up to {float(np.abs(found - expected).max()):.2g})")
