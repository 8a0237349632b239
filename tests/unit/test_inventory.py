import json
import os
from pathlib import Path

import numpy as np
import pytest

from clser_bench.errors import FeatureError
from clser_bench.features.cache import check_shard, describe_shards, new_table, write_file
from clser_bench.features.inventory import UNKNOWN, find_damage, remove, take_inventory
from clser_bench.features.sets import feature_set
from clser_bench.hashing import digest
from tests.signals import put_shard

PROSODY = feature_set("prosody")
MFCC = feature_set("mfcc")


def put_table(cache: Path, name: str = "table") -> Path:
    table = new_table(cache, digest(name), instants=(3, 2, 3), summary=(3, 4), parts=())
    assert table.folder is not None
    return table.folder


NO_NAMES = ("\x1b[2Jprosody", "two\nlines", "a\ttab", "\u202egnitteg", "[/red]", "n" * 300)
GARBAGE = (
    *(b"", b"\xff\xfe", b"[1]", b"null", b"{}", b'{"name": 3}', b'{"name": ""}'),
    b"[" * 99_999,
)


@pytest.mark.parametrize(
    "about", [*GARBAGE, *(json.dumps({"name": name}).encode() for name in NO_NAMES)]
)
def test_garbage_in_about_is_unknown_unless_the_key_is_known(tmp_path: Path, about: bytes):
    path = put_shard(tmp_path, PROSODY, 0, 1, 2).parent / "about.json"
    for content, name in ((about, UNKNOWN), (b'{"name": "hf:a@1:layer=3+4"}', "hf:a@1:layer=3+4")):
        write_file(path, content)
        assert take_inventory(tmp_path, {}).sets[0].name == name
        assert take_inventory(tmp_path, {PROSODY.key: "prosody"}).sets[0].name == "prosody"


def test_an_about_that_is_no_file_or_a_link_is_not_read(tmp_path: Path):
    cache = tmp_path / "cache"
    about = put_shard(cache, PROSODY, 0, 1, 2).parent / "about.json"
    (tmp_path / "secret.json").write_text('{"name": "secret"}')
    about.symlink_to(tmp_path / "secret.json")
    assert take_inventory(cache, {}).sets[0].name == UNKNOWN
    about.unlink()
    os.mkfifo(about)
    assert take_inventory(cache, {}).sets[0].name == UNKNOWN


def test_a_cut_and_any_flipped_bit_are_found_and_nothing_is_raised(tmp_path: Path):
    path = put_shard(tmp_path, PROSODY, 7)
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    cuts = [content[:length] for length in (0, 4, 100, size, size + 100, -1)]
    flips = [
        content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]
        for at in (*range(size), *rng.integers(size, len(content), 50), len(content) - 1)
    ]
    for number, broken in enumerate([*cuts, *flips]):
        path.write_bytes(broken)
        (stored,) = take_inventory(tmp_path, {}).sets
        (damage,) = find_damage(stored.shards)
        assert (damage.path, damage.broken) == (path, True)
        assert damage.why.isprintable()
        if number < len(cuts):
            assert (stored.unreadable, stored.utterances) == (1, 0)
    path.unlink()
    assert list(find_damage(stored.shards)) == [], "what is gone is not damaged"


def test_a_shard_under_the_name_of_another_is_damaged(tmp_path: Path):
    first, second = put_shard(tmp_path, PROSODY, 0, 1, 2), put_shard(tmp_path, PROSODY, 8)
    assert check_shard(second) is None
    second.replace(first)
    moved = tmp_path / "shards" / MFCC.key / second.name
    write_file(moved, put_shard(tmp_path, PROSODY, 8).read_bytes())
    for path in (first, moved):
        assert check_shard(path) == "it holds something else than its name says"


def test_tables_that_do_not_open_or_match_are_damaged(tmp_path: Path):
    _, cut, missing, header, rows = (put_table(tmp_path, name) for name in "sound")
    content = (cut / "instants.npy").read_bytes()
    (cut / "instants.npy").write_bytes(content[:-4])
    (missing / "summary.npy").unlink()
    (header / "instants.npy").write_bytes(content.replace(b"(3, 2, 3)", b"(3, 2, 3 "))
    np.save(rows / "summary.npy", np.zeros((2, 4), np.float32))
    tables = take_inventory(tmp_path, {}).tables
    damages = {damage.path: damage.why for damage in find_damage(tables)}
    assert set(damages) == {cut, missing, header, rows}
    assert damages[cut] == "instants.npy: the checksum does not fit"
    assert "No such file" in damages[missing]
    assert damages[header]
    assert damages[rows] == "summary.npy: the checksum does not fit"


def test_a_folder_goes_with_its_last_shard_unless_it_is_being_written_to(tmp_path: Path):
    first, second = put_shard(tmp_path, PROSODY, 0, 1, 2), put_shard(tmp_path, PROSODY, 9)
    describe_shards(tmp_path, PROSODY)
    remove(tmp_path, [first])
    assert {left.name for left in second.parent.iterdir()} == {second.name, "about.json"}
    half = second.parent / ".part-123-other"
    half.write_bytes(b"half")
    remove(tmp_path, [first, second])
    assert {left.name for left in second.parent.iterdir()} == {half.name, "about.json"}
    half.unlink()
    remove(tmp_path, [second])
    assert not any((tmp_path / "shards").iterdir())


def test_an_open_table_can_be_read_on_after_its_removal(tmp_path: Path):
    folder = put_table(tmp_path)
    mapped = np.load(folder / "summary.npy", mmap_mode="r")
    remove(tmp_path, [folder])
    assert not any((tmp_path / "tables").iterdir())
    assert mapped.sum() == 0


def test_links_are_listed_and_neither_followed_nor_removed(tmp_path: Path):
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    put_shard(cache, PROSODY, 0, 1, 2)
    shard, table = put_shard(outside, MFCC, 0, 1, 2), put_table(outside)
    shards, tables = cache / "shards", cache / "tables"
    links = [shards / MFCC.key, shards / PROSODY.key / shard.name, tables / table.name]
    tables.mkdir()
    for link, target in zip(links, (shard.parent, shard, table), strict=True):
        link.symlink_to(target)
    found = take_inventory(cache, {})
    assert set(found.links) == set(links)
    assert [stored.key for stored in found.sets] == [PROSODY.key]
    assert len(found.sets[0].shards) == 1
    assert found.tables == ()
    for path in (*links, links[0] / shard.name, shard, cache, cache / ".." / "outside"):
        with pytest.raises(FeatureError, match="nothing outside"):
            remove(cache, [path])
    assert shard.exists()
    assert all(link.is_symlink() for link in links)


def test_a_cache_behind_a_link_is_pruned_and_a_link_in_a_table_only_goes_itself(tmp_path: Path):
    path, folder = put_shard(tmp_path / "real", PROSODY, 0, 1, 2), put_table(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "precious").write_text("x")
    (folder / "link").symlink_to(tmp_path / "precious")
    found = take_inventory(tmp_path / "link", {})
    remove(tmp_path / "link", [item.path for item in (*found.sets[0].shards, *found.tables)])
    assert not path.exists()
    assert not folder.exists()
    assert (tmp_path / "precious").read_text() == "x"


def test_what_has_no_key_for_a_name_is_not_looked_at(tmp_path: Path):
    for place in ("shards/mine/x.safetensors", "tables/mine/summary.npy", "demo/x.wav"):
        write_file(tmp_path / place, b"x")
    path = put_shard(tmp_path, PROSODY, 0, 1, 2)
    write_file(path.parent / "mine.safetensors", b"x")
    write_file(tmp_path / "audio" / "index.json", b"{}")
    found = take_inventory(tmp_path, {})
    assert [item.path for stored in found.sets for item in stored.shards] == [path]
    assert found.tables == ()
    assert [item.size for item in found.indices] == [2]


def test_a_file_where_a_folder_is_needed_is_an_error(tmp_path: Path):
    (tmp_path / "shards").write_text("x")
    with pytest.raises(FeatureError, match=r"shards: cannot be read as a folder \(Not a directory"):
        take_inventory(tmp_path, {})
