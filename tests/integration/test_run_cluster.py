"""Runs by Ray, alone and on a cluster: the same numbers whatever happens in a worker or a node."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from clser_bench.errors import SpecError
from clser_bench.problem import Problem
from clser_bench.protocol import Pair
from clser_bench.run import schedule
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from tests.tiny import scores, stored, table_text, until

SEEDS = 40
SHORT = {"source-only": {"steps": 3}}


@pytest.fixture
def usual():
    """Eight packs of ten trials, some two seconds each."""
    by_ray = {"scheduler": "ray", "workers": None, "seeds": SEEDS, "settings": SHORT}
    return {"methods": ("slow", "source-only"), "pairs": (Pair("X", "Y"), Pair("Y", "X")), **by_ray}


@pytest.fixture
def cluster(monkeypatch):
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


def same_in_this_process(asked: Request) -> None:
    here = asked.replace(scheduler="local", ray_address="", workers=1)
    here = here.replace(results=asked.results.with_name("local.sqlite"))
    run(here)
    assert table_text(asked.results) == table_text(here.results)


def test_a_full_disk_of_ray_is_said_in_words():
    from clser_bench.run import tune  # imports ray

    with pytest.raises(tune.RefusedError, match="the disk is full; make room"), tune._room():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), tune._room():
        raise OSError(errno.EACCES, "another fault")


def test_ray_gives_the_same_scores_and_keeps_the_failures(config, places, tmp_path):
    asked = config(methods=("near", "source-only"), seeds=1, scheduler="local", workers=1)
    run(asked)
    home, here = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    here.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "clser_bench.cli.main", "run", "--manifest", str(places)),
            *("--methods", "near,source-only,bad,dying", "--shots", "1", "--seeds", "1"),
            *("--pairs", "X->Y,Y->X"),
            *("--set", "source-only.steps=3", "--scheduler", "ray", "--workers", "2"),
            *("--results", str(tmp_path / "ray.sqlite"), "--format", "csv"),
        ],
        env={**os.environ, "HOME": str(home)},
        cwd=here,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("suite,")
    said = done.stderr.splitlines()
    assert said[-1].endswith("4 failed (see `clser-bench status`).")
    assert len(said) == 3, done.stderr
    assert not [*home.iterdir(), *here.iterdir()]
    found = {r.trial.id: r for r in stored(tmp_path / "ray.sqlite")}
    expected = scores(asked.results)
    assert len(expected) == 4
    assert {key: found[key].scores.tobytes() for key in expected} == expected
    reasons = {r.trial.method: r.reason for r in found.values() if r.status == "failed"}
    assert "RuntimeError: as asked" in reasons["bad"]
    assert "the process of this trial died: exit code 3" in reasons["dying"]


@pytest.mark.slow
def test_two_runs_by_ray_in_one_process(config):
    """Ray keeps the first token that a process reads; a second run must not bring another."""
    for seeds in (5, 10):
        summary = run(config(methods=("chance",), seeds=seeds, settings={}, workers=2))
        assert (summary.ok, summary.failed) == (2 * seeds, 0)


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"\x10" + bytes(7) + b"part"])
def test_a_driver_that_is_killed_before_it_has_asked_leaves_no_traceback(said):
    command = [sys.executable, "-P", "-m", "clser_bench.run.tune"]
    done = subprocess.run(command, input=said, capture_output=True, timeout=900, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own files and processes
def test_a_node_dies_and_the_table_is_the_same(config, cluster):
    made, nodes = cluster
    asked = config(ray_address=made.address)
    killed: list[int] = []

    def kill() -> None:
        until(asked.results.exists)
        until(lambda: len(stored(asked.results, "slow")) >= 10)
        killed.append(len(stored(asked.results, "slow")))
        made.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    summary = run(asked)
    killer.join(timeout=300)
    assert killed
    assert killed[0] < 2 * SEEDS  # it died in the middle
    assert (summary.ok, summary.failed) == (4 * SEEDS, 0)
    same_in_this_process(asked)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_features_travel_where_a_node_does_not_see_the_cache(config, cluster, monkeypatch):
    made, _ = cluster
    whole = schedule.task

    def without_folders(*arguments: Any, problems: Sequence[Problem], **more: Any) -> schedule.Task:
        def bare(side: Any) -> Any:
            return dataclasses.replace(side.stored, folder=None).in_order(side.seed)

        own = [
            dataclasses.replace(p, source=bare(p.source), target=bare(p.target)) for p in problems
        ]
        return whole(*arguments, problems=own, **more)

    monkeypatch.setattr(schedule, "task", without_folders)
    asked = config(ray_address=made.address, methods=("source-only",), seeds=10)
    summary = run(asked)
    assert (summary.ok, summary.failed) == (20, 0)
    same_in_this_process(asked)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"127\.0\.0\.1:1: no Ray cluster can be joined there"),
        ("ray://head:10001", r"ray://head:10001: write HOST:PORT"),
        ("head", r"head: write HOST:PORT"),
    ],
)
def test_no_cluster_there(config, address, said):
    asked = config(ray_address=address, methods=("source-only",), settings={}, seeds=2)
    with pytest.raises(SpecError, match=rf"--ray-address {said}"):
        run(asked)


def test_no_gpu_there(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=r"--gpus-per-pack 0\.25: torch finds no GPU"):
        config(gpus_per_pack=0.25).slots(3)
    assert config().means.device == "cpu"
