"""Cards written after a run and made again from nothing but the card."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clser_bench.cli.main import app
from clser_bench.hashing import digest
from clser_bench.protocol import Condition, Pair
from clser_bench.run import execute, provenance
from clser_bench.run.request import Request, is_local
from clser_bench.store.sqlite import Store
from tests.tiny import write_corpora, write_method

Call = Callable[..., Result]

NOISY = "minimal, target noise:-20"
USUAL = ("--shots", "1", "--seeds", "3")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Corpora, two methods, and cards of two runs with their results: many tests read them."""
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora", codes="XY")
    write_corpora(folder / "four", codes="VWXY", takes=2)
    write_method(folder / "methods", "near", grid=(1.0, 10.0))
    fails = f"if os.path.exists({str(folder / 'fail')!r}): raise RuntimeError('as asked')"
    write_method(folder / "methods", "far", body=fails)
    manifest = ("--manifest", str(folder / "corpora" / "manifest.csv"), "--scheduler", "local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLSER_CACHE", str(folder / "cache"))
        patch.setenv("CLSER_METHODS", str(folder / "methods"))
        patch.delenv("CLSER_CORPORA", raising=False)
        patch.chdir(folder)
        methods = "chance,near,far,within-target"
        assert invoke("run", *manifest, *USUAL, "--methods", methods).exit_code == 0
        assert invoke("card", "--out", "card.json").exit_code == 0
        noisy = ("--corruption", "noise:40,-20", "--results", "noisy.sqlite")
        assert invoke("run", *manifest, *USUAL, "--methods", "near", *noisy).exit_code == 0
        for level, name in (("clean", "clean.json"), ("noise:-20", "noisy.json")):
            of = ("--results", "noisy.sqlite", "--corruption", level, "--out", name)
            assert invoke("card", *of).exit_code == 0
        yield folder


@pytest.fixture
def call(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Commands in a folder of their own, with the cards and the results of the first."""
    for name in ("card.json", "clean.json", "noisy.json"):
        shutil.copy(shared / name, tmp_path)
    (tmp_path / "results").mkdir()
    shutil.copy(shared / "results" / "clser.sqlite", tmp_path / "results")
    for name in ("cache", "methods"):
        monkeypatch.setenv(f"CLSER_{name.upper()}", str(shared / name))
    monkeypatch.chdir(tmp_path)
    return invoke


@pytest.fixture
def places(shared: Path) -> list[str]:
    return ["--manifest", str(shared / "corpora" / "manifest.csv"), "--scheduler", "local"]


@pytest.fixture
def again(call: Call, places: list[str]) -> Call:
    return lambda card, *arguments: call("reproduce", card, *places, *arguments)


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


def rewrite(path: str, change: Callable[[dict], object], *, seal: bool = True) -> None:
    """Change a card by hand, with or without a fitting hash."""
    values = read(path)
    change(values)
    if seal:
        values["sha256"] = digest({k: v for k, v in values.items() if k != "sha256"})
    Path(path).write_text(json.dumps(values))


def verdicts(done: Result) -> dict[tuple[str, str], str]:
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {(row[0], row[1]): row[2] for row in rows}


def conditions(results: str) -> set[str]:
    with Store(Path(results), create=False) as store:
        return {record.trial.condition.features_label for record in store.records()}


def test_a_run_is_made_again_from_its_card_and_once_only(again: Call) -> None:
    done = again("card.json")
    assert done.exit_code == 0, done.output
    # two pairs and the mean over them, of four methods
    assert len(verdicts(done)) == 12
    assert set(verdicts(done).values()) == {"identical"}
    counts = "12 cells (means over pairs included): 12 identical, 0 within noise, 0 different."
    assert counts in done.stderr
    assert "in the card" not in done.stderr  # the same versions
    assert [path.name for path in Path("results").glob("reproduced-*.sqlite")]
    done = again("card.json")
    assert done.exit_code == 2
    assert "is there from before" in done.stderr
    done = again("card.json", "--results", "results/clser.sqlite")
    assert re.search(r"(\d\d) of \1 trials were in results/clser.sqlite before", done.stderr)


def test_the_command_of_a_card_makes_the_same_trials_and_names_no_place(
    call: Call, shared: Path, places: list[str], tmp_path: Path
) -> None:
    rules = ("--normalise", "speaker", "--setting", "inductive", "--classes", "fixed4")
    more = ("--methods", "near,far", "--set", "near.weight=0.5", "--results", "one.sqlite")
    assert call("run", *places, *USUAL, *rules, *more).exit_code == 0
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
    assert call(*words, "--scheduler", "local", "--results", "other.sqlite").exit_code == 0
    with Store(Path("one.sqlite")) as one, Store(Path("other.sqlite")) as two:
        ids = [{record.trial.id for record in store.records()} for store in (one, two)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 12


def test_a_table_of_two_runs_is_made_again_by_both(
    call: Call, places: list[str], again: Call
) -> None:
    for methods, seeds in (("near", "3"), ("far", "2")):
        rules = ("--methods", methods, "--shots", "1", "--seeds", seeds)
        call("run", *places, *rules, "--results", "two.sqlite")
    call("card", "--out", "card.json", "--results", "two.sqlite")
    card = read("card.json")
    assert [(r["methods"], r["seeds"]) for r in card["requests"]] == [(["near"], 3), (["far"], 2)]
    assert {m["method"]: m["seeds"] for m in card["methods"]} == {"near": [0, 1, 2], "far": [0, 1]}
    done = again("card.json")
    assert done.exit_code == 0, done.output
    assert set(verdicts(done).values()) == {"identical"}


def test_what_was_chosen_by_other_pairs_is_chosen_again(shared: Path, call: Call) -> None:
    places = ("--manifest", str(shared / "four" / "manifest.csv"), "--scheduler", "local")
    rules = ("--methods", "near", "--shots", "1", "--seeds", "1", "--selection", "other-pairs")
    made = call("run", *places, *rules, "--results", "four.sqlite")
    assert made.exit_code == 0, made.output
    call("card", "--out", "card.json", "--results", "four.sqlite")
    card = read("card.json")
    assert card["condition"]["selection"] == "other-pairs"
    assert card["requests"][0]["pairs"] == []
    done = call("reproduce", "card.json", *places)
    assert done.exit_code == 0, done.output
    assert len(verdicts(done)) == 13
    assert set(verdicts(done).values()) == {"identical"}


def test_a_changed_draw_and_other_versions_with_a_fitting_hash_are_named(again: Call) -> None:
    def better(card: dict) -> None:
        card["software"]["packages"]["numpy"] = "1.0"
        (near,) = [method for method in card["methods"] if method["method"] == "near"]
        near["cells"][1]["uars"][1] -= 40
        near["cells"][1]["mean"] -= 40 / 3
        near["version"] = 3
        near["parameters"]["weight"] = 2.0

    rewrite("card.json", better)
    done = again("card.json")
    assert done.exit_code == 1
    found = verdicts(done)
    assert found.pop(("near", "Y→X")) == "different"
    assert found.pop(("near", "mean")) == "different"
    assert set(found.values()) == {"identical"}
    assert "2 different." in done.stderr
    assert "numpy: 1.0 in the card, " in done.stderr
    assert "near: version 3 in the card, 1 here" in done.stderr
    assert "near: other hyper-parameters here for all pairs" in done.stderr


def test_other_labels_are_named_before_the_cells(call: Call, tmp_path: Path) -> None:
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    text = manifest.read_text()
    manifest.write_text(
        text.replace("X-ann-anger-0.wav,X-ann,anger", "X-ann-anger-0.wav,X-ann,sadness")
    )
    done = call("reproduce", "card.json", "--manifest", str(manifest), "--scheduler", "local")
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("other audio")]
    assert line.endswith(": X")


def test_a_method_that_fails_here_is_different(again: Call, shared: Path) -> None:
    (shared / "fail").touch()
    done = again("card.json")
    (shared / "fail").unlink()
    assert done.exit_code == 1
    assert verdicts(done)["far", "X→Y"] == "different"
    assert "ok in the card, failed here: RuntimeError: as asked" in done.stdout
    assert verdicts(done)["near", "mean"] == "identical"


def rules_with(**changes: str) -> Callable[[dict], object]:
    return lambda card: card["requests"][0]["condition"].update(changes)


@pytest.mark.parametrize(
    ("change", "seal", "message"),
    [
        (lambda card: card["methods"][0].update(version=7), False, "does not fit its own SHA-256"),
        (
            lambda card: card.update(condition=Condition(protocol_version=99).texts()),
            True,
            "protocol version 99",
        ),
        (lambda card: card.update(requests=[]), True, "no request"),
        (rules_with(features="hf:./model:layer=2"), True, "name your copy with --features"),
        (
            rules_with(features="set:de=hf:/home/someone/model,zh=mel"),
            True,
            "name your copy with --features",
        ),
        (rules_with(features="set:./mine.toml"), True, "name your copy with --features"),
        (rules_with(features=f"hf:a/b@{'0' * 40}:remote-code"), True, "read that code"),
    ],
)
def test_what_cannot_be_made_again_is_said_before_anything_runs(
    again: Call, change: Callable[[dict], object], seal: bool, message: str
) -> None:
    rewrite("card.json", change, seal=seal)
    done = again("card.json")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not list(Path("results").glob("reproduced-*"))


def test_places_are_asked_for(call: Call) -> None:
    done = call("reproduce", "card.json", "--scheduler", "local")
    assert done.exit_code == 2
    assert "name yours with --manifest" in done.stderr


def test_a_card_a_table(call: Call, places: list[str]) -> None:
    of = ("--results", "two.sqlite")
    call("run", *places, *of, "--methods", "near", "--shots", "1,2", "--seeds", "1")
    done = call("card", *of)
    assert done.exit_code == 2
    assert "2 tables" in done.stderr
    assert call("card", *of, "--out", "made/card.json").exit_code == 0
    assert [read(f"made/card-{n}.json")["condition"]["shots"] for n in (1, 2)] == ["1", "2"]
    assert json.loads(call("card", *of, "--shots", "2").stdout)["condition"]["shots"] == "2"
    assert "no results of shots '9'; there are of: 1, 2" in call("card", *of, "--shots", "9").stderr


def test_a_corrupted_table_is_made_again_and_not_the_clean_one(again: Call) -> None:
    clean, noisy = read("clean.json"), read("noisy.json")
    draws = [[cell["uars"] for cell in card["methods"][0]["cells"]] for card in (clean, noisy)]
    assert draws[0] != draws[1]  # else comparing the wrong table would go unnoticed
    assert clean["requests"][0]["corruptions"] == []
    assert "--corruption" not in clean["commands"][0]
    (request,) = noisy["requests"]
    assert (request["condition"]["features"], request["corruptions"]) == ("minimal", ["noise:-20"])
    assert noisy["commands"][0].endswith(" --corruption noise:-20")
    done = again("noisy.json", "--results", "again.sqlite")
    assert done.exit_code == 0, done.output
    assert list(verdicts(done).values()) == ["identical"] * 3
    assert "other audio" not in done.stderr
    assert conditions("again.sqlite") == {"minimal", NOISY}


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
def test_a_request_that_is_not_of_its_table_is_refused(
    again: Call, corruptions: list[str], message: str
) -> None:
    rewrite("noisy.json", lambda card: card["requests"][0].update(corruptions=corruptions))
    done = again("noisy.json")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    ran = bool(list(Path("results").glob("reproduced-*")))
    assert ran == ("as the card has it" in message)


@pytest.mark.parametrize(
    ("stored", "named"),
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
def test_features_are_named_without_folders(stored: str, named: str) -> None:
    request = Request(condition=Condition(features=stored))
    found = narrowed(request, features="hf:facebook/hubert@abc:layer=12").condition.features
    assert found == named
    assert is_local(named) == ("./" in named)


def narrowed(request: Request, **table: Any) -> Request:
    usual = {"suite": "bcro", "pairs": (), "features": "minimal", "methods": ("sere",), "shots": 5}
    return request.narrowed(**{**usual, **table})


def test_what_was_left_to_the_corpora_at_hand_is_named() -> None:
    places = {"corpora": Path("/home/ann"), "results": Path("/home/ann/r.sqlite")}
    table = (Pair("B", "C"), Pair("C", "B"))
    chosen = narrowed(Request(**places), pairs=table)
    assert (chosen.condition.suite, chosen.pairs, chosen.corpora) == ("bcro", (), None)
    # whoever has more corpora than the author still gets these pairs
    custom = {"suite": "custom", "pairs": table}
    found = narrowed(Request(**places), **custom)
    assert (found.condition.suite, found.pairs) == ("custom", table)
    assert narrowed(Request(**places, pairs=table[:1]), **custom).pairs == table[:1]
    alone = narrowed(Request(**places, manifests=(Path("/home/ann/m.csv"),)), **custom)
    assert (alone.condition.suite, alone.pairs, alone.manifests) == ("", table, ())


def test_a_method_that_is_set_stays_in_the_request() -> None:
    """Without it the others would have another selection."""
    settings = {"dann": {"steps": 4, "dual": True}}
    request = narrowed(Request(methods=("sere", "dann"), settings=settings), shots="all")
    assert request.methods == ("sere", "dann")
    line = request.command(folder=True, manifests=0)
    assert line.startswith("clser-bench run --suite bcro --corpora DIR --methods sere,dann ")
    assert line.endswith("--set dann.dual=true --set dann.steps=4")


def test_only_the_corruption_of_the_table_is_asked_for() -> None:
    request = Request(corruptions=("noise", "clip:3"))
    assert narrowed(request).corruptions == ()
    noisy = narrowed(request, corruption="noise:-7.5")
    assert noisy.corruptions == ("noise:-7.5",)
    assert noisy.command().endswith(" --corruption noise:-7.5")


def test_code_outside_a_checkout_has_no_commit(tmp_path: Path) -> None:
    assert provenance._checkout(tmp_path) == ("", None)
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert provenance._checkout(tmp_path) == ("", None)


def test_a_confirmation_is_frozen_before_it_runs(
    call: Call, shared: Path, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ("--shots", "1", "--seeds", "3", "--results", "r.sqlite")
    assert call("run", *places, *usual, "--methods", "near,chance").exit_code == 0
    four = str(shared / "four" / "manifest.csv")
    asked = ("confirm", "r.sqlite", "--suite", "custom", "--scheduler", "local", "--manifest")
    done = call(*asked, four)
    assert done.exit_code != 0
    assert "has results on X, Y of suite custom-" in done.stderr
    assert not Path("r-confirm-custom.json").exists(), "nothing is frozen for what was looked at"

    write_corpora(Path("others"), codes="PQ")
    others = str(Path("others") / "manifest.csv")
    seen: list[bool] = []
    whole = execute.run

    def watched(*arguments: object, **more: object) -> object:
        seen.append(Path("r-confirm-custom.json").exists())
        return whole(*arguments, **more)

    monkeypatch.setattr(execute, "run", watched)
    done = call(*asked, others)
    assert done.exit_code == 0, done.stderr
    assert seen == [True]
    card = json.loads(Path("r-confirm-custom.json").read_text())
    assert [method["name"] for method in card["methods"]] == ["near", "chance"]
    assert {row["method"] for row in card["explored"]} == {"near", "chance"}
    assert f"confirmed (card {card['digest'][:12]})" in done.stdout
    assert call(*asked, others).exit_code == 0, "the same command goes on"

    card["seeds"] = 9
    Path("r-confirm-custom.json").write_text(json.dumps(card))
    done = call(*asked, others)
    assert "was changed after it was written" in done.stderr
