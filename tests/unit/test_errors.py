"""Errors travel between processes and name what is near; files and the cache folder."""

from __future__ import annotations

import pickle

import platformdirs
import pytest

from clser_bench.errors import (
    AudioError,
    ClserError,
    MissingExtraError,
    SpecError,
    StoreError,
    did_you_mean,
    printable,
)
from clser_bench.files import cache_folder, require_file, require_folder, write_whole
from clser_bench.store.sqlite import Store


def test_errors_survive_pickling():
    for error in (AudioError("a.wav", "is empty"), MissingExtraError("egemaps", "opensmile")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
    assert "pip install 'clser-bench[opensmile]'" in str(MissingExtraError("egemaps", "opensmile"))


def test_the_nearest_name_comes_first():
    assert did_you_mean("ser", ["dann", "sere"]) == "; did you mean 'sere'? Known: dann, sere"
    assert did_you_mean("xyz", ["dann"]) == ". Known: dann"
    assert did_you_mean("xyz", []) == ". Known: none"
    many = map(str, range(100, 173))
    assert did_you_mean("xyz", many, command="list methods").endswith(
        "108, 109 and 63 more; `clser-bench list methods` has all"
    )


def test_a_path_of_the_other_kind_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SpecError, match=r"is a folder; name a file$"):
        require_file(tmp_path, error=SpecError)
    with pytest.raises(SpecError, match=r"is a file; name a folder$"):
        require_folder(file, error=SpecError)
    with pytest.raises(SpecError, match=r"is a folder; name a file$"):
        write_whole(tmp_path, "", error=SpecError)
    with pytest.raises(SpecError, match=r"there is no such file; x$"):
        require_file(tmp_path / ("n" * 999), error=SpecError, about="; x")


def test_results_are_not_written_over(tmp_path):
    place = tmp_path / "results.sqlite"
    Store(place).close()
    before = place.read_bytes()
    for error in (SpecError, None):
        with pytest.raises(error or StoreError, match="is a results file; name another to write"):
            write_whole(place, "a card", error=error)
    assert place.read_bytes() == before


def test_what_steers_a_terminal_is_shown_as_an_escape():
    hostile = "a\x1b]0;owned\x07\r\u202eb\x9b2J\ud800"
    assert printable(hostile) == r"a\x1b]0;owned\x07\r\u202eb\x9b2J\ud800"
    harmless = "line\n\tnext, \u0645\u06cc\u200c\u062e"
    assert printable(harmless) == harmless


def test_a_long_text_keeps_its_ends():
    text = printable("Traceback (most recent" + "x" * 300_000 + "ValueError: the reason")
    assert text.startswith("Traceback (most")
    assert text.endswith("ValueError: the reason")
    assert "characters left out" in text
    assert len(text) < 20_100


def test_the_cache_is_named_or_the_platform_s(own_cache, tmp_path, monkeypatch):
    assert cache_folder() == own_cache
    assert own_cache.is_dir()
    monkeypatch.delenv("CLSER_CACHE")
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name / str(appauthor)
    )
    assert cache_folder() == tmp_path / "clser-bench" / "False"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLSER_CACHE", str(tmp_path / "file"))
    with pytest.raises(ClserError, match="set CLSER_CACHE"):
        cache_folder()
