import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.model import Corpus
from clser_bench.errors import FeatureError
from clser_bench.features import acoustic
from clser_bench.features.columns import INSTANTS
from clser_bench.features.extract import ExtractionError, feature_table, own_device, run_tasks
from clser_bench.features.sets import feature_set
from tests import signals
from tests.signals import RATE, Events, read_tones, voice, write_tones
from tests.tiny import alive, until

PITCH = feature_set("acoustic").summary.index("mean_pitch")
TONES = tuple(90 + 4.0 * number for number in range(100))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("corpus"), TONES)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache filled by an extraction that nobody disturbed, in one process."""
    cache = tmp_path_factory.mktemp("whole")
    signals.main(str(folder), str(cache), "1")
    return cache


def stored(cache: Path, kind: str) -> dict[str, bytes]:
    """Every finished file of a kind, with its bytes."""
    pattern = "*.safetensors" if kind == "shards" else "*"
    files = (path for path in (cache / kind).rglob(pattern) if path.is_file())
    names = {path.relative_to(cache).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if "/.part-" not in name}


def same(cache: Path, whole: Path) -> None:
    for kind in ("shards", "tables"):
        assert stored(cache, kind) == stored(whole, kind)


def extract(corpus: Corpus, cache: Path, workers: int = 1) -> Events:
    """Extract the acoustic features of a corpus and return the progress of it."""
    progress = Events()
    feature_table(corpus, "acoustic", cache=cache, workers=workers, progress=progress)
    return progress


def start(folder: Path, cache: Path, *, hold: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.signals", str(folder), str(cache), "1", str(hold)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(signals.__file__).parents[1],
    )


def test_rows_are_aligned_with_utterances(folder: Path, whole: Path):
    corpus = read_tones(folder, whole)
    table = feature_table(corpus, "acoustic", cache=whole, workers=1)
    assert table.instants.shape == (100, INSTANTS, len(feature_set("acoustic").instants))
    planted = [TONES[int(utterance.text)] for utterance in corpus.utterances]
    np.testing.assert_allclose(160 * 2 ** table.summary[:, PITCH], planted, rtol=0.01)
    names = [utterance.name for utterance in corpus.utterances]
    assert names != sorted(names)


def test_workers_do_not_change_a_byte(folder: Path, whole: Path, own_cache: Path):
    progress = extract(read_tones(folder, own_cache), own_cache, workers=2)
    assert (progress.totals, progress.steps) == ([100], 100)
    same(own_cache, whole)


def test_who_waits_for_another_that_is_killed_goes_on_where_it_was(
    folder: Path, whole: Path, own_cache: Path
):
    first = start(folder, own_cache, hold=3)
    assert first.stdout is not None
    assert first.stdout.readline() == "holding\n"
    left = stored(own_cache, "shards")
    assert len(left) == 2
    assert list((own_cache / "shards").rglob(".part-*"))
    assert left.items() <= stored(whole, "shards").items()
    stamps = {name: (own_cache / name).stat().st_mtime_ns for name in left}

    class Waiting(Events):
        def start(self, what: str, total: int) -> None:
            super().start(what, total)
            if "waiting for another process" in what:
                first.kill()

    progress = Waiting()
    corpus = read_tones(folder, own_cache)
    feature_table(corpus, "acoustic", cache=own_cache, workers=1, progress=progress)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert 0 < progress.steps < 100
    assert {name: (own_cache / name).stat().st_mtime_ns for name in left} == stamps
    same(own_cache, whole)


def test_two_processes_at_once_do_nothing_twice(folder: Path, whole: Path, own_cache: Path):
    processes = [start(folder, own_cache) for _ in range(2)]
    lines = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(line.removeprefix("extracted ")) for line in lines) == 100
    same(own_cache, whole)


def test_a_damaged_shard_is_extracted_again(folder: Path, whole: Path, own_cache: Path, caplog):
    shutil.copytree(whole / "shards", own_cache / "shards")
    broken = own_cache / min(stored(whole, "shards"))
    broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    progress = extract(read_tones(folder, own_cache), own_cache)
    assert f"{broken} is damaged" in caplog.text
    assert 0 < progress.steps < 100
    same(own_cache, whole)


def test_one_more_file_changes_one_shard(own_cache: Path):
    for count in (96, 97):
        folder = write_tones(own_cache / "x", TONES[:count], seconds=0.04)
        before = set(stored(own_cache, "shards"))
        progress = extract(read_tones(folder, own_cache), own_cache)
    assert len(set(stored(own_cache, "shards")) - before) == 1
    assert progress.totals[0] < 97


def test_a_file_that_changed_since_the_corpus_was_read_or_is_gone(own_cache: Path):
    corpus = read_tones(write_tones(own_cache / "x", (100, 200)), own_cache)
    path = corpus.utterances[0].path
    soundfile.write(path, voice(333, 0.1), RATE)
    with pytest.raises(FeatureError, match=f"{path}.* changed since the corpus was read"):
        extract(corpus, own_cache)
    path.unlink()
    with pytest.raises(ExtractionError, match="cannot be read"):
        extract(corpus, own_cache)


def test_values_that_are_not_finite_and_no_utterances_make_no_table(own_cache: Path, monkeypatch):
    corpus = read_tones(write_tones(own_cache / "x", (100, 200)), own_cache)
    monkeypatch.setattr(acoustic, "summarise", lambda *_: np.full(189, np.nan, np.float32))
    with pytest.raises(FeatureError, match="not finite in mean_mel01") as caught:
        extract(corpus, own_cache)
    assert str(corpus.utterances[0].path) in str(caught.value)
    with pytest.raises(FeatureError, match="corpus X has no utterances"):
        extract(dataclasses.replace(corpus, utterances=()), own_cache)
    assert not any((own_cache / "tables").iterdir())


WORKERS = """
import os, sys, time
from pathlib import Path
from clser_bench.features.extract import run_tasks

def work(path):
    Path(f"{path}.began").write_text(str(os.getpid()))
    time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 1)
    Path(f"{path}.ended").write_text("")

if __name__ == "__main__":
    tasks = [os.path.join(sys.argv[1], str(number)) for number in range(200)]
    for _ in run_tasks(work, tasks, workers=2):
        pass
"""


def run_workers(folder: Path, seconds: str) -> subprocess.Popen[bytes]:
    (folder / "script.py").write_text(WORKERS)
    command = [sys.executable, str(folder / "script.py"), str(folder), seconds]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    # Both at work: one that is still starting dies of Ctrl-C, and takes the other along.
    until(lambda: len({path.read_text() for path in folder.glob("*.began")} - {""}) == 2)
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_when_the_parent_is_killed(tmp_path: Path):
    process = run_workers(tmp_path, "60")
    pids = [int(path.read_text()) for path in tmp_path.glob("*.began")]
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, pids)))


def test_ctrl_c_ends_what_has_begun_and_begins_nothing_more(tmp_path: Path):
    process = run_workers(tmp_path, "0.5")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) != 0
    began, ended = (len(list(tmp_path.glob(f"*.{what}"))) for what in ("began", "ended"))
    assert began == ended < 200


def test_a_worker_that_dies_is_an_error():
    with pytest.raises(FeatureError, match="died unexpectedly"):
        list(run_tasks(os._exit, [3, 3], workers=2))


def test_each_process_has_a_device_of_its_own():
    found = set(run_tasks(claim, range(6), workers=2, devices=("cuda:0", "cuda:1")))
    processes, devices = zip(*found, strict=True)
    assert len(found) == len(set(processes)) == len(set(devices))


def claim(_: int) -> tuple[int, str]:
    """The process and its device; slow enough for the other worker to come in."""
    time.sleep(0.2)
    return os.getpid(), own_device()
