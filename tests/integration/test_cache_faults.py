"""The cache checks itself: damage is found on opening; a read-only cache is only read."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.audio import Audio, content_hash
from clser_bench.features import cache as stored
from clser_bench.features.extract import ExtractionError, extract_tables, feature_table
from clser_bench.features.normalise import normalised
from clser_bench.features.sets import feature_set
from clser_bench.hashing import digest
from clser_bench.problem import open_table
from tests.signals import RATE, Events, read_tones, voice, write_tones


@pytest.fixture
def corpus(tmp_path: Path):
    return read_tones(write_tones(tmp_path / "tones", (100, 150, 200, 250)), tmp_path / "index")


@pytest.fixture(autouse=True)
def _fresh_process():
    """A process checks a table once: each test is a new one."""
    open_table.cache_clear()
    stored.writable.cache_clear()
    yield
    open_table.cache_clear()
    stored.writable.cache_clear()


@pytest.mark.parametrize("name", ["summary.npy", "instants.npy"])
@pytest.mark.parametrize("kind", ["flip", "zeros"])
def test_damage_of_a_table_is_found_said_and_mended(corpus, tmp_path, caplog, name, kind):
    table = feature_table(corpus, "minimal", cache=tmp_path, workers=1)
    scored = normalised(table, how="corpus", speakers=corpus.speakers, cache=tmp_path)
    wanted = [np.array(getattr(one, name[:-4])) for one in (table, scored)]
    for one in (table, scored):
        path = one.folder / name
        content = bytearray(path.read_bytes())
        if kind == "flip":
            content[-100] ^= 1
        else:
            content[256:512] = bytes(256)
        path.write_bytes(content)
    open_table.cache_clear()
    with caplog.at_level(logging.WARNING):
        again = feature_table(corpus, "minimal", cache=tmp_path, workers=1)
        rescored = normalised(again, how="corpus", speakers=corpus.speakers, cache=tmp_path)
    assert caplog.text.count("the checksum does not fit) and is made again") == 2
    for one, values in zip((again, rescored), wanted, strict=True):
        assert getattr(one, name[:-4]).tobytes() == values.tobytes()


def test_a_table_without_checksums_is_made_again(corpus, tmp_path, caplog):
    table = feature_table(corpus, "minimal", cache=tmp_path, workers=1)
    (table.folder / "sha256.json").unlink()
    open_table.cache_clear()
    feature_table(corpus, "minimal", cache=tmp_path, workers=1)
    assert "its checksums cannot be read" in caplog.text
    assert (table.folder / "sha256.json").exists()


def test_a_cache_that_cannot_be_written_is_said_once_and_done_without(
    corpus, tmp_path, caplog, monkeypatch
):
    cache = tmp_path / "cache"
    kept = feature_table(corpus, "minimal", cache=cache, workers=1)
    before = sorted(path for path in cache.rglob("*") if "lock" not in path.name)
    open_table.cache_clear()
    stored.writable.cache_clear()

    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(stored.tempfile, "TemporaryFile", refuse)
    progress = Events()
    warm = feature_table(corpus, "minimal", cache=cache, progress=progress)
    assert (warm.folder, progress.totals) == (kept.folder, [])
    mel = feature_table(corpus, "mel", cache=cache, workers=1)
    feature_table(corpus, "mfcc", cache=cache, workers=1)
    assert cache not in mel.folder.parents
    assert mel.summary.shape == (4, 52)
    assert caplog.text.count("cannot be written (Permission denied)") == 1
    assert sorted(path for path in cache.rglob("*") if "lock" not in path.name) == before


def test_files_have_the_permissions_of_the_umask(corpus, tmp_path):
    before = os.umask(0o002)
    try:
        feature_table(corpus, "minimal", cache=tmp_path / "cache", workers=1)
    finally:
        os.umask(before)
    for path in (tmp_path / "cache").rglob("*"):
        if path.parent.name not in ("audio", "locks"):
            assert path.stat().st_mode & 0o777 == (0o775 if path.is_dir() else 0o664), path


def loud(corpus, *numbers: int):
    """Make some recordings unusable after their corpus was read."""
    utterances = list(corpus.utterances)
    for number in numbers:
        path = utterances[number].path
        soundfile.write(path, 1e20 * voice(100, 0.1), RATE, subtype="FLOAT")
        utterances[number] = dataclasses.replace(utterances[number], content=digest(number))
    return dataclasses.replace(corpus, utterances=tuple(utterances))


@pytest.mark.filterwarnings("error")
def test_bad_files_are_all_named_and_can_be_left_out(corpus, tmp_path):
    whole = feature_table(corpus, "minimal", cache=tmp_path / "other", workers=1)
    bad = loud(corpus, 1, 3)
    with pytest.raises(ExtractionError, match="features of 2 files cannot be extracted") as caught:
        feature_table(bad, "minimal", cache=tmp_path, workers=1)
    names = {bad.utterances[number].name for number in (1, 3)}
    assert {item.name for item in caught.value.bad} == names
    assert all("full scale is 1" in item.reason for item in caught.value.bad)
    progress = Events()
    extracted = extract_tables(
        bad,
        (feature_set("minimal"), feature_set("mel")),
        cache=tmp_path,
        skip_bad=True,
        workers=1,
        progress=progress,
    )
    assert {item.name for item in extracted.corpus.skipped} == names
    assert [len(table) for table in extracted.tables] == [2, 2]
    assert extracted.tables[0].summary.tobytes() == whole.summary[[0, 2]].tobytes()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_recording_that_kills_opensmile_is_named(tmp_path, monkeypatch, workers):
    pytest.importorskip("opensmile")
    corpus = read_tones(write_tones(tmp_path / "x", (100, 150, 200), seconds=0.5), tmp_path / "i")
    # 10 Hz corrupts openSMILE's heap.
    utterances = list(corpus.utterances)
    path = utterances[1].path
    content = bytearray(path.read_bytes())
    content[24:28] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    samples, rate = soundfile.read(path, dtype="float32")
    content = content_hash(Audio(samples, rate))
    utterances[1] = dataclasses.replace(utterances[1], content=content)
    corpus = dataclasses.replace(corpus, utterances=tuple(utterances))
    extracted = extract_tables(
        corpus, (feature_set("egemaps"),), cache=tmp_path, skip_bad=True, workers=workers
    )
    (skipped,) = extracted.corpus.skipped
    assert skipped.name == utterances[1].name
    assert len(extracted.tables[0]) == 2
