"""Logistic regressions of many small problems at once, beside scikit-learn's one by one.

    python benchmarks/batched_logistic.py

Random problems of the sizes of `minimal`: 40 and 113 columns, 30 to 1,000 labelled rows, six
classes, planted means. The batch minimises the same loss (multinomial, L2, balanced weights) by
L-BFGS for all problems together, each step found by halving, until the largest part of each
gradient is below scikit-learn's tolerance; 500 rows a problem are scored. CPU seconds a problem,
medians of rounds in turns; the largest difference of a log-probability, and the share of equal
decisions.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from clser_bench.hashing import generator
from clser_bench.shallow.classifiers import ITERATIONS, STRENGTH, logistic_scores

Reals = npt.NDArray[np.float64]

CLASSES, PROBLEMS, TARGET, ROUNDS = 6, 60, 500, 5
MEMORY, TOLERANCE = 10, 1e-4  # scikit-learn's


def together(x: Reals, y: npt.NDArray[np.int64]) -> Reals:
    """Coefficients [k, f + 1, c] of k problems with x [k, m, f] and y [k, m]; offsets last."""
    k, m, _ = x.shape
    x = np.concatenate([x, np.ones((k, m, 1))], axis=2)
    wanted = np.eye(CLASSES)[y]
    totals = wanted.sum(axis=1)
    weights = np.take_along_axis(m / (CLASSES * totals), y, axis=1)[:, :, None]
    weights /= weights.sum(axis=1, keepdims=True)
    penalty = np.full((1, x.shape[2], 1), 1 / (STRENGTH * m))
    penalty[:, -1] = 0.0
    turned = x.transpose(0, 2, 1)

    def loss(w: Reals, of: Reals | slice = slice(None)) -> tuple[Reals, Reals]:
        found = log_softmax(x[of] @ w, axis=2)
        value = -(weights[of] * wanted[of] * found).sum(axis=(1, 2))
        gradient = turned[of] @ (weights[of] * (np.exp(found) - wanted[of])) + penalty * w
        return value + (penalty * w * w).sum(axis=(1, 2)) / 2, gradient

    w = np.zeros((k, x.shape[2], CLASSES))
    value, gradient = loss(w)
    moves: list[tuple[Reals, Reals, Reals]] = []
    for _ in range(ITERATIONS):
        moving = np.abs(gradient).max(axis=(1, 2)) > TOLERANCE
        if not moving.any():
            break
        step, shares = gradient.copy(), []
        for s, g, scale in reversed(moves):
            share = scale * (s * step).sum(axis=(1, 2), keepdims=True)
            step -= share * g
            shares.append(share)
        if moves:
            s, g, _ = moves[-1]
            step *= (s * g).sum(axis=(1, 2), keepdims=True) / np.maximum(
                (g * g).sum(axis=(1, 2), keepdims=True), 1e-300
            )
        for (s, g, scale), share in zip(moves, reversed(shares), strict=True):
            step += s * (share - scale * (g * step).sum(axis=(1, 2), keepdims=True))
        length = np.where(moving, 1.0, 0.0)[:, None, None]
        slope = (step * gradient).sum(axis=(1, 2))
        for _ in range(30):
            tried = w - length * step
            at, there = loss(tried)
            worse = at > value - 1e-4 * length[:, 0, 0] * slope + 1e-12
            if not worse.any():
                break
            length = np.where(worse[:, None, None], length / 2, length)
        change, turn = tried - w, there - gradient
        dot = (change * turn).sum(axis=(1, 2), keepdims=True)
        scale = np.divide(1.0, dot, out=np.zeros_like(dot), where=dot > 1e-300)
        moves = [*moves[-MEMORY + 1 :], (change, turn, scale)]
        w, value, gradient = tried, at, there
    return w


def main() -> None:
    """Measure and print a table."""
    names = "columns", "rows", "scikit-learn, ms", "batch, ms", "ratio", "difference", "decisions"
    print("|", " | ".join(names), "|")
    print("|---" * len(names) + "|")
    for columns, rows in ((40, 30), (40, 300), (40, 1000), (113, 30), (113, 300), (113, 1000)):
        rng = generator("batched logistic", columns, rows)
        y = np.tile(np.arange(rows) % CLASSES, (PROBLEMS, 1))
        means = 0.3 * rng.standard_normal((PROBLEMS, CLASSES, columns))
        x = np.take_along_axis(means, y[:, :, None], axis=1)
        x = x + rng.standard_normal((PROBLEMS, rows, columns))
        target = rng.standard_normal((PROBLEMS, TARGET, columns))
        seconds: dict[str, list[float]] = {"alone": [], "batch": []}
        for _ in range(ROUNDS):
            start = time.process_time()
            alone = np.stack(
                [logistic_scores(*of, classes=CLASSES) for of in zip(x, y, target, strict=True)]
            )
            between = time.process_time()
            w = together(x, y)
            batch = log_softmax(target @ w[:, :-1] + w[:, -1:], axis=2)
            seconds["alone"].append(between - start)
            seconds["batch"].append(time.process_time() - between)
        one, all_ = (1000 * statistics.median(found) / PROBLEMS for found in seconds.values())
        gap = np.abs(alone - batch).max()
        same = (alone.argmax(axis=2) == batch.argmax(axis=2)).mean()
        cells = columns, rows, f"{one:.2f}", f"{all_:.2f}", f"{one / all_:.2f}", f"{gap:.1e}"
        print("|", " | ".join(map(str, cells)), f"| {100 * same:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
