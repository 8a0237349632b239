"""Cards written after a run and made again from nothing but the card."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.hashing import digest
from clser_bench.problem import Value
from clser_bench.protocol import Condition, Pair
from clser_bench.run import execute, provenance
from clser_bench.run.request import Request, is_local
from tests.tiny import stored, write_corpora, write_method

USUAL = ("--shots", "1", "--seeds", "3")
OLD = Condition(protocol_version=99)


def call(*arguments, code=0):
    """The outcome of a command that ends with a status."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Corpora, two methods, and cards of two runs with their results: many tests read them."""
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora", codes="XY")
    write_corpora(folder / "four", codes="VWXY", takes=2)
    write_method(folder / "methods", "near", grid=(1.0, 10.0))
    fails = f"if os.path.exists({str(folder / 'fail')!r}): raise RuntimeError('as asked')"
    write_method(folder / "methods", "far", body=fails)
    run = ("run", *at(folder / "corpora"), *USUAL, "--methods")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLSER_CACHE", str(folder / "cache"))
        patch.setenv("CLSER_METHODS", str(folder / "methods"))
        patch.delenv("CLSER_CORPORA", raising=False)
        patch.chdir(folder)
        call(*run, "chance,near,far,within-target")
        call("card", "--out", "card.json")
        noisy = ("--results", "noisy.sqlite", "--corruption")
        call(*run, "near", *noisy, "noise:40,-20")
        call("card", *noisy, "clean", "--out", "clean.json")
        call("card", *noisy, "noise:-20", "--out", "noisy.json")
        yield folder


def at(folder):
    """Words that name the corpora of a folder."""
    return ("--manifest", str(folder / "manifest.csv"), "--scheduler", "local")


@pytest.fixture
def places(shared, tmp_path, monkeypatch):
    """Words that name corpora, in a folder with the cards and the results of the first."""
    for name in ("card.json", "clean.json", "noisy.json"):
        shutil.copy(shared / name, tmp_path)
    (tmp_path / "results").mkdir()
    shutil.copy(shared / "results" / "clser.sqlite", tmp_path / "results")
    for name in ("cache", "methods"):
        monkeypatch.setenv(f"CLSER_{name.upper()}", str(shared / name))
    monkeypatch.chdir(tmp_path)
    return at(shared / "corpora")


@pytest.fixture
def again(places):
    return lambda card, *more, **ends: call("reproduce", card, *places, *more, **ends)


def read(path):
    return json.loads(Path(path).read_text())


def rewrite(path, change):
    """Change a card by hand, with a fitting hash."""
    values = read(path)
    change(values)
    values["sha256"] = digest({k: v for k, v in values.items() if k != "sha256"})
    Path(path).write_text(json.dumps(values))


def verdicts(done):
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {(row[0], row[1]): row[2] for row in rows}


def test_a_run_is_made_again_from_its_card_and_once_only(again):
    done = again("card.json")
    # two pairs and the mean over them, of four methods
    assert list(verdicts(done).values()) == ["identical"] * 12
    counts = "12 cells (means over pairs included): 12 identical, 0 within noise, 0 different."
    assert counts in done.stderr
    assert "in the card" not in done.stderr  # the same versions
    assert [path.name for path in Path("results").glob("reproduced-*.sqlite")]
    assert "is there from before" in again("card.json", code=2).stderr
    done = again("card.json", "--results", "results/clser.sqlite")
    assert re.search(r"(\d\d) of \1 trials were in results/clser.sqlite before", done.stderr)


def test_the_command_of_a_card_makes_the_same_trials_and_names_no_place(shared, places, tmp_path):
    rules = ("--normalise", "speaker", "--setting", "inductive", "--classes", "fixed4")
    more = ("--methods", "near,far", "--set", "near.weight=0.5", "--results", "one.sqlite")
    call("run", *places, *USUAL, *rules, *more)
    text = call("card", "--results", "one.sqlite").stdout
    for secret in (str(shared), str(tmp_path), str(Path.home()), os.uname().nodename):
        assert secret not in text
    card = json.loads(text)
    assert set(card.pop("machine")) == {"processor", "cores", "memory_gib", "system", "methods"}
    assert os.sep not in json.dumps(card)
    (command,) = card["commands"]
    assert command == (
        "clser-bench run --normalise speaker --setting inductive --classes fixed4 --manifest FILE "
        "--pairs 'X->Y,Y->X' --methods near,far --shots 1 --seeds 3 --set near.weight=0.5"
    )
    words = [places[1] if word == "FILE" else word for word in shlex.split(command)[1:]]
    call(*words, "--scheduler", "local", "--results", "other.sqlite")
    ids = [{record.trial.id for record in stored(Path(f"{n}.sqlite"))} for n in ("one", "other")]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 12


def test_a_table_of_two_runs_is_made_again_by_both(places, again):
    two = ("--results", "two.sqlite")
    for methods, seeds in (("near", "3"), ("far", "2")):
        call("run", *places, *two, "--methods", methods, "--shots", "1", "--seeds", seeds)
    call("card", "--out", "card.json", *two)
    card = read("card.json")
    assert [(r["methods"], r["seeds"]) for r in card["requests"]] == [(["near"], 3), (["far"], 2)]
    assert {m["method"]: m["seeds"] for m in card["methods"]} == {"near": [0, 1, 2], "far": [0, 1]}
    assert set(verdicts(again("card.json")).values()) == {"identical"}


@pytest.mark.usefixtures("places")
def test_what_was_chosen_by_other_pairs_is_chosen_again(shared):
    four = ("--results", "four.sqlite", "--selection", "other-pairs")
    rules = ("--methods", "near", "--shots", "1", "--seeds", "1", "--with", "point")
    made = call("run", *at(shared / "four"), *four, *rules)
    assert [line for line in made.stdout.splitlines() if line.startswith("near: weight=")]
    assert call("leaderboard", *four, "--with", "point").stdout == made.stdout
    call("card", "--out", "card.json", "--results", "four.sqlite")
    card = read("card.json")
    assert card["condition"]["selection"] == "other-pairs"
    assert card["requests"][0]["pairs"] == []
    done = call("reproduce", "card.json", *at(shared / "four"))
    assert list(verdicts(done).values()) == ["identical"] * 13


def test_a_changed_draw_other_versions_and_a_method_that_fails_here_are_named(again, shared):
    def better(card):
        card["software"]["packages"]["numpy"] = "1.0"
        (near,) = [method for method in card["methods"] if method["method"] == "near"]
        near["cells"][1]["uars"][1] -= 40
        near["cells"][1]["mean"] -= 40 / 3
        near["version"] = 3
        near["parameters"]["weight"] = 2.0

    rewrite("card.json", better)
    (shared / "fail").touch()
    done = again("card.json", code=1)
    (shared / "fail").unlink()
    found = verdicts(done)
    for cell in (("near", "Y→X"), ("near", "mean"), ("far", "X→Y"), ("far", "Y→X")):
        assert found.pop(cell) == "different"
    assert set(found.values()) == {"identical"}
    assert "4 different." in done.stderr
    assert "ok in the card, failed here: RuntimeError: as asked" in done.stdout
    assert "numpy: 1.0 in the card, " in done.stderr
    assert "near: version 3 in the card, 1 here" in done.stderr
    assert "near: other hyper-parameters here for all pairs" in done.stderr


@pytest.mark.usefixtures("places")
def test_other_labels_are_named_before_the_cells(tmp_path):
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    text = manifest.read_text()
    right = "X-ann-anger-0.wav,X-ann,anger"
    manifest.write_text(text.replace(right, right.replace(",anger", ",sadness")))
    done = call("reproduce", "card.json", *at(manifest.parent), code=1)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("other audio")]
    assert line.endswith(": X")


def with_features(name):
    return lambda card: card["requests"][0]["condition"].update(features=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(condition=OLD.texts()), "protocol version 99"),
        (lambda card: card.update(requests=[]), "no request"),
        (with_features("hf:./model:layer=2"), "name your copy with --features"),
        (with_features("set:de=hf:/home/someone/model,zh=mel"), "name your copy with --features"),
        (with_features("set:./mine.toml"), "name your copy with --features"),
        (with_features(f"hf:a/b@{'0' * 40}:remote-code"), "read that code"),
    ],
)
def test_what_cannot_be_made_again_is_said_before_anything_runs(again, change, message):
    rewrite("card.json", change)
    assert message in again("card.json", code=2).stderr
    assert not list(Path("results").glob("reproduced-*"))


@pytest.mark.usefixtures("places")
def test_places_are_asked_for():
    done = call("reproduce", "card.json", "--scheduler", "local", code=2)
    assert "name yours with --manifest" in done.stderr


def test_a_card_a_table(places):
    two = ("--results", "two.sqlite")
    call("run", *places, *two, "--methods", "near", "--shots", "1,2", "--seeds", "1")
    assert "2 tables" in call("card", *two, code=2).stderr
    call("card", *two, "--out", "made/card.json")
    assert [read(f"made/card-{n}.json")["condition"]["shots"] for n in (1, 2)] == ["1", "2"]
    assert json.loads(call("card", *two, "--shots", "2").stdout)["condition"]["shots"] == "2"
    done = call("card", *two, "--shots", "9", code=2)
    assert "no results of shots '9'; there are of: 1, 2" in done.stderr


def test_a_corrupted_table_is_made_again_and_not_the_clean_one(again):
    clean, noisy = read("clean.json"), read("noisy.json")
    draws = [[cell["uars"] for cell in card["methods"][0]["cells"]] for card in (clean, noisy)]
    assert draws[0] != draws[1]  # else comparing the wrong table would go unnoticed
    assert clean["requests"][0]["corruptions"] == []
    assert "--corruption" not in clean["commands"][0]
    (request,) = noisy["requests"]
    assert (request["condition"]["features"], request["corruptions"]) == ("minimal", ["noise:-20"])
    assert noisy["commands"][0].endswith(" --corruption noise:-20")
    done = again("noisy.json", "--results", "again.sqlite")
    assert list(verdicts(done).values()) == ["identical"] * 3
    assert "other audio" not in done.stderr
    found = {record.trial.condition.features_label for record in stored(Path("again.sqlite"))}
    assert found == {"minimal", "minimal, target noise:-20"}


@pytest.mark.parametrize(
    ("corruptions", "message"),
    [
        (["noise:40"], "selection default and target noise:-20, as the card has it"),
        ([], "selection default and target noise:-20, as the card has it"),
        (["nois:1"], "corruption 'nois' is unknown; did you mean 'noise'"),
        (["noise:999"], "must lie within -30 and 60"),
        ([""], "requests.0.corruptions.0"),
    ],
)
def test_a_request_that_is_not_of_its_table_is_refused(again, corruptions, message):
    rewrite("noisy.json", lambda card: card["requests"][0].update(corruptions=corruptions))
    assert message in again("noisy.json", code=2).stderr
    ran = bool(list(Path("results").glob("reproduced-*")))
    assert ran == ("as the card has it" in message)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ("hf:/home/ann/model:layer=3", "hf:./model:layer=3"),
        ("set:/home/ann/mine.toml", "set:./mine.toml"),
        ("set:de=hf:/home/ann/model:layer=1,zh=mel", "set:de=hf:./model:layer=1,zh=mel"),
        ("set:heterogeneous", "set:heterogeneous"),
        ("mel+table:/home/ann/own.npz:pool=sd", "mel+table:./own.npz:pool=sd"),
        # whatever else was open is named as the table has it
        ("hf:facebook/hubert", "hf:facebook/hubert@abc:layer=12"),
        ("mel+mfcc", "hf:facebook/hubert@abc:layer=12"),
    ],
)
def test_features_are_named_without_folders(features, named):
    request = Request(condition=Condition(features=features))
    assert narrowed(request, features="hf:facebook/hubert@abc:layer=12").condition.features == named
    assert is_local(named) == ("./" in named)


def narrowed(request, **table):
    usual = {"suite": "bcro", "pairs": (), "features": "minimal", "methods": ("sere",), "shots": 5}
    return request.narrowed(**{**usual, **table})


def test_what_was_left_to_the_corpora_at_hand_is_named():
    asked = Request(corpora=Path("/home/ann"), results=Path("/home/ann/r.sqlite"))
    table = (Pair("B", "C"), Pair("C", "B"))
    chosen = narrowed(asked, pairs=table)
    assert (chosen.condition.suite, chosen.pairs, chosen.corpora) == ("bcro", (), None)
    # whoever has more corpora than the author still gets these pairs
    found = narrowed(asked, suite="custom", pairs=table)
    assert (found.condition.suite, found.pairs) == ("custom", table)
    found = narrowed(asked.replace(pairs=table[:1]), suite="custom", pairs=table)
    assert found.pairs == table[:1]
    alone = asked.replace(manifests=(Path("/home/ann/m.csv"),))
    found = narrowed(alone, suite="custom", pairs=table)
    assert (found.condition.suite, found.pairs, found.manifests) == ("", table, ())


def test_a_method_that_is_set_stays_in_the_request():
    """Without it the others would have another selection."""
    settings: dict[str, dict[str, Value]] = {"dann": {"steps": 4, "dual": True}}
    request = narrowed(Request(methods=("sere", "dann"), settings=settings), shots="all")
    assert request.methods == ("sere", "dann")
    line = request.command(folder=True, manifests=0)
    assert line.startswith("clser-bench run --suite bcro --corpora DIR --methods sere,dann ")
    assert line.endswith("--set dann.dual=true --set dann.steps=4")


def test_code_outside_a_checkout_has_no_commit(tmp_path):
    assert provenance._checkout(tmp_path) == ("", None)
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert provenance._checkout(tmp_path) == ("", None)


def test_a_confirmation_is_frozen_before_it_runs(shared, places, monkeypatch):
    usual = ("--shots", "1", "--seeds", "3", "--results", "r.sqlite")
    call("run", *places, *usual, "--methods", "near,chance")
    ask = ("confirm", "r.sqlite", "--suite", "custom")
    file = Path("r-confirm-custom.json")
    done = call(*ask, *at(shared / "four"), code=2)
    assert "has results on X, Y of suite custom-" in done.stderr
    assert not file.exists(), "nothing is frozen for what was looked at"

    ask += at(write_corpora(Path("others"), codes="PQ").parent)
    seen: list[bool] = []
    whole = execute.run

    def watched(*arguments: Any, **more: Any) -> Any:
        seen.append(file.exists())
        return whole(*arguments, **more)

    monkeypatch.setattr(execute, "run", watched)
    done = call(*ask)
    assert seen == [True]
    card = json.loads(file.read_text())
    assert [method["name"] for method in card["methods"]] == ["near", "chance"]
    assert {row["method"] for row in card["explored"]} == {"near", "chance"}
    assert f"confirmed (card {card['digest'][:12]})" in done.stdout
    call(*ask)  # the same command goes on
    file.write_text(json.dumps({**card, "seeds": 9}))
    assert "was changed after it was written" in call(*ask, code=2).stderr
