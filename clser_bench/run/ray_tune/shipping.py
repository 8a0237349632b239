"""How problems reach the nodes: rows and labels with the packs, features once a node or not at all.

On this machine, and on nodes that see the cache folder under the same path, a feature table is
opened where it lies. Where a node does not, all tables go through Ray's object store, which keeps
one copy a node and maps it into every worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from clser_bench.problem import Job, Problem, Table, Value
from clser_bench.run.packs import Pack

_EMPTY = Table("", np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32))


class Sent(NamedTuple):
    """A job as it travels: many points of many methods share a problem, which is sent once."""

    id: str
    method: str
    parameters: tuple[tuple[str, Value], ...]
    problem: int
    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Cargo:
    """What workers are given.

    Attributes:
        packs: jobs of each pack.
        problems: references to problems; without features where `tables` has them.
        sides: keys of source and target table of each problem; empty where nothing is shipped.
        tables: references to (instants, summary) by key.
    """

    packs: Sequence[Sequence[Sent]]
    problems: Sequence[Any]
    sides: Sequence[tuple[str, str]]
    tables: Mapping[str, Any]


def load(packs: Sequence[Pack], *, cluster: bool) -> Cargo:
    """Put what packs need where workers find it.

    Args:
        packs: all packs.
        cluster: whether there may be nodes that do not see this machine's files.
    """
    sent, problems = _parted(packs)
    tables = {side.key: side for p in problems for side in (p.source, p.target)}
    ships = cluster and not _everywhere([table.folder for table in tables.values()])
    if not ships:
        return Cargo(packs=sent, problems=[ray.put(p) for p in problems], sides=(), tables={})
    return Cargo(
        packs=sent,
        problems=[ray.put(dataclasses.replace(p, source=_EMPTY, target=_EMPTY)) for p in problems],
        sides=[(p.source.key, p.target.key) for p in problems],
        tables={
            key: ray.put((np.asarray(table.instants), np.asarray(table.summary)))
            for key, table in tables.items()
        },
    )


class Unloader:
    """Gives the jobs of a pack, in a worker; each problem and table is taken up once.

    Args:
        cargo: as `load` made it.
    """

    def __init__(self, cargo: Cargo) -> None:
        self._cargo = cargo
        self._problems: dict[int, Problem] = {}
        self._tables: dict[str, Table] = {}

    def jobs(self, pack: int) -> list[Job]:
        """The jobs of a pack by its number."""
        return [
            Job(
                id=sent.id,
                method=sent.method,
                parameters=sent.parameters,
                problem=self._problem(sent.problem),
                seed=sent.seed,
            )
            for sent in self._cargo.packs[pack]
        ]

    def _problem(self, number: int) -> Problem:
        if number not in self._problems:
            problem: Problem = ray.get(self._cargo.problems[number])
            if self._cargo.sides:
                source, target = self._cargo.sides[number]
                problem = dataclasses.replace(
                    problem, source=self._table(source), target=self._table(target)
                )
            self._problems[number] = problem
        return self._problems[number]

    def _table(self, key: str) -> Table:
        if key not in self._tables:
            instants, summary = ray.get(self._cargo.tables[key])
            self._tables[key] = Table(key, instants, summary)
        return self._tables[key]


def _parted(packs: Sequence[Pack]) -> tuple[list[list[Sent]], list[Problem]]:
    """Jobs without their problems, and each problem once."""
    numbers: dict[int, int] = {}
    problems: list[Problem] = []
    sent = []
    for pack in packs:
        members = []
        for job in pack.jobs:
            if id(job.problem) not in numbers:
                numbers[id(job.problem)] = len(problems)
                problems.append(job.problem)
            number = numbers[id(job.problem)]
            members.append(Sent(job.id, job.method, job.parameters, number, job.seed))
        sent.append(members)
    return sent, problems


def _everywhere(folders: Sequence[Path | None]) -> bool:
    """Whether every node sees these folders; False where a table has none."""
    named = [folder for folder in folders if folder is not None]
    if len(named) < len(folders):
        return False
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    asked = [
        ray.remote(_sees)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        .remote(named)
        for node in nodes
    ]
    return all(ray.get(asked))


def _sees(folders: Sequence[Path]) -> bool:
    return all((folder / "summary.npy").is_file() for folder in folders)
