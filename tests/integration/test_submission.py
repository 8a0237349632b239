"""Systems outside the package: draws are written, predictions are checked, scored and shown."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import stat
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.run.draws import private_file, stored_draws
from clser_bench.store.sqlite import Store
from tests.tiny import stored, write_corpora, write_method
from tests.tools import load

RESULTS = Path("results/clser.sqlite")
CARD = """
title = "Nearest mean"
about = "class means of two spectral figures"
uses = ["labelled"]
data = "nothing but the draws"
heard = { X = "no", Y = "labels" }
parameters = 4
cost = "a second on one core"
"""

pytestmark = pytest.mark.usefixtures("packed")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    write_corpora(folder / "corpora", codes="XY")
    write_method(folder / "methods", "near", about="Nearest centroids.")
    return folder


@pytest.fixture
def call(places, tmp_path):
    (tmp_path / "system.toml").write_text(CARD, encoding="utf-8")

    def go(command, *arguments, fails=False):
        done = CliRunner().invoke(app, [command, *arguments])
        assert fails == (done.exit_code != 0), done.output
        return done

    return go


@pytest.fixture
def write(places, call):
    usual = ("--manifest", str(places), "--seeds", "2")
    return lambda *more: call("draws", *usual, "--shots", "1", "--out", "draws", *more)


def score(call, file, *more, fails=False):
    usual = ("--draws", "draws", "--name", "outside", "--card", "system.toml")
    return call("score", file, *usual, *more, fails=fails)


def rows_of(part=""):
    with Path("draws/draws.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if part in ("", row["part"])]


def guess():
    """Write a class for every scored row."""
    made = [{"trial": r["trial"], "id": r["id"], "emotion": "anger"} for r in rows_of("scored")]
    pd.DataFrame(made).to_csv("predictions.csv", index=False)


@pytest.fixture
def guesses(write):
    """Draws, and a class for every scored row."""
    write()
    guess()


def test_a_target_row_says_nothing(write, shared):
    write("--audio", "copy")
    manifest = pd.read_csv(shared / "corpora" / "manifest.csv")
    texts = Path("draws/draws.csv").read_text() + Path("draws/draws.json").read_text()
    files = sorted(path.name for path in Path("draws").rglob("*"))
    for word in {*manifest.path, *manifest.speaker, *(p.split(".")[0] for p in manifest.path)}:
        assert word not in texts + " ".join(files)
    rows = rows_of()
    assert {row["emotion"] for row in rows if row["part"] != "labelled"} == {""}
    sides = [{r["id"] for r in rows if (r["part"] in ("adapt", "scored")) == t} for t in (0, 1)]
    assert not sides[0] & sides[1], "the labels of Y→X name no target of X→Y"
    ids = [row["id"] for row in rows_of("scored") if row["trial"] == "X:Y:1:0"]
    assert ids == sorted(set(ids))
    sound = sorted(Path("draws/audio").iterdir())
    assert {f"audio/{path.name}" for path in sound} == {row["audio"] for row in rows}
    originals = {soundfile.read(shared / "corpora" / name)[0].tobytes() for name in manifest.path}
    assert {soundfile.read(path)[0].tobytes() for path in sound} == originals
    private = private_file(RESULTS)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert json.loads(private.read_text())["salt"] not in texts
    assert not list(Path("draws").rglob("*.sqlite*"))


def test_the_same_request_gives_the_same_bytes(write):
    write()
    first = {path.name: path.read_bytes() for path in Path("draws").iterdir()}
    write("--audio", "link")
    assert Path("draws/draws.json").read_bytes() == first["draws.json"]
    write()
    assert Path("draws/draws.csv").read_bytes() == first["draws.csv"]
    ids = [row["id"] for row in rows_of()]
    write("--table", "parquet")
    assert pd.read_parquet("draws/draws.parquet").id.tolist() == ids
    assert {path.name for path in Path("draws").iterdir()} >= {"draws.json", "draws.parquet"}
    assert not Path("draws/draws.csv").exists(), "a folder has one table"


@pytest.mark.parametrize("setting", ["transductive", "inductive"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "classes"])
def test_the_products_own_predictions_give_the_same_cells(call, places, kind, setting):
    draws = ("--manifest", str(places), "--setting", setting, "--shots", "1", "--seeds", "2")
    call("run", *draws, "--methods", "near", "--scheduler", "local")
    call("draws", *draws, "--out", "draws")
    found = stored_draws(Path("draws"), RESULTS)
    made = []
    for record in stored(RESULTS):
        trial = record.trial
        one = found.trials[f"{trial.pair.source}:{trial.pair.target}:1:{trial.seed}"]
        names = [name for fold in one.folds for name in fold.key.names]
        ids = dict(zip(names, [i for fold in one.ids for i in fold], strict=True))
        for name, scores in zip(record.names, record.scores, strict=True):
            values = dict(zip(one.classes, scores.tolist(), strict=True))
            answer = {"emotion": one.classes[int(scores.argmax())]} if kind == "classes" else values
            made.append({"trial": one.name, "id": ids[name], **answer})
    frame = pd.DataFrame(made).sample(frac=1, random_state=0)
    file = "predictions.parquet" if kind == "parquet" else "predictions.csv"
    (frame.to_parquet if kind == "parquet" else frame.to_csv)(file, index=False)
    score(call, file)
    every = {(r.trial.method, r.trial.pair, r.trial.seed): r for r in stored(RESULTS)}
    assert len(every) == 8
    for (method, pair, seed), record in every.items():
        own = every["near", pair, seed]
        assert record.metrics == own.metrics
        assert record.predicted.tobytes() == own.predicted.tobytes()
        if kind != "classes" or method == "near":
            assert record.scores.tobytes() == own.scores.tobytes()
        else:
            assert not len(record.scores)
    with Store(RESULTS) as store:
        frame = store.frame()
    assert set(frame.role[frame.method == "outside"]) == {"submitted"}


def test_a_submission_is_shown_with_its_card_and_not_ranked(call, write, places):
    write("--audio", "copy")
    usual = ("--manifest", str(places), "--scheduler", "local", "--shots", "1", "--seeds", "2")
    call("run", *usual, "--methods", "near,chance")
    load("nearest_mean", folder="docs").main(["draws", "predictions.csv"])
    done = score(call, "predictions.csv")
    assert "4 trials of outside stored" in done.stderr
    assert "Nearest mean (submitted)" in done.stdout
    assert "different audio" not in done.stdout
    assert call("leaderboard").stdout == done.stdout
    rows = json.loads(call("leaderboard", "--format", "json").stdout)
    outside = [row for row in rows if row["method"] == "outside"]
    assert {row["kind"] for row in outside} == {"submitted"}
    assert {row["uar_mean"] for row in outside} == {100.0}, "pitch parts the tones"
    assert "trained with the labels of Y" in call("leaderboard", "--format", "md").stdout
    call("resume")  # the last run of methods
    call("export", "ours.parquet")
    call("import", "ours.parquet", "--results", "other.sqlite")
    other = json.loads(call("leaderboard", "--results", "other.sqlite", "--format", "json").stdout)
    assert other == rows
    card = json.loads(call("card").stdout)
    (method,) = [item for item in card["methods"] if item["method"] == "outside"]
    assert (method["role"], method["imported"]) == ("submitted", "predictions.csv")


def test_one_answer_may_hold_for_all_trials(call, write):
    write()
    ids = sorted({row["id"] for row in rows_of("scored")})
    frame = pd.DataFrame({"id": ids, "anger": 0.5, "fear": "", "sadness": 0.25})
    frame.to_csv("p.csv", index=False)
    score(call, "p.csv")
    assert {record.metrics and record.metrics.uar for record in stored(RESULTS)} == {50.0}


def put(row, column, value):
    """Changes a value of the predictions."""

    def change(frame):
        frame.loc[row, column] = value
        return frame

    return change


def scored(value):
    """Writes scores in place of classes, one of them as given."""
    put_value = put(0, "anger", value)
    return lambda f: put_value(f.drop(columns="emotion").assign(anger="1", sadness="0"))


NO_COLUMN = "it needs id and either emotion or a column of scores"
NOT_FINITE = "line 2: score of anger is missing or not finite"
FAULTS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda f: f[:-1], r"trial Y:X:1:1: 1 of 12 ids are missing: [0-9a-f]{20}"),
    (lambda f: pd.concat([f, f[:1]]), r"line 50: id \w+ of trial X:Y:1:0 is there twice"),
    (put(2, "emotion", "joy"), "line 4: class 'joy' is none of the trial's: anger, sadness"),
    (put(0, "trial", "X:Z:1:0"), "line 2: trial 'X:Z:1:0' is not in"),
    (put(1, "id", "a" * 20), "line 3: id 'a{20}' is not scored in trial"),
    *((scored(value), NOT_FINITE) for value in ("nan", "inf", "")),
    *((scored(v), f"line 2: score of anger '{v}' is no number") for v in ("1_0", "high")),
    (lambda f: f[["id", "trial"]], NO_COLUMN),
    (lambda f: f.assign(anger="1"), NO_COLUMN),
    (
        lambda f: f.rename(columns={"emotion": "angr"}),
        r"column 'angr' is unknown; did you mean 'anger'\?",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_faults_are_named(call, guesses, spoil, message):
    spoil(pd.read_csv("predictions.csv", dtype=str)).to_csv("predictions.csv", index=False)
    done = score(call, "predictions.csv", fails=True)
    assert "Error: predictions.csv" in done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert not RESULTS.exists() or not stored(RESULTS)


def test_ties_are_counted(call, guesses):
    frame = scored("0")(pd.read_csv("predictions.csv", dtype=str))
    frame.to_csv("predictions.csv", index=False)
    done = score(call, "predictions.csv")
    assert "1 of 48 predictions are ties, which count for the first class" in done.stdout


def test_other_labels_are_other_draws(call, tmp_path):
    manifest = write_corpora(tmp_path / "own", codes="XY")
    call("draws", "--manifest", str(manifest), "--shots", "1", "--seeds", "1", "--out", "draws")
    guess()
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("anger-0.wav,X-ann,anger", "anger-0.wav,X-ann,sadness"))
    done = score(call, "predictions.csv", fails=True)
    assert "recordings, labels or the protocol changed since" in done.stderr
    private_file(RESULTS).unlink()
    done = score(call, "predictions.csv", fails=True)
    assert "are not known to results/clser.sqlite.draws.json" in done.stderr


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("uses = []\ndata = 'x'", "missing key 'about'"),
        (CARD + "size = 3", "unknown key 'size'"),
        (CARD.replace("about", "abot"), "unknown key 'abot'; did you mean 'about'"),
        (CARD.replace('["labelled"]', '["labels"]'), "uses.0: Input should be"),
        (CARD.replace("X =", "Xx ="), "heard: corpus 'Xx' is unknown; did you mean 'X'"),
    ],
)
def test_a_card_is_complete(call, guesses, card, message):
    Path("system.toml").write_text(card, encoding="utf-8")
    assert message in score(call, "predictions.csv", fails=True).stderr


def test_a_name_is_no_method(call, guesses):
    done = score(call, "predictions.csv", "--name", "sere", fails=True)
    assert "is that of a method" in done.stderr


def test_draws_lie_neither_over_a_manifest_nor_beside_the_results(call, places, tmp_path):
    manifest = write_corpora(tmp_path / "own", codes="XY").rename(tmp_path / "own" / "draws.csv")
    before = manifest.read_bytes()
    done = call("draws", "--manifest", str(manifest), "--out", str(manifest.parent), fails=True)
    assert "the draws would overwrite this manifest; name another folder" in done.stderr
    assert manifest.read_bytes() == before
    done = call("card", "--out", "draws.csv", fails=True)
    assert "draws.csv: name a file that ends in .json" in done.stderr
    Path("made").mkdir()
    Path("link").symlink_to("made")
    results = Path("made/x.sqlite")
    for out, file in (("results", RESULTS), ("made/../made", results), ("link", results)):
        usual = ("--manifest", str(places), "--out", out, "--results", str(file))
        assert "the key of the ids" in call("draws", *usual, fails=True).stderr
        assert not file.exists()
        assert not private_file(file).exists()
    assert not Path("results").exists()


class Stub(BaseHTTPRequestHandler):
    """An endpoint that names low tones anger, is busy at first, and refuses now and then."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Answer a chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
        if len(self.asked) == 1:
            self.send_error(503)
            return
        sound, text = body["messages"][0]["content"]
        samples, rate = soundfile.read(
            io.BytesIO(base64.b64decode(sound["input_audio"]["data"])), dtype="float64"
        )
        pitch = np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)
        word = "I cannot tell." if pitch < 152 else "Anger." if pitch < 210 else "sadness"
        assert "anger, sadness" in text["text"]
        answer = json.dumps({"choices": [{"message": {"content": word}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_endpoint_with_audio_input_is_asked_and_scored(call, write, monkeypatch, capsys):
    write("--audio", "copy")
    tool = load("ask_endpoint", folder="docs")
    monkeypatch.setattr(tool.time, "sleep", lambda _: None)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    Stub.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}/v1"
        tool.main(["draws", "predictions.csv", "--url", place, "--model", "stub"])
        first = Path("predictions.csv").read_bytes()
        count = len(Stub.asked)
        tool.main(["draws", "predictions.csv", "--url", place, "--model", "stub"])
        server.shutdown()
    assert count == len(Stub.asked) == 24 + 1, "each utterance once, and one when it was busy"
    assert Path("predictions.csv").read_bytes() == first
    assert {(one["path"], one["key"]) for one in Stub.asked} == {
        ("/v1/chat/completions", "Bearer secret")
    }
    assert "24 answers" in capsys.readouterr().err
    done = score(call, "predictions.csv")
    assert "4 trials of outside stored" in done.stderr
    assert all(r.metrics and r.metrics.uar > 80 for r in stored(RESULTS))
