"""Damage of the cache is found on opening; a read-only cache is only read; bad files are named."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest
import soundfile

from clser_bench.corpora.audio import Audio, content_hash
from clser_bench.features import cache as stored
from clser_bench.features.extract import ExtractionError, extract_tables, feature_table
from clser_bench.features.normalise import normalised
from clser_bench.features.sets import feature_set
from clser_bench.hashing import digest
from clser_bench.problem import Table, open_table
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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("summary.npy", "flip"),
        ("instants.npy", "zeros"),
        ("summary.npy", "cut"),
        ("sha256.json", "absent"),
    ],
)
def test_a_damaged_table_is_named_and_made_again(corpus, tmp_path, caplog, name, kind):
    def make() -> list[Table]:
        open_table.cache_clear()
        table = feature_table(corpus, "minimal", cache=tmp_path, workers=1)
        speakers = corpus.speakers
        return [table, normalised(table, how="corpus", speakers=speakers, cache=tmp_path)]

    tables = make()
    wanted = [(one.instants.tobytes(), one.summary.tobytes()) for one in tables]
    for folder in (one.folder for one in tables):
        assert folder is not None
        content = bytearray((folder / name).read_bytes())
        if kind == "flip":
            content[-100] ^= 1
        elif kind == "zeros":
            content[256:512] = bytes(256)
        elif kind == "cut":
            del content[150:]
        (folder / name).write_bytes(content)
        if kind == "absent":
            (folder / name).unlink()
    again = make()
    make()  # what was made again is whole
    fault = "its checksums cannot be read" if kind == "absent" else "the checksum does not fit"
    assert [record.message.count(fault) for record in caplog.records] == [1, 1]
    assert caplog.text.count(" and is made again") == 2
    assert [(one.instants.tobytes(), one.summary.tobytes()) for one in again] == wanted


def test_a_cache_that_cannot_be_written_is_named_once_and_only_read(
    corpus, tmp_path, caplog, monkeypatch
):
    def files() -> list[Path]:
        return sorted(path for path in cache.rglob("*") if "lock" not in path.name)

    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    cache = tmp_path / "cache"
    first = feature_table(corpus, "minimal", cache=cache, workers=1)
    before = files()
    open_table.cache_clear()
    stored.writable.cache_clear()
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    progress = Events()
    warm = feature_table(corpus, "minimal", cache=cache, progress=progress)
    assert (warm.folder, progress.totals) == (first.folder, [])
    mel = feature_table(corpus, "mel", cache=cache, workers=1)
    feature_table(corpus, "mfcc", cache=cache, workers=1)
    assert mel.folder is not None
    assert cache not in mel.folder.parents
    assert mel.summary.shape == (4, 52)
    assert caplog.text.count("cannot be written (Permission denied)") == 1
    assert files() == before


def test_files_have_the_permissions_of_the_umask(corpus, tmp_path):
    before = os.umask(0o002)
    try:
        feature_table(corpus, "minimal", cache=tmp_path / "cache", workers=1)
    finally:
        os.umask(before)
    for path in (tmp_path / "cache").rglob("*"):
        if path.parent.name not in ("audio", "locks"):
            assert path.stat().st_mode & 0o777 == (0o775 if path.is_dir() else 0o664), path


@pytest.mark.filterwarnings("error")
def test_bad_files_are_all_named_and_can_be_left_out(corpus, tmp_path):
    whole = feature_table(corpus, "minimal", cache=tmp_path / "other", workers=1)
    utterances = list(corpus.utterances)
    for number in (1, 3):
        path = utterances[number].path
        soundfile.write(path, 1e20 * voice(100, 0.1), RATE, subtype="FLOAT")
        utterances[number] = dataclasses.replace(utterances[number], content=digest(number))
    bad = dataclasses.replace(corpus, utterances=tuple(utterances))
    with pytest.raises(ExtractionError, match="features of 2 files cannot be extracted") as caught:
        feature_table(bad, "minimal", cache=tmp_path, workers=1)
    names = {utterances[number].name for number in (1, 3)}
    assert {item.name for item in caught.value.bad} == names
    assert all("full scale is 1" in item.reason for item in caught.value.bad)
    sets = feature_set("minimal"), feature_set("mel")
    extracted = extract_tables(bad, sets, cache=tmp_path, skip_bad=True, workers=1)
    assert {item.name for item in extracted.corpus.skipped} == names
    assert [len(table) for table in extracted.tables] == [2, 2]
    assert extracted.tables[0].summary.tobytes() == whole.summary[[0, 2]].tobytes()


@pytest.mark.filterwarnings("default")
def test_a_recording_that_kills_opensmile_is_named(tmp_path):
    pytest.importorskip("opensmile")
    corpus = read_tones(write_tones(tmp_path / "x", (100, 150, 200), seconds=0.5), tmp_path / "i")
    first, fatal, last = corpus.utterances
    header = bytearray(fatal.path.read_bytes())
    header[24:28] = (10).to_bytes(4, "little")  # 10 Hz corrupts openSMILE's heap
    fatal.path.write_bytes(header)
    samples, rate = soundfile.read(fatal.path, dtype="float32")
    fatal = dataclasses.replace(fatal, content=content_hash(Audio(samples, rate)))
    corpus = dataclasses.replace(corpus, utterances=(first, fatal, last))
    extracted = extract_tables(corpus, (feature_set("egemaps"),), cache=tmp_path, skip_bad=True)
    assert [item.name for item in extracted.corpus.skipped] == [fatal.name]
    assert len(extracted.tables[0]) == 2
