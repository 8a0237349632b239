"""The command `breakdown`: joins recordings and results, says what is missing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from clser_bench.protocol import Pair
from clser_bench.report.breakdown import BY
from clser_bench.store.sqlite import Store
from tests.breakdowns import put
from tests.fake_corpora import write_tone
from tests.records import answer_key


@pytest.fixture
def breakdown(tmp_path, call, monkeypatch):
    """The command, on results whose target is listed in a manifest."""
    monkeypatch.setenv("COLUMNS", "200")
    lines = ["path,speaker,emotion,language,corpus,gender"]
    for row, emotion in enumerate(["anger", "happiness", "sadness"] * 4):
        write_tone(tmp_path / f"{row:03d}.wav", seconds=0.05 * (row + 1))
        speaker, gender = ("ada", "female") if row % 2 else ("bob", "male")
        lines.append(f"{row:03d}.wav,{speaker},{emotion},de,mine,{gender}")
    (tmp_path / "mine.csv").write_text("\n".join(lines), encoding="utf-8")
    key = answer_key([0, 1, 2] * 4, speakers=["bob", "ada"] * 6)
    with Store(tmp_path / "r.sqlite") as opened:
        put(opened, [[0, 1, 2] * 2 + [0] * 6], key, pairs=(Pair("B", "mine"),))

    def invoke(*arguments, recordings=("--manifest", "mine.csv")):
        return call("breakdown", "--results=r.sqlite", "--workers=1", *recordings, *arguments)

    return invoke


@pytest.mark.parametrize("by", [by for by in BY if by != "human"])
def test_the_command_prints_each_breakdown(breakdown, by):
    result = breakdown("--by", by)
    assert result.exit_code == 0, result.output
    assert "bc, 5 shots, transductive: " in result.stdout


def test_the_command_joins_recordings_and_results(breakdown):
    rows = json.loads(breakdown("--by", "length", "--format", "json").stdout)
    found = {row["group"]: row["mean"] for row in rows if row["pair"] == "mean"}
    # the long third, 0.45 to 0.6 s: anger right, the rest taken for anger
    assert found["long"] == pytest.approx(100 / 3, abs=1e-4)
    assert found["short"] == 100


def test_the_command_says_what_is_missing(breakdown):
    for by in ("gender", "length", "loudness"):
        result = breakdown("--by", by, recordings=())
        assert result.exit_code == 2
        assert "reads the recordings of mine: name the folder" in result.stderr
        assert "--corpora DIR" in result.stderr
    for arguments, told in (
        (["--by", "human"], "known of EMO-DB (B) only, and the results have mine"),
        (["--methods", "n"], "no results of 'n'"),
        (["--format", "pdf"], "no format 'pdf'"),
        (["--suite", "none"], "no results of suite 'none'"),
    ):
        result = breakdown(*arguments)
        assert (result.exit_code, told in result.stderr) == (2, True), arguments


@pytest.mark.real_speech
def test_the_command_on_real_recordings(  # noqa: PLR0917
    tmp_path, real_corpora, real_cache, read_real, call, monkeypatch
):
    monkeypatch.setenv("CLSER_CACHE", str(real_cache))
    corpus = read_real("B")
    classes = ("anger", "happiness", "sadness")
    chosen = [item for item in corpus.utterances if item.emotion in classes]
    y = np.array([classes.index(item.emotion) for item in chosen])
    key = answer_key(y.tolist(), speakers=[item.speaker for item in chosen])
    key = dataclasses.replace(key, names=tuple(item.name for item in chosen))
    with Store(tmp_path / "r.sqlite") as opened:
        put(opened, [y], key, pairs=(Pair("C", "B"),))
    arguments = ("--by", "human", "--results", "r.sqlite", "--format", "json")
    result = call("breakdown", *arguments, "--corpora", str(real_corpora))
    rows = [row for row in json.loads(result.stdout) if row["pair"] == "mean"]
    assert {row["mean"] for row in rows if row["figure"] == "uar"} == {100}
    assert sum(row["count"] for row in rows if row["figure"] == "uar") == 127 + 71 + 62
