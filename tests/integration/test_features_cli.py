"""`features list`, `verify` and `prune` in a pipe, and how they end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from clser_bench.cli.features import human_size
from clser_bench.cli.main import app
from clser_bench.features.cache import new_table, write_file
from clser_bench.features.sets import feature_set
from clser_bench.hashing import digest
from tests.signals import put_shard

ACOUSTIC, EGEMAPS, OLD = feature_set("acoustic"), feature_set("egemaps"), feature_set("mfcc")

Call = Callable[..., Result]


@pytest.fixture
def call() -> Call:
    return lambda *arguments: CliRunner().invoke(app, ["features", *arguments])


@pytest.fixture
def cache(own_cache: Path) -> Path:
    """Two sets of 5 and 2 utterances, one of an older version, a table and an index."""
    put_shard(own_cache, ACOUSTIC, 0, 1, 2)
    put_shard(own_cache, ACOUSTIC, 3, 4)
    put_shard(own_cache, EGEMAPS, 0, 1)
    unknown = put_shard(own_cache, OLD, 0)
    unknown.parent.rename(own_cache / "shards" / digest("older"))
    new_table(own_cache, digest("t"), instants=(3, 2, 3), summary=(3, 4), parts=iter(()))
    write_file(own_cache / "audio" / "index.json", b"{}")
    return own_cache


def snapshot(cache: Path) -> dict[str, bytes]:
    files: Iterator[Path] = (path for path in cache.rglob("*") if path.is_file())
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def rows(done: Result) -> list[list[str]]:
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_list_is_tabs_and_bytes_in_a_pipe(call: Call, cache: Path) -> None:
    for path in (cache / "shards" / ACOUSTIC.key).iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    done = call("list")
    assert done.exit_code == 0, done.output
    table = rows(done)
    assert [row[0] for row in table] == [
        "acoustic",
        "egemaps",
        "unknown",
        "(tables)",
        "(audio index)",
    ]
    size = folder_bytes(cache / "shards" / ACOUSTIC.key)
    shape = [str(len(ACOUSTIC.instants)), str(len(ACOUSTIC.summary)), str(size)]
    assert table[0][:6] == ["acoustic", "2", "5", *shape]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(1_700_000_000))
    assert table[0][6].startswith(stamp)
    assert table[0][7] == ACOUSTIC.key[:12]
    assert table[1][1:3] == ["1", "2"]
    assert table[3][5] == str(folder_bytes(cache / "tables" / digest("t")))
    assert table[4][5] == "2"
    assert f"KiB in {cache}: 3 feature sets, 1 table." in done.stderr


def test_list_of_an_empty_cache(call: Call, own_cache: Path) -> None:
    done = call("list")
    assert done.exit_code == 0
    assert [row[5] for row in rows(done)] == ["0", "0"]
    assert f"0 B in {own_cache}: 0 feature sets, 0 tables." in done.stderr


def test_list_takes_an_about_for_a_name_and_tells_of_bad_headers(call: Call, cache: Path) -> None:
    folder = cache / "shards" / digest("older")
    write_file(folder / "about.json", b'{"name": "hf:some/model@1:layer=3"}')
    (shard,) = folder.glob("*.safetensors")
    shard.write_bytes(b"cut")
    done = call("list")
    (row,) = [row for row in rows(done) if row[0] == "hf:some/model@1:layer=3"]
    assert row[1:6] == ["1", "0", "-", "-", "3"]
    assert "1 shard cannot be used: `clser-bench features verify`" in done.stderr


def damage(cache: Path) -> dict[Path, str]:
    (cache / "shards" / digest("older")).rename(cache / "shards" / OLD.key)
    first, second = sorted((cache / "shards" / ACOUSTIC.key).iterdir())
    first.write_bytes(first.read_bytes()[:-7])
    content = bytearray(second.read_bytes())
    content[-5] ^= 16
    second.write_bytes(content)
    table = cache / "tables" / digest("t")
    np.save(table / "summary.npy", np.zeros((2, 4), np.float32))
    return {first: "", second: "the checksum does not fit", table: "the checksum does not fit"}


def test_verify_names_each_damaged_file_and_removes_it_only_when_asked(
    call: Call, cache: Path
) -> None:
    expected = damage(cache)
    before = snapshot(cache)
    done = call("verify")
    assert done.exit_code == 1
    named = {Path(path): why for path, why in rows(done)}
    assert set(named) == set(expected)
    assert all(why in named[path] for path, why in expected.items())
    assert all(named.values())
    assert "4 shards and 1 table checked: 3 damaged; --remove deletes them" in done.stderr
    assert snapshot(cache) == before
    done = call("verify", "--remove")
    assert done.exit_code == 1
    assert "3 damaged; 3 removed, and the next run makes them again." in done.stderr
    gone = {cache / name for name in set(before) - set(snapshot(cache))}
    assert {path if path in expected else path.parent for path in gone} == set(expected)
    again = call("verify")
    assert again.exit_code == 0
    assert again.stdout == ""
    assert "2 shards and 0 tables checked: none is damaged." in again.stderr


def test_verify_of_one_set_leaves_the_others_and_tables_alone(call: Call, cache: Path) -> None:
    damage(cache)
    done = call("verify", "--features", "egemaps", "--remove")
    assert done.exit_code == 0
    assert "1 shard and 0 tables checked" in done.stderr
    assert call("verify", "--features", ACOUSTIC.key[:12]).exit_code == 1


def test_verify_keeps_what_it_may_not_read(
    call: Call, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(cache)

    def refuse(path: Path) -> str:
        from clser_bench.errors import FeatureError

        raise FeatureError(f"{path}: cannot be read (Input/output error)")

    monkeypatch.setattr("clser_bench.features.inventory.check_shard", refuse)
    done = call("verify", "--features", "egemaps", "--remove")
    assert done.exit_code == 1
    assert done.stdout.endswith("\tcannot be read (Input/output error)\n")
    assert "is kept: see to its permissions" in done.stderr
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    ("options", "gone", "count"),
    [
        (("--features", "acoustic"), (f"shards/{ACOUSTIC.key}",), 2),
        (("--features", ACOUSTIC.key[:8]), (f"shards/{ACOUSTIC.key}",), 2),
        (("--features", "unknown"), (f"shards/{digest('older')}",), 1),
        (("--tables",), (f"tables/{digest('t')}",), 1),
        (("--features", "e*", "--tables"), (f"shards/{EGEMAPS.key}", f"tables/{digest('t')}"), 2),
        (("--older-than", "0"), ("shards/", "tables/"), 5),
    ],
)
def test_prune_deletes_what_it_shows_and_nothing_else(
    call: Call, cache: Path, options: tuple[str, ...], gone: tuple[str, ...], count: int
) -> None:
    before = snapshot(cache)
    shown = call("prune", *options)
    assert "Nothing is deleted without --yes." in shown.stderr
    assert snapshot(cache) == before
    done = call("prune", *options, "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout == shown.stdout
    after = snapshot(cache)
    removed = {name: content for name, content in before.items() if name not in after}
    assert removed == {n: c for n, c in before.items() if n.startswith(gone)}
    assert sum(int(row[1]) for row in rows(done)) == count
    size = sum(map(len, removed.values()))
    assert sum(int(row[2]) for row in rows(done)) == size
    assert f"Removed {human_size(size)} from {cache}." in done.stderr
    again = call("prune", "--tables", "--yes") if "--tables" in options else None
    assert again is None or f"There is nothing of this in {cache}." in again.stderr


def test_prune_by_age_takes_only_the_old(call: Call, cache: Path) -> None:
    first, second = sorted((cache / "shards" / ACOUSTIC.key).iterdir())
    table = cache / "tables" / digest("t")
    then = time.time() - 10 * 86400
    for path in (first, *table.iterdir(), *(cache / "shards" / EGEMAPS.key).iterdir()):
        os.utime(path, (then, then))
    assert rows(call("prune", "--older-than", "11")) == []
    call("prune", "--features", "acoustic", "--older-than", "9", "--yes")
    assert not first.exists()
    assert second.exists()
    assert table.exists()
    call("prune", "--older-than", "9.5", "--yes")
    assert not table.exists()
    assert not (cache / "shards" / EGEMAPS.key).exists()
    assert second.exists()


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
        (("prune",), "say what to remove: --features NAME"),
        (("prune", "--yes"), "--tables, or --older-than DAYS"),
        (("prune", "--features", "egemap"), "set 'egemap' (a set made of others, such as mel"),
        (("prune", "--features", "egemap"), "did you mean 'egemaps'? Known: acoustic, egemaps"),
        (("verify", "--features", "mel"), "there are no shards of feature set 'mel'"),
    ],
)
def test_misuse_is_told_in_a_line(
    call: Call, cache: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = snapshot(cache)
    done = call(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stdout == ""
    assert snapshot(cache) == before


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3 << 29, "1.5 GiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert human_size(count) == text
