"""Small problems made of random numbers, for tests of methods and of the engine."""

from __future__ import annotations

import numpy as np

from clser_bench.hashing import generator
from clser_bench.problem import Labelled, Problem, Table


def random_table(name: str, *, n: int, t: int = 4, d: int = 3, f: int = 5, c: int = 3) -> Table:
    """A table whose rows lie around class centres shared by all tables; row i has class i % c."""
    centres = generator("centres", c, d, f).standard_normal((c, d + f))
    rng = generator("table", name)
    label = np.arange(n) % c
    instants = centres[label, None, :d] + rng.standard_normal((n, t, d))
    summary = centres[label, d:] + rng.standard_normal((n, f))
    return Table(name, instants.astype(np.float32), summary.astype(np.float32))


def random_problem(
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
    source = random_table(f"{name} source", n=n_source, t=t, d=d, f=f, c=c)
    target = random_table(f"{name} target", n=n_target, t=t, d=d, f=f, c=c)
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
