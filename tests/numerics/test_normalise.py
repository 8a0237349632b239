from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clser_bench.features import normalise
from clser_bench.features.columns import MINIMAL_SUMMARY
from clser_bench.features.normalise import VOICE_COLUMNS, estimated_speakers, normalised
from clser_bench.problem import Table
from clser_bench.protocol import Normalisation

SPEAKERS = np.array(["ada", "bob", "ada", "bob", "cy"])


def table_of(summary, instants=None, key: str = "raw") -> Table:
    short = np.array(summary, np.float32)
    long = np.zeros((len(short), 2, 1)) if instants is None else np.array(instants)
    return Table(key, long.astype(np.float32), short)


def some_table(key: str = "raw", *, seed: int = 0, rows: int = 5) -> Table:
    rng = np.random.default_rng(seed)
    return table_of(rng.normal(3, 2, size=(rows, 4)), rng.normal(-1, 5, size=(rows, 3, 2)), key)


def scored_of(summary, cache: Path, *, instants=None, key: str = "raw", **more: Any) -> Table:
    """A table of these values, z-scored by the corpus unless said otherwise."""
    speakers = np.array(["a"] * len(summary))
    settings: dict[str, Any] = {"how": "corpus", "speakers": speakers, "cache": cache, **more}
    return normalised(table_of(summary, instants, key), **settings)


def test_corpus_by_hand(own_cache: Path):
    # summary: mean 2, variance 2/3; instants: mean 2.5, variance 35/12
    instants = [[[0], [1]], [[2], [3]], [[4], [5]]]
    scored = scored_of([[1, 7], [2, 7], [3, 7]], own_cache, instants=instants)
    expected = np.array([-1, 0, 1]) / (np.sqrt(2 / 3) + 1e-6)
    np.testing.assert_allclose(scored.summary[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(scored.summary[:, 1], 0)
    expected = (np.arange(6) - 2.5) / (np.sqrt(35 / 12) + 1e-6)
    np.testing.assert_allclose(scored.instants.ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 2e-6], [-0.5, 0.5]),  # the small constant keeps a nearly constant column small
        ([1000, -1000, *[0] * 98], [5, -5, *[0] * 98]),  # outliers are clipped
        (1e6 + np.arange(4.0), (np.arange(4) - 1.5) / np.sqrt(1.25)),  # exact far from zero
    ],
)
def test_columns_by_hand(own_cache: Path, values, expected):
    scored = scored_of(np.array(values)[:, None], own_cache)
    np.testing.assert_allclose(scored.summary.ravel(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("value", [0.1, -1e6, 3e7, 1e-20])
def test_a_constant_column_becomes_zero(own_cache: Path, value: float):
    scored = scored_of(np.full((7, 1), value), own_cache)
    np.testing.assert_allclose(scored.summary, 0, atol=1e-2)


def test_each_speaker_has_mean_zero_and_deviation_one(own_cache: Path):
    speakers = np.array(["x", "y"] * 20)
    scored = normalised(some_table(rows=40), how="speaker", speakers=speakers, cache=own_cache)
    for speaker in "xy":
        for values in (scored.summary[speakers == speaker], scored.instants[speakers == speaker]):
            flat = values.reshape(-1, values.shape[-1])
            np.testing.assert_allclose(flat.mean(0), 0, atol=1e-6)
            np.testing.assert_allclose(flat.std(0), 1, atol=1e-5)


def test_source_uses_the_statistics_of_the_reference(own_cache: Path):
    reference = table_of([[0], [2]], key="source")
    scored = scored_of([[1], [2], [4]], own_cache, how="source", reference=reference)
    np.testing.assert_allclose(scored.summary.ravel(), [0, 1, 3], rtol=1e-5)


def test_none_is_the_table_itself(own_cache: Path):
    table = some_table()
    assert normalised(table, how="none", speakers=SPEAKERS, cache=own_cache) is table


@pytest.mark.parametrize(
    ("how", "rows", "values", "expected"),
    [
        # Rows restrict the statistics and not the table.
        ("corpus", [1, 0, 1], [0, 2, 100, 100, 4], [-1, 1, 5, 5, 3]),
        # A speaker outside the rows keeps its own statistics: all of ada, nothing of bob and cy.
        ("speaker", None, [0, 10, 2, 30, 7], [-1, -1, 1, 1, 0]),
        ("speaker", [0, 2], [0, 10, 2, 30, 7], [-1, -1, 1, 1, 0]),
        ("speaker", [1, 4], [0, 10, 2, 30, 7], [-1, 0, 1, 5, 0]),
    ],
)
def test_speakers_and_rows_by_hand(own_cache: Path, how: str, rows, values, expected):
    used, column = None if rows is None else np.array(rows), np.array(values)[:, None]
    scored = scored_of(column, own_cache, how=how, speakers=SPEAKERS, rows=used)
    np.testing.assert_allclose(scored.summary.ravel(), expected, rtol=1e-5)


def test_the_result_is_cached_and_its_key_names_what_matters(own_cache: Path):
    table, reference = some_table(), some_table("other", seed=1)

    def made(how: Normalisation, table: Table = table, speakers=SPEAKERS, **more: Any) -> Table:
        return normalised(table, how=how, speakers=speakers, cache=own_cache, **more)

    keys = [
        made("corpus").key,
        made("corpus", reference).key,
        made("corpus", rows=np.array([0, 1])).key,
        made("corpus", rows=np.array([0, 2])).key,
        made("speaker").key,
        made("speaker", speakers=np.array(["a", "a", "a", "b", "b"])).key,
        made("source", reference=reference).key,
        made("source", reference=table).key,
    ]
    assert len(set(keys)) == len(keys)
    assert made("corpus", speakers=SPEAKERS[::-1]).key == keys[0]
    assert made("corpus", rows=np.array([1, 0, 0])).key == keys[2]
    assert made("speaker", speakers=np.array(["1", "2", "1", "2", "3"])).key == keys[4]
    assert made("source", reference=reference, rows=np.array([1])).key == keys[6]
    assert made("corpus").folder is not None
    assert made("corpus") is made("corpus")


def test_no_speaker_name_is_stored(own_cache: Path):
    names = np.array(["a-speaker-called-zoe", "b"] * 3)
    scored = normalised(some_table(rows=6), how="speaker", speakers=names, cache=own_cache)
    assert scored.folder is not None
    stored = [path for path in own_cache.rglob("*") if path.is_file()]
    assert sorted(path.name for path in stored) == ["instants.npy", "sha256.json", "summary.npy"]
    assert not any(b"zoe" in path.read_bytes() for path in stored)
    assert "zoe" not in scored.key


def test_blocks_do_not_change_the_result(own_cache: Path, tmp_path: Path, monkeypatch):
    table = some_table(rows=50)
    speakers = np.array(["a", "b", "a", "c", "b"] * 10)
    whole = normalised(table, how="speaker", speakers=speakers, cache=own_cache)
    monkeypatch.setattr(normalise, "_BLOCK_BYTES", 200)
    parts = normalised(table, how="speaker", speakers=speakers, cache=tmp_path / "other")
    np.testing.assert_allclose(parts.summary, whole.summary, atol=1e-6)
    np.testing.assert_allclose(parts.instants, whole.instants, atol=1e-6)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(0.01, 1e4), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 10**6))
def test_scale_and_shift_do_not_matter(own_cache: Path, scale: float, shift: float, seed: int):
    plain = np.random.default_rng(seed).normal(size=(20, 3))
    one, other = (
        scored_of(values, own_cache, key=f"{seed}-{scale}-{shift}-{number}")
        for number, values in enumerate((plain, plain * scale + shift))
    )
    np.testing.assert_allclose(one.summary, other.summary, atol=0.02 * max(1, 1 / scale))


def voices_of(*counts: int, key: str = "voices") -> Table:
    """So many utterances of each of several voices, far from each other in pitch and spectrum."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(len(counts)), counts)
    summary = rng.normal(size=(len(which), len(MINIMAL_SUMMARY))).astype(np.float32)
    columns = [MINIMAL_SUMMARY.index(name) for name in VOICE_COLUMNS]
    summary[:, columns] += 20 * rng.normal(size=(len(counts), len(columns)))[which]
    return table_of(summary, key=key)


def test_voices_that_are_apart_are_the_clusters():
    groups = estimated_speakers(voices_of(9, 4, 12))
    assert len(set(groups[:9]) | {groups[9]} | {groups[-1]}) == 3
    assert [len(set(part)) for part in np.split(groups, [9, 13])] == [1, 1, 1]


def test_rows_that_may_not_be_used_join_the_nearest_voice():
    voices, used = voices_of(9, 4, 12), np.array([0, 1, 2, 3, 13, 14, 15, 16])
    groups = estimated_speakers(voices, used)
    others = voices.summary.copy()
    others[[4, 20]] += 1.0
    changed = estimated_speakers(table_of(others), used)
    np.testing.assert_array_equal(np.delete(changed, [4, 20]), np.delete(groups, [4, 20]))
    assert set(groups[:9]) != set(groups[13:])


def test_alike_utterances_are_one_voice():
    assert not estimated_speakers(table_of(np.ones((5, len(MINIMAL_SUMMARY))))).any()


def test_estimated_speakers_use_no_name(own_cache: Path):
    table, voices = some_table(rows=20), voices_of(12, 8)

    def estimated(speakers: list[str], voices: Table = voices, **more: Any) -> Table:
        names = np.array(speakers)
        how: Normalisation = "estimated-speakers"
        return normalised(table, how=how, speakers=names, cache=own_cache, voices=voices, **more)

    scored = estimated(["a"] * 20)
    assert estimated(["a", "b"] * 10).key == scored.key
    speakers = np.repeat(["x", "y"], [12, 8])
    by_name = normalised(table, how="speaker", speakers=speakers, cache=own_cache)
    np.testing.assert_array_equal(scored.instants, by_name.instants)
    np.testing.assert_array_equal(scored.summary, by_name.summary)
    assert estimated(["a"] * 20, rows=np.arange(15)).key != scored.key
    assert estimated(["a"] * 20, voices_of(12, 8, key="others")).key != scored.key
