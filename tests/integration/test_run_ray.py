"""A run by Ray Tune: the same numbers, whatever happens in a worker, and nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clser_bench.protocol import Pair
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from tests.tiny import scores, stored, write_corpora, write_method


def test_a_full_disk_of_ray_is_said_in_words() -> None:
    from clser_bench.run import tune  # imports ray

    with pytest.raises(tune.RefusedError, match="the disk is full; make room"), tune._room():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), tune._room():
        raise OSError(errno.EACCES, "another fault")


def test_ray_gives_the_same_scores_and_keeps_the_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    methods = tmp_path / "methods"
    write_method(methods, "near")
    write_method(methods, "raising", body="raise RuntimeError('as asked')")
    write_method(methods, "dying", body="os._exit(3)")
    home, place = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    place.mkdir()
    monkeypatch.setenv("CLSER_METHODS", str(methods))
    asked = Request(
        manifests=(manifest,),
        methods=("near", "source-only"),
        shots=(1,),
        seeds=2,
        settings={"source-only": {"steps": 3}},
        results=tmp_path / "local.sqlite",
        scheduler="local",
        workers=1,
    )
    run(asked)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "clser_bench.cli.main", "run", "--manifest", str(manifest)),
            *("--methods", "near,source-only,raising,dying", "--shots", "1", "--seeds", "2"),
            *("--set", "source-only.steps=3", "--scheduler", "ray", "--workers", "2"),
            *("--results", str(tmp_path / "ray.sqlite"), "--format", "csv"),
        ],
        env={**os.environ, "HOME": str(home)},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("suite,")
    said = done.stderr.splitlines()
    assert said[-1].endswith("8 failed (see `clser-bench status`).")
    assert len(said) == 3, done.stderr
    assert not list(home.iterdir())
    assert not list(place.iterdir())
    expected = scores(asked.results)
    found = {r.trial.id: r for r in stored(tmp_path / "ray.sqlite")}
    assert {key: found[key].scores.tobytes() for key in expected} == expected
    reasons = {r.trial.method: r.reason for r in found.values() if r.status == "failed"}
    assert "RuntimeError: as asked" in reasons["raising"]
    assert "the process of this trial died: exit code 3" in reasons["dying"]
    assert Pair("X", "Y") in {r.trial.pair for r in found.values()}


@pytest.mark.slow
def test_two_runs_by_ray_in_one_process(tmp_path: Path) -> None:
    """Ray keeps the first token that a process reads; a second run must not bring another."""
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    for seeds in (5, 10):
        summary = run(
            Request(
                manifests=(manifest,),
                methods=("chance",),
                shots=(1,),
                seeds=seeds,
                results=tmp_path / "ray.sqlite",
                workers=2,
            )
        )
        assert (summary.ok, summary.failed) == (2 * seeds, 0)


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"\x10" + bytes(7) + b"part"])
def test_a_driver_that_is_killed_before_it_has_asked_leaves_no_traceback(said: bytes) -> None:
    command = [sys.executable, "-P", "-m", "clser_bench.run.tune"]
    done = subprocess.run(command, input=said, capture_output=True, timeout=900, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")
