"""Cards of tables with a corrupted target, made again from nothing but the card."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from clser_bench.cli import cards, main
from clser_bench.cli.run import run as run_command
from clser_bench.hashing import digest
from clser_bench.run.request import Request
from clser_bench.store.sqlite import Store
from tests.tiny import write_corpora, write_method

Call = Callable[..., Result]

NOISY = "minimal, target noise:-20"
ORIGINAL = Path("results/clser.sqlite")

app = typer.Typer(cls=main._Guarded)
app.command("run")(run_command)
app.command("card")(cards.card)
app.command("reproduce")(cards.reproduce)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_corpora(folder / "corpora", codes="XY")
    write_method(folder / "methods", "near")
    return folder


@pytest.fixture
def call(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))
    monkeypatch.delenv("CLSER_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def places(shared: Path) -> tuple[str, ...]:
    manifest = str(shared / "corpora" / "manifest.csv")
    return ("--manifest", manifest, "--scheduler", "local", "--workers", "1")


@pytest.fixture
def made(call: Call, places: tuple[str, ...]) -> Callable[[str], dict]:
    """Cards by the features of their table, after a run under three conditions."""
    done = call(
        *("run", *places, "--methods", "near", "--shots", "1", "--seeds", "3"),
        *("--corruption", "noise:40,-20"),
    )
    assert done.exit_code == 0, done.output

    def card(features: str) -> dict:
        corruption = features.partition(", target ")[2] or "clean"
        written = call("card", "--corruption", corruption, "--out", "card.json")
        assert written.exit_code == 0, written.output
        return json.loads(Path("card.json").read_text())

    return card


def rewrite(change: Callable[[dict], object]) -> None:
    """Change the card by hand, and give it the hash that fits."""
    values = json.loads(Path("card.json").read_text())
    change(values)
    values["sha256"] = digest({k: v for k, v in values.items() if k != "sha256"})
    Path("card.json").write_text(json.dumps(values))


def verdicts(done: Result) -> list[str]:
    return [line.split("\t")[2] for line in done.stdout.splitlines()]


def conditions(results: Path) -> set[str]:
    with Store(results, create=False) as store:
        return {record.trial.condition.features_label for record in store.records()}


def draws(card: dict) -> list[list[float]]:
    return [cell["uars"] for cell in card["methods"][0]["cells"]]


def test_a_corrupted_table_is_made_again_and_not_the_clean_one(
    made: Callable[[str], dict], call: Call, places: tuple[str, ...]
) -> None:
    clean = made("minimal")
    card = made(NOISY)
    assert draws(card) != draws(clean)  # else comparing the wrong table would go unnoticed
    (request,) = card["requests"]
    assert (request["condition"]["features"], request["corruptions"]) == ("minimal", ["noise:-20"])
    done = call("reproduce", "card.json", *places, "--results", "again.sqlite")
    assert done.exit_code == 0, done.output
    assert verdicts(done) == ["identical"] * 3
    assert "other audio" not in done.stderr
    assert conditions(Path("again.sqlite")) == {"minimal", NOISY}


def test_the_command_of_the_card_makes_the_same_trials(
    made: Callable[[str], dict], call: Call, places: tuple[str, ...]
) -> None:
    (command,) = made(NOISY)["commands"]
    assert command.endswith(" --corruption noise:-20")
    words = shlex.split(command)[1:]
    at = words.index("--manifest")
    del words[at : at + 2]
    assert call(*words, *places, "--results", "other.sqlite").exit_code == 0
    ids = []
    for results in (ORIGINAL, Path("other.sqlite")):
        with Store(results, create=False) as store:
            trials = [record.trial for record in store.records()]
        wanted = ("minimal", NOISY)
        ids.append({trial.id for trial in trials if trial.condition.features_label in wanted})
    assert ids[0] == ids[1]
    assert len(ids[0]) == 12


def test_a_clean_table_of_the_same_run_asks_for_no_corruption(
    made: Callable[[str], dict], call: Call, places: tuple[str, ...]
) -> None:
    card = made("minimal")
    assert card["requests"][0]["corruptions"] == []
    assert "--corruption" not in card["commands"][0]
    done = call("reproduce", "card.json", *places, "--results", "again.sqlite")
    assert done.exit_code == 0, done.output
    assert verdicts(done) == ["identical"] * 3
    assert conditions(Path("again.sqlite")) == {"minimal"}


def test_a_changed_draw_of_a_corrupted_table_is_different(
    made: Callable[[str], dict], call: Call, places: tuple[str, ...]
) -> None:
    clean = made("minimal")
    made(NOISY)
    rewrite(lambda card: card["methods"][0].update(cells=clean["methods"][0]["cells"]))
    done = call("reproduce", "card.json", *places)
    assert done.exit_code == 1
    assert "different" in verdicts(done)


def test_aligned_sets_are_corrupted_again(call: Call, places: tuple[str, ...]) -> None:
    sets = "set:X=mel,Y=prosody"
    done = call(
        *("run", *places, "--methods", "near", "--shots", "1", "--seeds", "2"),
        *("--features", sets, "--corruption", "clip:10"),
    )
    assert done.exit_code == 0, done.output
    (name,) = [name for name in conditions(ORIGINAL) if "clip" in name]
    assert name.endswith(", aligned by anchors, target clip:10")
    assert call("card", "--corruption", "clip:10", "--out", "card.json").exit_code == 0
    again = call("reproduce", "card.json", *places)
    assert again.exit_code == 0, again.output
    assert verdicts(again) == ["identical"] * 3


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
    made: Callable[[str], dict],
    call: Call,
    places: tuple[str, ...],
    corruptions: list[str],
    message: str,
) -> None:
    made(NOISY)
    rewrite(lambda card: card["requests"][0].update(corruptions=corruptions))
    done = call("reproduce", "card.json", *places)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    ran = bool(list(Path("results").glob("reproduced-*")))
    assert ran == ("as the card has it" in message)


def test_only_the_condition_of_the_table_is_asked_for() -> None:
    def narrowed(corruption: str) -> Request:
        return Request(corruptions=("noise", "clip:3")).narrowed(
            suite="bcro",
            pairs=(),
            features="minimal",
            methods=("sere",),
            shots=5,
            corruption=corruption,
        )

    assert narrowed("").corruptions == ()
    assert narrowed("noise:-7.5").corruptions == ("noise:-7.5",)
    line = narrowed("noise:-7.5").command(folder=False, manifests=0)
    assert line.endswith(" --corruption noise:-7.5")
