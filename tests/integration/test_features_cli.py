"""`features list`, `verify` and `prune` in a pipe, and how they end."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from clser_bench.cli.features import human_size
from clser_bench.cli.main import app
from clser_bench.features.cache import describe_shards, new_table, write_file
from clser_bench.features.sets import feature_set
from clser_bench.hashing import digest
from tests.signals import put_shard

ACOUSTIC, EGEMAPS, MFCC = map(feature_set, ("acoustic", "egemaps", "mfcc"))
OLDER, TABLE = f"shards/{digest('older')}", f"tables/{digest('t')}"

Call = Callable[..., Result]


@pytest.fixture
def call() -> Call:
    return lambda *arguments: CliRunner().invoke(app, ["features", *arguments])


@pytest.fixture
def cache(own_cache: Path) -> Path:
    """Two sets of 5 and 2 utterances, one of an older version, a table and an index."""
    put_shard(own_cache, ACOUSTIC, 0, 1, 2)
    put_shard(own_cache, ACOUSTIC, 2, 3, 4)
    put_shard(own_cache, EGEMAPS, 0, 1)
    put_shard(own_cache, MFCC, 0).parent.rename(own_cache / OLDER)
    new_table(own_cache, digest("t"), instants=(3, 2, 3), summary=(3, 4), parts=())
    write_file(own_cache / "audio" / "index.json", b"{}")
    return own_cache


def snapshot(cache: Path) -> dict[str, bytes]:
    files = (path for path in cache.rglob("*") if path.is_file())
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def rows(done: Result) -> list[list[str]]:
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_list_is_tabs_and_bytes_in_a_pipe(call: Call, cache: Path) -> None:
    shards = cache / "shards" / ACOUSTIC.key
    for path in shards.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    done = call("list")
    assert done.exit_code == 0, done.output
    acoustic, egemaps, unknown, tables, index = rows(done)
    shape = [str(len(ACOUSTIC.instants)), str(len(ACOUSTIC.summary)), str(folder_bytes(shards))]
    assert acoustic[:6] == ["acoustic", "2", "5", *shape]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(1_700_000_000))
    assert acoustic[6].startswith(stamp)
    assert acoustic[7] == ACOUSTIC.key[:12]
    assert egemaps[:3] == ["egemaps", "1", "2"]
    assert unknown[:3] == ["unknown", "1", "1"]
    assert (tables[0], tables[5]) == ("(tables)", str(folder_bytes(cache / TABLE)))
    assert (index[0], index[5]) == ("(audio index)", "2")
    assert f"KiB in {cache}: 3 feature sets, 1 table." in done.stderr


def test_list_of_an_empty_cache(call: Call, own_cache: Path) -> None:
    done = call("list")
    assert done.exit_code == 0
    assert [row[5] for row in rows(done)] == ["0", "0"]
    assert f"0 B in {own_cache}: 0 feature sets, 0 tables." in done.stderr


def test_list_names_a_set_by_its_about_and_counts_bad_headers(call: Call, cache: Path) -> None:
    (shard,) = (cache / OLDER).iterdir()
    describe_shards(cache, MFCC)
    (cache / "shards" / MFCC.key / "about.json").rename(shard.with_name("about.json"))
    shard.write_bytes(b"cut")
    done = call("list")
    (row,) = [row for row in rows(done) if row[0] == "mfcc"]
    assert row[1:6] == ["1", "0", "-", "-", "3"]
    assert "1 shard cannot be used: `clser-bench features verify`" in done.stderr


def test_verify_names_each_damaged_file_and_removes_it_only_when_asked(
    call: Call, cache: Path
) -> None:
    (cache / OLDER).rename(cache / "shards" / MFCC.key)
    first, second = sorted((cache / "shards" / ACOUSTIC.key).iterdir())
    first.write_bytes(first.read_bytes()[:-7])
    content = bytearray(second.read_bytes())
    content[-5] ^= 16
    second.write_bytes(content)
    np.save(cache / TABLE / "summary.npy", np.zeros((2, 4), np.float32))
    expected = {first, second, cache / TABLE}
    before = snapshot(cache)
    done = call("verify", "--features", "egemaps", "--remove")
    assert done.exit_code == 0
    assert "1 shard and 0 tables checked: none is damaged." in done.stderr
    assert call("verify", "--features", ACOUSTIC.key[:12]).exit_code == 1
    done = call("verify")
    assert done.exit_code == 1
    named = {Path(path): why for path, why in rows(done)}
    assert set(named) == expected
    assert named[first]
    assert named[second] == "the checksum does not fit"
    assert named[cache / TABLE] == "summary.npy: the checksum does not fit"
    assert "4 shards and 1 table checked: 3 damaged; --remove deletes them" in done.stderr
    assert snapshot(cache) == before
    done = call("verify", "--remove")
    assert done.exit_code == 1
    assert "3 damaged; 3 removed, and the next run makes them again." in done.stderr
    gone = {cache / name for name in set(before) - set(snapshot(cache))}
    assert {path if path in expected else path.parent for path in gone} == expected
    again = call("verify")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "2 shards and 0 tables checked: none is damaged." in again.stderr


def test_verify_leaves_what_it_may_not_read(
    call: Call, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    before = snapshot(cache)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        done = call("verify", "--features", "egemaps", "--remove")
    assert done.exit_code == 1
    assert done.stdout.endswith(".safetensors\tcannot be read (Permission denied)\n")
    assert "is kept: see to its permissions" in done.stderr
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    ("options", "gone", "count"),
    [
        ("--features acoustic", (f"shards/{ACOUSTIC.key}",), 2),
        (f"--features {ACOUSTIC.key[:8]}", (f"shards/{ACOUSTIC.key}",), 2),
        ("--features unknown", (OLDER,), 1),
        ("--tables", (TABLE,), 1),
        ("--features e* --tables", (f"shards/{EGEMAPS.key}", TABLE), 2),
        ("--older-than 0", ("shards/", "tables/"), 5),
    ],
)
def test_prune_deletes_what_it_shows_and_nothing_else(
    call: Call, cache: Path, options: str, gone: tuple[str, ...], count: int
) -> None:
    before = snapshot(cache)
    shown = call("prune", *options.split())
    assert "Nothing is deleted without --yes." in shown.stderr
    assert snapshot(cache) == before
    done = call("prune", *options.split(), "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout == shown.stdout
    after = snapshot(cache)
    removed = {name: content for name, content in before.items() if name not in after}
    assert removed == {n: c for n, c in before.items() if n.startswith(gone)}
    assert sum(int(row[1]) for row in rows(done)) == count
    size = sum(map(len, removed.values()))
    assert sum(int(row[2]) for row in rows(done)) == size
    assert f"Removed {human_size(size)} from {cache}." in done.stderr


def test_prune_by_age_takes_only_the_old(call: Call, cache: Path) -> None:
    first, second = sorted((cache / "shards" / ACOUSTIC.key).iterdir())
    table, egemaps = cache / TABLE, cache / "shards" / EGEMAPS.key
    then = time.time() - 10 * 86400
    for path in (first, *table.iterdir(), *egemaps.iterdir()):
        os.utime(path, (then, then))
    assert rows(call("prune", "--older-than", "11")) == []
    call("prune", "--features", "acoustic", "--older-than", "9", "--yes")
    assert [path.exists() for path in (first, second, table, egemaps)] == [False, True, True, True]
    call("prune", "--older-than", "9.5", "--yes")
    assert [path.exists() for path in (second, table, egemaps)] == [True, False, False]
    assert f"There is nothing of this in {cache}." in call("prune", "--tables", "--yes").stderr


def test_prune_leaves_links(call: Call, cache: Path, tmp_path: Path) -> None:
    target = put_shard(tmp_path / "outside", EGEMAPS, 7)
    link = cache / "shards" / digest("linked")
    link.symlink_to(target.parent)
    done = call("prune", "--older-than", "0", "--tables", "--features", "*", "--yes")
    assert done.exit_code == 0, done.output
    assert f"{link}: a symbolic link; it is not followed, counted or removed." in done.stderr
    assert target.exists()
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prune", "say what to remove: --features NAME"),
        ("prune --yes", "--tables, or --older-than DAYS"),
        ("prune --features egemap", "set 'egemap' (a set made of others, such as mel"),
        ("prune --features egemap", "did you mean 'egemaps'? Known: acoustic, egemaps"),
        ("verify --features mel", "there are no shards of feature set 'mel'"),
    ],
)
def test_misuse_is_an_error_of_one_line(
    call: Call, cache: Path, arguments: str, message: str
) -> None:
    before = snapshot(cache)
    done = call(*arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert snapshot(cache) == before


def test_sizes_for_people() -> None:
    counts = 0, 1023, 1024, 3 << 29, 5 << 50
    assert [*map(human_size, counts)] == ["0 B", "1023 B", "1.0 KiB", "1.5 GiB", "5120.0 TiB"]
