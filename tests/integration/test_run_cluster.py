"""A run on a Ray cluster of several nodes: one dies, and nothing is lost."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from clser_bench.errors import SpecError
from clser_bench.problem import Problem
from clser_bench.run import schedule
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from tests.tiny import stored, table_text, write_corpora, write_method

SEEDS = 40


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    """Eight packs of ten trials, some two seconds each."""
    write_method(tmp_path / "methods", "slow", body="import time; time.sleep(0.2)")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
    return Request(
        manifests=(write_corpora(tmp_path / "corpora", codes="XY"),),
        methods=("slow", "source-only"),
        shots=(1,),
        seeds=SEEDS,
        settings={"source-only": {"steps": 3}},
        results=tmp_path / "cluster.sqlite",
    )


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and two nodes, one core each."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING"):
        monkeypatch.setenv(name, "0")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        yield made, [made.add_node(**small) for _ in range(2)]
    finally:
        made.shutdown()


def local(asked: Request, folder: Path) -> Request:
    return asked.replace(
        results=folder / "local.sqlite", scheduler="local", ray_address="", workers=1
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own files and processes
def test_a_node_dies_and_the_table_is_the_same(
    asked: Request, cluster: Any, tmp_path: Path
) -> None:
    made, nodes = cluster
    asked = asked.replace(ray_address=made.address)
    killed: list[int] = []

    def kill() -> None:
        while not asked.results.exists():
            time.sleep(0.1)
        while True:
            done = len(stored(asked.results, "slow"))
            if done >= 10:
                killed.append(done)
                made.remove_node(nodes[0], allow_graceful=False)
                return
            time.sleep(0.2)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    summary = run(asked)
    killer.join(timeout=300)
    assert killed
    assert killed[0] < 2 * SEEDS  # it died in the middle
    assert (summary.ok, summary.failed) == (4 * SEEDS, 0)
    plain = local(asked, tmp_path)
    run(plain)
    assert table_text(asked.results) == table_text(plain.results)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_features_travel_where_a_node_does_not_see_the_cache(
    asked: Request, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = cluster
    whole = schedule.task

    def without_folders(*arguments: Any, problems: Sequence[Problem], **more: Any) -> schedule.Task:
        def bare(side: Any) -> Any:
            return dataclasses.replace(side.stored, folder=None).in_order(side.seed)

        sides = [{"source": bare(p.source), "target": bare(p.target)} for p in problems]
        made = [dataclasses.replace(p, **own) for p, own in zip(problems, sides, strict=True)]
        return whole(*arguments, problems=made, **more)

    monkeypatch.setattr(schedule, "task", without_folders)
    asked = asked.replace(ray_address=made.address, methods=("source-only",), seeds=10)
    summary = run(asked)
    assert (summary.ok, summary.failed) == (20, 0)
    plain = local(asked, tmp_path)
    run(plain)
    assert table_text(asked.results) == table_text(plain.results)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"127\.0\.0\.1:1: no Ray cluster can be joined there"),
        ("ray://head:10001", r"ray://head:10001: write HOST:PORT"),
        ("head", r"head: write HOST:PORT"),
    ],
)
def test_no_cluster_there(asked: Request, address: str, said: str) -> None:
    config = asked.replace(ray_address=address, methods=("source-only",), settings={}, seeds=2)
    with pytest.raises(SpecError, match=rf"--ray-address {said}"):
        run(config)


def test_no_gpu_there(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=r"--gpus-per-pack 0\.25: torch finds no GPU"):
        asked.replace(gpus_per_pack=0.25).slots(3)
    assert asked.means.device == "cpu"
