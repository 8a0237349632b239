"""Errors travel between processes and name what is near."""

from __future__ import annotations

import pickle

from clser_bench.errors import AudioError, MissingExtraError, did_you_mean


def test_errors_survive_pickling() -> None:
    for error in (AudioError("a.wav", "is empty"), MissingExtraError("egemaps", "opensmile")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
    assert "pip install 'clser-bench[opensmile]'" in str(MissingExtraError("egemaps", "opensmile"))


def test_the_nearest_name_comes_first() -> None:
    assert did_you_mean("ser", ["dann", "sere"]) == "; did you mean 'sere'? Known: dann, sere"
    assert did_you_mean("xyz", ["dann"]) == ". Known: dann"
    assert did_you_mean("xyz", []) == ". Known: none"
