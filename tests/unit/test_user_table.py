"""A user's own features: rows find their utterance, and every fault is named."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from clser_bench.errors import FeatureError
from clser_bench.features.columns import INSTANTS
from clser_bench.features.extract import feature_table
from clser_bench.features.sets import feature_set, split_joined
from tests.signals import read_tones, write_tones


@pytest.fixture
def corpus(tmp_path: Path):
    return read_tones(write_tones(tmp_path / "tones", (100, 200, 300)), tmp_path / "cache")


def values(corpus, columns: int = 2) -> np.ndarray:
    """A value that follows from the number in the file's name."""
    numbers = [int(Path(one.name).stem.rpartition("_")[2]) for one in corpus.utterances]
    return np.array([[n + 10 * c for c in range(columns)] for n in numbers], np.float32)


def frame_of(corpus, **columns) -> pd.DataFrame:
    """A row an utterance, with the path of its file as index."""
    paths = [str(one.path) for one in corpus.utterances]
    names = [one.name for one in corpus.utterances]
    return pd.DataFrame({"path": names, **columns}, index=paths)


def write(path: Path, corpus, **columns) -> Path:
    frame_of(corpus, **columns).sample(frac=1, random_state=0).to_parquet(path, index=False)
    return path


def test_a_row_finds_its_utterance_by_path_longer_path_or_content(corpus, tmp_path: Path):
    wanted, contents = values(corpus), [one.content for one in corpus.utterances]
    columns, lists = {"smile": wanted[:, 0], "frown": wanted[:, 1]}, {"features": list(wanted)}
    files = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet", "d.npz")]
    write(files[0], corpus, **columns)
    longer = [f"some/where/tones/{one.name}" for one in corpus.utterances]
    pd.DataFrame({"path": longer, **columns}).iloc[::-1].to_parquet(files[1])
    pd.DataFrame({"content": contents, **lists}).to_parquet(files[2])
    np.savez(files[3], content=np.array(contents), features=wanted)
    for path in files:
        table = feature_table(corpus, f"table:{path}", cache=tmp_path / "cache")
        np.testing.assert_array_equal(table.summary, wanted)
        np.testing.assert_array_equal(table.instants, np.repeat(wanted[:, None], INSTANTS, axis=1))
    assert feature_set(f"table:{files[0]}").summary == ("smile", "frown")


def test_frames_are_pooled_in_their_order(corpus, tmp_path: Path):
    counts = [40, 3, 7]
    rows = [
        {"path": one.name, "frame": frame, "x": float(100 * place + frame)}
        for place, (one, count) in enumerate(zip(corpus.utterances, counts, strict=True))
        for frame in range(count)
    ]
    path, packed = tmp_path / "frames.parquet", tmp_path / "frames.npz"
    pd.DataFrame(rows).sample(frac=1, random_state=1).to_parquet(path)
    names, features = [one.name for one in corpus.utterances], [[row["x"]] for row in rows]
    np.savez(packed, path=np.array(names), features=np.array(features), frames=np.array(counts))
    for file in (path, packed):
        table = feature_table(corpus, f"table:{file}:pool=mean+sd", cache=tmp_path / "cache")
        for place, count in enumerate(counts):
            frames = 100 * place + np.arange(count)
            assert table.summary[place] == pytest.approx([frames.mean(), frames.std()], rel=1e-6)
        assert (np.diff(table.instants[:, :, 0], axis=1) >= 0).all()


def test_the_key_is_that_of_the_bytes(corpus, tmp_path: Path):
    (tmp_path / "other").mkdir()
    places = tmp_path / "x.parquet", tmp_path / "other" / "y.parquet"
    one, other = (feature_set(f"table:{write(path, corpus, v=[1.0, 2.0, 3.0])}") for path in places)
    assert one.key == other.key
    assert str(tmp_path) not in one.name
    write(places[0], corpus, v=[1.0, 2.0, 4.0])
    assert feature_set(f"table:{places[0]}").key != one.key


def test_sets_are_joined_side_by_side(corpus, tmp_path: Path):
    faces = f"table:{write(tmp_path / 'faces.parquet', corpus, smile=[1.0, 2.0, 3.0])}"
    table, *alone = (
        feature_table(corpus, name, cache=tmp_path / "cache", workers=1)
        for name in (f"minimal+{faces}", "minimal", faces)
    )
    np.testing.assert_array_equal(table.summary, np.hstack([one.summary for one in alone]))
    instants = np.concatenate([one.instants for one in alone], axis=2)
    np.testing.assert_array_equal(table.instants, instants)
    names = feature_set(f"minimal+{faces}").summary
    assert len(set(names)) == len(names) == table.summary.shape[1]


@pytest.mark.parametrize(
    "names",
    [
        ["hf:a/b:layer=6+9:pool=mean+sd", "minimal"],
        ["egemaps", "hubert-large:layer=3+4", "table:a+b.npz"],
    ],
)
def test_a_plus_within_a_name_does_not_divide_it(names: list[str]):
    assert split_joined("+".join(names)) == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="path"), "neither a column 'path' nor 'content'"),
        (lambda f: f.iloc[:2], r"1 utterances without a row \(by path\): \w/anger_\d.wav"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "1 twice in the file: "),
        (lambda f: f.assign(v=[1, np.nan, 3]), "1 with values that are not finite: "),
        (lambda f: f.assign(v=[1, np.inf, np.nan]), "2 with values that are not finite: "),
        (lambda f: f.assign(v=["a", "b", "c"]), "lists hold something else than numbers|numbers"),
        (lambda f: f.assign(v=[[1.0], [1.0, 2.0], [3.0]]), "1 of another size than"),
        (lambda f: f.assign(v=[[1.0], [2.0], [3.0]], w=["x", "y", "z"]), "no numbers"),
        (lambda f: f[["path"]], "0 columns of features"),
        (lambda f: f.iloc[:0], "has 0 utterances"),
        (lambda f: f.assign(path=[None, *f.path[1:]]), "1 without 'path': row 0"),
        (lambda f: f[["v"]].rename(columns={"v": 0}), "nor 'content', but 0"),
        (lambda f: f.assign(v=[1, 1e300, 3]), "1 with values that are not finite: "),
        (lambda f: f.assign(frame=["1", "10", "2"]), "'frame' must hold a number in each row"),
        (lambda f: f.assign(frame=[None, "1", 2.0]).astype({"frame": str}), "'frame' must hold"),
        (lambda f: f.assign(frame=[1, np.nan, 2]), "'frame' must hold a number in each row"),
        (lambda f: pd.concat([f, f.iloc[:1]]).assign(frame=0), "1 with a 'frame' twice: "),
        (lambda f: pd.concat([f, f.assign(path=f.index)]), r"3 utterances with several rows \(by"),
    ],
)
def test_every_fault_is_named(corpus, tmp_path: Path, change, message: str):
    path = tmp_path / "x.parquet"
    change(frame_of(corpus, v=[1.0, 2.0, 3.0])).to_parquet(path, index=False)
    with pytest.raises(FeatureError, match=message) as caught:
        feature_table(corpus, f"table:{path}", cache=tmp_path / "cache")
    assert str(caught.value).startswith(f"{path}: ")


def test_values_are_counted_before_they_are_read(tmp_path: Path):
    """40 kB that hold 4 GiB."""
    many = 1 << 24
    names = pa.array(["a"]).dictionary_encode().take(pa.array(np.zeros(many, np.int32)))
    parquet.write_table(pa.table({"path": names}), tmp_path / "x.parquet")
    with pytest.raises(FeatureError, match=f"has {many} rows and {many} values; at most 10000000"):
        feature_set(f"table:{tmp_path / 'x.parquet'}")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1073741824), }".ljust(117)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("features.npy", b"\x93NUMPY\x01\x00v\x00" + header + b"\n")
        packed.writestr("path.npy", b"")
        packed.infolist()[0].file_size = 5 << 30  # what the directory of a packed one says
    with pytest.raises(FeatureError, match=r"has many rows and 13\d+ values; at most .* are read"):
        feature_set(f"table:{tmp_path / 'x.npz'}")


def test_files_that_are_no_tables(tmp_path: Path):
    (tmp_path / "x.csv").write_text("a,b")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "x.npz").write_bytes(b"PK no")
    os.mkfifo(tmp_path / "pipe.npz")
    np.savez(tmp_path / "objects.npz", path=np.array(["a"]), features=np.array([{}], object))
    np.savez(tmp_path / "sizes.npz", path=np.array(["a", "b"]), features=np.ones((3, 2)))
    for name, message in (
        ("x.csv", "one of .parquet, .npz"),
        ("none.npz", "cannot be read"),
        ("x.parquet", "cannot be read as Parquet"),
        ("x.npz", "cannot be read as npz"),
        ("pipe.npz", "is no regular file"),
        ("objects.npz", "cannot be read as npz"),
        ("sizes.npz", "3 rows of features, 2 expected"),
        ("sizes.npz:pool=max", "pool 'max' is unknown"),
    ):
        with pytest.raises(FeatureError, match=message):
            feature_set(f"table:{tmp_path / name}")
