"""Cards written after a run and made again from nothing but the card."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from clser_bench.cli import cards, main
from clser_bench.cli.run import run as run_command
from clser_bench.hashing import digest
from clser_bench.protocol import Condition, Pair
from clser_bench.run import execute, provenance
from clser_bench.run.request import Request, is_local
from tests.tiny import write_corpora, write_method

Call = Callable[..., Result]

app = typer.Typer(cls=main._Guarded)
app.command("run")(run_command)
app.command("card")(cards.card)
app.command("reproduce")(cards.reproduce)
app.command("confirm")(cards.confirm)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora", codes="XY")
    write_corpora(folder / "four", codes="VWXY", takes=2)
    write_method(folder / "methods", "near", grid=(1.0, 10.0))
    write_method(
        folder / "methods",
        "far",
        body=f"if os.path.exists({str(folder / 'fail')!r}): raise RuntimeError('as asked')",
    )
    return folder


@pytest.fixture
def call(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def run(shared: Path, call: Call) -> Call:
    manifest = str(shared / "corpora" / "manifest.csv")

    def go(*arguments: str) -> Result:
        usual = ("--manifest", manifest, "--shots", "1", "--seeds", "3", "--scheduler", "local")
        return call("run", *usual, *arguments)

    return go


@pytest.fixture
def again(shared: Path, call: Call) -> Call:
    manifest = str(shared / "corpora" / "manifest.csv")

    def go(card: str, *arguments: str) -> Result:
        return call("reproduce", card, "--manifest", manifest, "--scheduler", "local", *arguments)

    return go


def rewrite(path: str, change: Callable[[dict], None], *, seal: bool = True) -> None:
    """Change a card by hand, with or without a fitting hash."""
    values = json.loads(Path(path).read_text())
    change(values)
    if seal:
        values["sha256"] = digest({k: v for k, v in values.items() if k != "sha256"})
    Path(path).write_text(json.dumps(values))


def verdicts(done: Result) -> dict[tuple[str, str], str]:
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {(row[0], row[1]): row[2] for row in rows}


def test_a_run_is_made_again_from_its_card(run: Call, call: Call, again: Call) -> None:
    assert run("--methods", "chance,near,within-target").exit_code == 0
    assert call("card", "--out", "card.json").exit_code == 0
    done = again("card.json")
    assert done.exit_code == 0, done.output
    # two pairs and the mean over them, of three methods
    assert len(verdicts(done)) == 9
    assert set(verdicts(done).values()) == {"identical"}
    assert "9 cells (means over pairs included): 9 identical, 0 within noise, 0 different." in (
        done.stderr
    )
    assert "in the card" not in done.stderr  # the same versions
    assert [path.name for path in Path("results").glob("reproduced-*.sqlite")]


def test_the_card_names_no_place_of_this_machine(
    run: Call, call: Call, shared: Path, tmp_path: Path
) -> None:
    run("--methods", "near,far", "--set", "near.weight=0.5", "--classes", "fixed4")
    text = call("card").stdout
    for secret in (str(shared), str(tmp_path), str(Path.home()), os.uname().nodename):
        assert secret not in text
    card = json.loads(text)
    assert set(card.pop("machine")) == {"processor", "cores", "memory_gib", "system", "methods"}
    assert os.sep not in json.dumps(card)
    (command,) = card["commands"]
    assert command == (
        "clser-bench run --classes fixed4 --manifest FILE --pairs 'X->Y,Y->X' --methods near,far "
        "--shots 1 --seeds 3 --set near.weight=0.5"
    )


def test_the_command_of_a_card_makes_the_same_trials(
    run: Call, call: Call, shared: Path, tmp_path: Path
) -> None:
    import shlex

    from clser_bench.store.sqlite import Store

    run(
        "--methods",
        "near,far",
        "--normalise",
        "speaker",
        "--setting",
        "inductive",
        "--set",
        "near.weight=2",
    )
    (command,) = json.loads(call("card").stdout)["commands"]
    manifest = str(shared / "corpora" / "manifest.csv")
    words = [manifest if word == "FILE" else word for word in shlex.split(command)[1:]]
    assert call(*words, "--scheduler", "local", "--results", "other.sqlite").exit_code == 0
    with Store(Path("results/clser.sqlite")) as one, Store(Path("other.sqlite")) as two:
        ids = [{record.trial.id for record in store.records()} for store in (one, two)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 12


def test_a_table_of_two_runs_is_made_again_by_both(run: Call, call: Call, again: Call) -> None:
    run("--methods", "near")
    run("--methods", "far", "--seeds", "2")
    call("card", "--out", "card.json")
    card = json.loads(Path("card.json").read_text())
    assert [(r["methods"], r["seeds"]) for r in card["requests"]] == [(["near"], 3), (["far"], 2)]
    assert {m["method"]: m["seeds"] for m in card["methods"]} == {"near": [0, 1, 2], "far": [0, 1]}
    done = again("card.json")
    assert done.exit_code == 0, done.output
    assert set(verdicts(done).values()) == {"identical"}


def test_what_was_chosen_by_other_pairs_is_chosen_again(shared: Path, call: Call) -> None:
    places = ("--manifest", str(shared / "four" / "manifest.csv"), "--scheduler", "local")
    made = call(
        "run", *places, "--methods", "near", "--shots", "1", "--seeds", "2", "--selection",
        "other-pairs",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    call("card", "--out", "card.json")
    card = json.loads(Path("card.json").read_text())
    assert card["condition"]["selection"] == "other-pairs"
    assert card["requests"][0]["pairs"] == []
    done = call("reproduce", "card.json", *places)
    assert done.exit_code == 0, done.output
    assert len(verdicts(done)) == 13
    assert set(verdicts(done).values()) == {"identical"}


def test_a_changed_draw_with_a_fitting_hash_is_different(
    run: Call, call: Call, again: Call
) -> None:
    run("--methods", "near,far")
    call("card", "--out", "card.json")

    def better(card: dict) -> None:
        cell = card["methods"][0]["cells"][1]
        cell["uars"][1] -= 40
        cell["mean"] -= 40 / 3

    rewrite("card.json", better)
    name = json.loads(Path("card.json").read_text())["methods"][0]["method"]
    done = again("card.json")
    assert done.exit_code == 1
    found = verdicts(done)
    assert found.pop((name, "Y→X")) == "different"
    assert found.pop((name, "mean")) == "different"
    assert set(found.values()) == {"identical"}
    assert "2 different." in done.stderr


def test_a_tampered_card_is_refused_and_nothing_runs(run: Call, call: Call, again: Call) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")
    rewrite("card.json", lambda card: card["methods"][0].update(version=7), seal=False)
    done = again("card.json")
    assert done.exit_code == 2
    assert "does not fit its own SHA-256" in done.stderr
    assert not list(Path("results").glob("reproduced-*"))


def test_other_labels_are_named_before_the_cells(run: Call, call: Call, tmp_path: Path) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    text = manifest.read_text()
    manifest.write_text(
        text.replace("X-ann-anger-0.wav,X-ann,anger", "X-ann-anger-0.wav,X-ann,sadness")
    )
    done = call("reproduce", "card.json", "--manifest", str(manifest), "--scheduler", "local")
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("other audio")]
    assert line.endswith(": X")


def test_a_method_that_fails_here_is_different(
    run: Call, call: Call, again: Call, shared: Path
) -> None:
    run("--methods", "near,far")
    call("card", "--out", "card.json")
    (shared / "fail").touch()
    done = again("card.json")
    (shared / "fail").unlink()
    assert done.exit_code == 1
    assert verdicts(done)["far", "X→Y"] == "different"
    assert "ok in the card, failed here: RuntimeError: as asked" in done.stdout
    assert verdicts(done)["near", "mean"] == "identical"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": Condition(protocol_version=99).texts()}, "protocol version 99"),
        ({"requests": []}, "no request"),
    ],
)
def test_what_cannot_be_made_again_is_said_before_anything_runs(
    run: Call, call: Call, again: Call, change: dict, message: str
) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")
    rewrite("card.json", lambda card: card.update(change))
    done = again("card.json")
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not list(Path("results").glob("reproduced-*"))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("hf:./model:layer=2", "name your copy with --features"),
        ("set:de=hf:/home/someone/model,zh=mel", "name your copy with --features"),
        ("set:./mine.toml", "name your copy with --features"),
        (f"hf:a/b@{'0' * 40}:remote-code", "read that code"),
    ],
)
def test_a_card_neither_reads_folders_nor_runs_code_unasked(
    run: Call, call: Call, again: Call, features: str, message: str
) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")
    rewrite("card.json", lambda card: card["requests"][0]["condition"].update(features=features))
    done = again("card.json")
    assert done.exit_code == 2
    assert message in done.stderr


def test_other_versions_are_named(run: Call, call: Call, again: Call) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")

    def older(card: dict) -> None:
        card["software"]["packages"]["numpy"] = "1.0"
        card["methods"][0]["version"] = 3
        card["methods"][0]["parameters"]["weight"] = 2.0

    rewrite("card.json", older)
    done = again("card.json")
    assert done.exit_code == 0  # the numbers are the same
    assert "numpy: 1.0 in the card, " in done.stderr
    assert "near: version 3 in the card, 1 here" in done.stderr
    assert "near: other hyper-parameters here for all pairs" in done.stderr


def test_places_are_asked_for(run: Call, call: Call) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")
    done = call("reproduce", "card.json", "--scheduler", "local")
    assert done.exit_code == 2
    assert "name yours with --manifest" in done.stderr


def test_old_results_are_not_taken_for_new_ones(run: Call, call: Call, again: Call) -> None:
    run("--methods", "near")
    call("card", "--out", "card.json")
    assert again("card.json").exit_code == 0
    done = again("card.json")
    assert done.exit_code == 2
    assert "is there from before" in done.stderr
    done = again("card.json", "--results", "results/clser.sqlite")
    assert "6 of 6 trials were in results/clser.sqlite before" in done.stderr


def test_a_card_a_table(run: Call, call: Call) -> None:
    run("--methods", "near", "--shots", "1,2")
    done = call("card")
    assert done.exit_code == 2
    assert "2 tables" in done.stderr
    assert call("card", "--out", "made/card.json").exit_code == 0
    shots = [
        json.loads(Path(f"made/card-{n}.json").read_text())["condition"]["shots"] for n in (1, 2)
    ]
    assert shots == ["1", "2"]
    assert json.loads(call("card", "--shots", "2").stdout)["condition"]["shots"] == "2"
    assert "no table is like that" in call("card", "--shots", "9").stderr


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ("hf:/home/ann/model:layer=3", "hf:./model:layer=3"),
        ("hf:/home/ann/model", "hf:./model"),
        ("set:/home/ann/mine.toml", "set:./mine.toml"),
        ("set:de=hf:/home/ann/model:layer=1,zh=mel", "set:de=hf:./model:layer=1,zh=mel"),
        ("set:heterogeneous", "set:heterogeneous"),
        # whatever else was open is named as the table has it
        ("hf:facebook/hubert", "hf:facebook/hubert@abc:layer=12"),
        ("mel+mfcc", "hf:facebook/hubert@abc:layer=12"),
    ],
)
def test_features_are_named_without_folders(stored: str, named: str) -> None:
    config = Request(condition=Condition(features=stored)).narrowed(
        suite="bcro",
        pairs=(),
        features="hf:facebook/hubert@abc:layer=12",
        methods=("sere",),
        shots=5,
    )
    assert config.condition.features == named
    assert is_local(named) == ("./" in named)


def test_what_was_left_to_the_corpora_at_hand_is_named() -> None:
    places = {"corpora": Path("/home/ann"), "results": Path("/home/ann/r.sqlite")}
    table = (Pair("B", "C"), Pair("C", "B"))

    def narrowed(suite: str, **options: object) -> Request:
        return Request(**{**places, **options}).narrowed(  # type: ignore[arg-type]
            suite=suite,
            pairs=table,
            features="minimal",
            methods=("sere",),
            shots=5,
        )

    chosen = narrowed("bcro")
    assert (chosen.condition.suite, chosen.pairs, chosen.corpora) == ("bcro", (), None)
    # whoever has more corpora than the author still gets these pairs
    custom = narrowed("custom")
    assert (custom.condition.suite, custom.pairs) == ("custom", table)
    assert narrowed("custom", pairs=table[:1]).pairs == table[:1]
    alone = narrowed("custom", manifests=(Path("/home/ann/m.csv"),))
    assert (alone.condition.suite, alone.pairs, alone.manifests) == ("", table, ())


def test_a_method_that_is_set_stays_in_the_request() -> None:
    """Without it the others would have another selection."""
    settings = {"dann": {"steps": 4, "dual": True}}
    config = Request(methods=("sere", "dann"), settings=settings).narrowed(
        suite="bcro",
        pairs=(),
        features="minimal",
        methods=("sere",),
        shots="all",
    )
    assert config.methods == ("sere", "dann")
    line = config.command(folder=True, manifests=0)
    assert line.startswith("clser-bench run --suite bcro --corpora DIR --methods sere,dann ")
    assert line.endswith("--set dann.dual=true --set dann.steps=4")


def test_code_outside_a_checkout_has_no_commit(tmp_path: Path) -> None:
    assert provenance._checkout(tmp_path) == ("", None)
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert provenance._checkout(tmp_path) == ("", None)


def test_a_confirmation_is_frozen_before_it_runs(
    run: Call, call: Call, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--methods", "near,chance", "--results", "r.sqlite").exit_code == 0
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
