"""Errors travel between processes and name what is near."""

from __future__ import annotations

import pickle

from clser_bench.errors import AudioError, MissingExtraError, did_you_mean, printable


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
    many = map(str, range(100, 173))
    assert did_you_mean("xyz", many, command="list methods").endswith(
        "108, 109 and 63 more; `clser-bench list methods` has all"
    )


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    assert printable("a\x1b]0;owned\x07\r\u202eb\x9b2J\ud800") == (
        r"a\x1b]0;owned\x07\r\u202eb\x9b2J\ud800"
    )
    assert (
        printable("line\n\tnext, \u0645\u06cc\u200c\u062e")
        == "line\n\tnext, \u0645\u06cc\u200c\u062e"
    )


def test_a_long_text_keeps_its_ends() -> None:
    text = printable("Traceback (most recent" + "x" * 300_000 + "ValueError: the reason")
    assert text.startswith("Traceback (most")
    assert text.endswith("ValueError: the reason")
    assert "characters left out" in text
    assert len(text) < 20_100
