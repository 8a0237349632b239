"""Side by side with scikit-learn, skada, a plain PyTorch loop and one Ray Tune trial per run.

    python benchmarks/peers.py              # minutes; --quick for fewer trials

Problems of the sizes of a six-class pair with eGeMAPS (500 and 1,000 utterances, summaries of
88), with planted classes that the languages share up to a shift and a scale; all source labels.
Both ways solve the same problems in turns, on one core. Seconds are CPU time, so that other
processes on the machine do not count; for Ray, whose processes are others, both are by the clock.
Peers get the parameters of the package's defaults. skada is no dependency of the package: `pip
install skada`, else its rows are left out. At the end: a table, and one JSON object in the last
line: for each row seconds a trial of both, their ratio, and both accuracies.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import packing
import torch
from sklearn.base import BaseEstimator
from torch.nn import functional

from clser_bench import registry
from clser_bench.hashing import generator
from clser_bench.problem import Floats, Labelled, Problem, Rows, Table
from clser_bench.shallow.sides import LENGTH
from clser_bench.train.batches import bank_of
from clser_bench.train.contract import Batch, Shape, Trained, View
from clser_bench.train.engine import train_pack
from clser_bench.train.execute import keep_freed_memory

CLASSES, SOURCE, TARGET = len(packing.CLASSES), 500, 1000
TRAINED = ("dann", "mcc", "cdan", "mcd")

Solve = Callable[[Problem], Floats]


def planted(number: int) -> tuple[Problem, Rows]:
    """A problem with class means of its own and a shifted target, and the target's classes."""
    rng = generator("peers", number)
    means = 0.25 * rng.standard_normal((CLASSES, 113))
    shift, scale = 0.3 * rng.standard_normal(113), np.exp(0.2 * rng.standard_normal(113))

    def side(name: str, n: int) -> Table:
        values = means[np.arange(n) % CLASSES] + rng.standard_normal((n, 113))
        if name == "target":
            values = values * scale + shift
        values = (values - values.mean(axis=0)) / values.std(axis=0)
        values = values.astype(np.float32)
        return Table(
            f"{name} {number}", np.repeat(values[:, None, 88:], 32, axis=1), values[:, :88]
        )

    rows = np.arange(SOURCE)
    everything = np.arange(TARGET)
    problem = Problem(
        classes=packing.CLASSES,
        source=side("source", SOURCE),
        target=side("target", TARGET),
        labelled=Labelled(rows, rows % CLASSES),
        unlabelled=rows[:0],
        adapt=everything,
        scored=everything,
    )
    return problem, everything % CLASSES


def uar(scores: Floats, truth: Rows) -> float:
    """Unweighted average recall, percent."""
    right = scores.argmax(axis=1) == truth
    return 100 * float(np.mean([right[truth == label].mean() for label in range(CLASSES)]))


def ours(name: str) -> Solve:
    """A fitted method of the package."""
    method = registry.create(name)
    return lambda problem: method.fit_predict(problem, generator("fit"))


def scikit_learn(name: str) -> Solve:
    """The pipeline that one would write with scikit-learn, with the package's parameters."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    lasts: dict[str, Any] = {
        "logistic": lambda c: LogisticRegression(C=c, class_weight="balanced", max_iter=1000),
        "lda": lambda _: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "svm": lambda c: SVC(C=c, kernel="linear", class_weight="balanced"),
    }
    last = lasts[name](getattr(registry.create(name), "strength", None))

    def solve(problem: Problem) -> Floats:
        pipeline: Any = make_pipeline(StandardScaler(), last)
        pipeline.fit(problem.source.summary[problem.labelled.rows], problem.labelled.y)
        found = pipeline.predict(problem.target.summary[problem.scored])
        return np.asarray(np.eye(CLASSES, dtype=np.float32)[found])

    return solve


class Lengths(BaseEstimator):  # type: ignore[misc]  # has no types
    """Kernel components K v, |v| = 1, at the lengths that they have with |X'v| = 1."""

    def fit(self, x: Floats, *_: object) -> Lengths:
        """Of X'v, v an eigenvector of K = X X': |X'v|^2 = v'Kv = |K v|."""
        self.scale_ = np.sqrt(np.linalg.norm(x, axis=0))
        return self

    def transform(self, x: Floats) -> Floats:
        """Divide."""
        return np.asarray(x / self.scale_)


def skada(name: str) -> Solve:
    """The pipeline that one would write with skada, with the package's parameters.

    The package brings rows to a length and divides costs by the largest; here the columns are
    scaled to that length, and the weights of the transport multiplied by the largest cost. Its
    transfer components have unit length as maps of the columns, skada's as weights of the rows.
    """
    import skada as peers
    from scipy.spatial.distance import cdist
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    method: Any = registry.create(name)

    def adapter(source: Floats, target: Floats) -> Any:
        match name:
            case "coral":
                # Shrinkage mixes with the mean variance: that of a column here.
                return peers.CORALAdapter(reg=method.ridge / (method.ridge + source.var()))
            case "subspace-alignment":
                return peers.SubspaceAlignmentAdapter(n_components=method.dimension)
            case "tca":
                count, mu = min(method.dimension, source.shape[1]), 1 / method.regularisation
                return peers.TransferComponentAnalysisAdapter("linear", n_components=count, mu=mu)
        largest = cdist(source, target, "sqeuclidean").max()
        return peers.ClassRegularizerOTMappingAdapter(
            reg_e=method.entropy * largest,
            reg_cl=method.group * largest,
            max_iter=method.rounds,
            max_inner_iter=method.iterations,
            tol=1e-6,
        )

    def solve(problem: Problem) -> Floats:
        both = np.concatenate([problem.source.summary, problem.target.summary])
        both = LENGTH / both.shape[1] ** 0.5 * StandardScaler().fit_transform(both.astype(float))
        source, target = both[:SOURCE], both[SOURCE:]
        domain = np.r_[np.ones(len(source), int), -2 * np.ones(len(target), int)]
        y = np.r_[problem.labelled.y, -np.ones(len(target), int)]
        last = LogisticRegression(C=method.strength, class_weight="balanced", max_iter=500)
        between = [Lengths()] if name == "tca" else []
        pipeline = peers.make_da_pipeline(adapter(source, target), *between, last)
        pipeline.fit(both, y, sample_domain=domain)
        found = pipeline.predict(target, sample_domain=domain[len(source) :])
        return np.asarray(np.eye(CLASSES, dtype=np.float32)[found])

    return solve


def plain_loop(method: Trained, problem: Problem, seed: int) -> Floats:
    """The same losses as one would train them: torch's sampling, dropout and Adam."""
    torch.manual_seed(seed)
    network = method.network(Shape.of(problem))
    source, target = (bank_of(table).values for table in (problem.source, problem.target))
    y = torch.from_numpy(np.array(problem.labelled.y))
    empty = torch.zeros(0, 0, problem.source.instants.shape[2])

    def view(values: torch.Tensor, rows: torch.Tensor) -> View:
        return View(empty, functional.dropout(values[rows], method.input_dropout))

    members = [torch.nonzero(y == label).squeeze(1) for label in range(CLASSES)]
    adam = {
        name: torch.optim.Adam(part.parameters(), method.learning_rate, fused=True)
        for name, part in network.named_children()
    }
    for step in range(method.steps):
        known = torch.cat([m[torch.randint(len(m), (method.labelled_batch,))] for m in members])
        none = View(empty, source[:0])
        batch = Batch(
            view(source, known),
            y[known],
            view(source, torch.randint(len(source), (method.source_batch,))),
            view(target, torch.randint(len(target), (method.target_batch,))),
            none,
            none,
            {},
            empty,
            step / method.steps,
        )
        for phase in method.phases():
            for _ in range(phase.repeat):
                network.zero_grad()
                getattr(method, phase.loss)(network, batch).backward()
                for name in phase.trains or adam:
                    rate = 0.5 * (1 + np.cos(np.pi * batch.progress))
                    cosine = method.decay == "cosine"
                    group = adam[name].param_groups[0]
                    group["lr"] = method.learning_rate * (rate if cosine else 1.0)
                    group["weight_decay"] = method.weight_decay if phase.penalised else 0.0
                    adam[name].step()
    with torch.no_grad():
        return np.asarray(network(View(empty, target)))


def answers(solve: Solve, problems: Sequence[Problem]) -> list[Floats]:
    """Scores of each problem."""
    return [solve(problem) for problem in problems]


def packed(method: Trained, problems: Sequence[Problem]) -> list[Floats]:
    """Scores of each problem, trained together."""
    made = train_pack([method] * len(problems), list(problems), list(range(len(problems))))
    return [one.scores for one in made]


def looped(method: Trained, problems: Sequence[Problem], seed: int) -> list[Floats]:
    """Scores of each problem, trained one by one."""
    return [plain_loop(method, problem, seed + i) for i, problem in enumerate(problems)]


def timed(work: Callable[[], Sequence[Floats]]) -> tuple[float, Sequence[Floats]]:
    """CPU seconds a trial, and what came of each."""
    started = time.process_time()
    found = work()
    return (time.process_time() - started) / len(found), found


def row(
    mine: Callable[[], Sequence[Floats]],
    peer: Callable[[], Sequence[Floats]],
    truths: Sequence[Rows],
    rounds: int,
) -> dict[str, float]:
    """Both ways in turns: median seconds a trial, ratio, mean accuracy."""
    turns = [(timed(mine), timed(peer)) for _ in range(rounds)]
    seconds = [[turn[side][0] for turn in turns] for side in (0, 1)]
    accuracy = [
        np.mean([uar(s, truth) for s, truth in zip(turns[0][side][1], truths, strict=True)])
        for side in (0, 1)
    ]
    return {
        "ours_s": float(np.median(seconds[0])),
        "peer_s": float(np.median(seconds[1])),
        "ratio": float(np.median(np.divide(seconds[1], seconds[0]))),
        "ours_uar": float(accuracy[0]),
        "peer_uar": float(accuracy[1]),
    }


def as_text(found: dict[str, dict[str, float]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| method | beside | ours, s | peer, s | peer / ours | UAR ours | UAR peer |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        digits = {"ours_s": 4, "peer_s": 4, "ratio": 2, "ours_uar": 1, "peer_uar": 1}
        cells = [f"{one[k]:.{d}f}" if k in one else "–" for k, d in digits.items()]
        lines.append("| " + " | ".join([*name.split(" / "), *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of fewer trials")
    parser.add_argument("--no-ray", action="store_true", help="leave the row of Ray Tune out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rounds, count = (1, 2) if arguments.quick else (3, 4)
    made = [planted(number) for number in range(4)]
    problems, truths = [p for p, _ in made], [t for _, t in made]
    found: dict[str, dict[str, float]] = {}
    peers: list[tuple[str, str, Solve]] = [
        ("scikit-learn", name, scikit_learn(name)) for name in ("logistic", "lda", "svm")
    ]
    if importlib.util.find_spec("skada"):
        names = ("coral", "subspace-alignment", "tca", "ot")
        peers += [("skada", name, skada(name)) for name in names]
    for library, name, peer in peers:
        solve = ours(name)
        solve(problems[0]), peer(problems[0])  # imports, and pages
        found[f"{name} / {library}"] = row(
            partial(answers, solve, problems),
            partial(answers, peer, problems),
            truths,
            rounds,
        )
        print(name, found[f"{name} / {library}"], flush=True)
    order = sorted(i % 4 for i in range(packing.BEST))
    for name in TRAINED:
        method = registry.create(name)
        train_pack([registry.create(name, {"steps": 2})] * 2, problems[:2], [0, 1])
        mine, loop = [], []
        for turn in range(rounds):
            mine.append(timed(partial(packed, method, [problems[i] for i in order])))
            loop.append(timed(partial(looped, method, problems[:count], 10 * turn)))
        accuracy = (
            np.mean([uar(s, truths[i]) for s, i in zip(mine[0][1], order, strict=True)]),
            np.mean([uar(s, truths[i]) for _, each in loop for i, s in enumerate(each)]),
        )
        found[f"{name} / PyTorch loop"] = {
            "ours_s": float(np.median([s for s, _ in mine])),
            "peer_s": float(np.median([s for s, _ in loop])),
            "ratio": float(np.median([b[0] / a[0] for a, b in zip(mine, loop, strict=True)])),
            "ours_uar": float(accuracy[0]),
            "peer_uar": float(accuracy[1]),
        }
        print(name, found[f"{name} / PyTorch loop"], flush=True)
    if not arguments.no_ray:
        method = registry.create("dann")
        pack = [problems[i] for i in order]
        started = time.perf_counter()
        train_pack([method] * len(pack), pack, list(range(len(pack))))
        each = (time.perf_counter() - started) / len(pack)
        peer_s = 1 / packing.ray_rate(method, problems[0], 2 if arguments.quick else 6)
        found["dann / a Ray Tune trial a run"] = {
            "ours_s": each,
            "peer_s": peer_s,
            "ratio": peer_s / each,
        }
    print("\n" + as_text(found) + "\n")
    print(json.dumps({n: {k: round(v, 4) for k, v in r.items()} for n, r in found.items()}))


if __name__ == "__main__":
    main()
