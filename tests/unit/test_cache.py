"""Where the cache lies."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from clser_bench.errors import ClserError
from clser_bench.files import cache_folder


def test_named_by_the_environment(own_cache: Path) -> None:
    assert cache_folder() == own_cache
    assert own_cache.is_dir()


def test_the_platform_s_folder_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLSER_CACHE")
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name / str(appauthor)
    )
    assert cache_folder() == tmp_path / "clser-bench" / "False"


def test_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLSER_CACHE", str(tmp_path / "file"))
    with pytest.raises(ClserError, match="set CLSER_CACHE"):
        cache_folder()
