"""Runs with added unlabelled corpora: who is given them, what is run again, what tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench.errors import CorpusError, SpecError
from clser_bench.protocol import Pair
from clser_bench.report.render import render
from clser_bench.run.execute import run
from clser_bench.run.request import DEFAULT
from clser_bench.store.sqlite import Store
from tests.boards import tables_of
from tests.tiny import planned, stored, write_corpora, write_method

pytestmark = pytest.mark.usefixtures("packed")
ADDED = DEFAULT.replace(unlabelled=("W", "Z"))
SIDES = {
    "near": "",
    "far": "problem.source.summary[problem.unlabelled]",
    "close": "problem.target.summary[problem.adapt]",
}
USES = {"near": ("labelled",), "far": ("labelled", "source"), "close": ("labelled", "target")}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora W to Z, where W has the language of Y; methods that use one side or none."""
    folder = tmp_path_factory.mktemp("tiny")
    manifest = write_corpora(folder / "corpora", codes="WXYZ", takes=2)
    manifest.write_text(manifest.read_text().replace("qaw", "qay"))
    for name, rows in SIDES.items():
        body = f"return np.tile({rows}.mean(0)[:2], (len(problem.scored), 1))" if rows else "pass"
        file = write_method(folder / "methods", name, body=body)
        text = file.read_text().replace("    weight", f"    uses = {USES[name]}\n    weight", 1)
        file.write_text(text)
    return folder


@pytest.fixture
def usual() -> dict[str, Any]:
    pairs = (Pair("X", "Y"), Pair("Y", "X"), Pair("Z", "X"))
    return {"pairs": pairs, "methods": ("near", "far", "close"), "seeds": 1}


def test_only_what_is_given_more_is_run_again(config):
    first = run(config())
    summary = run(config(condition=ADDED))
    assert (first.planned, first.ok) == (9, 9)
    # W joins the target of X→Y and the source of the others; Z the source of all but its own pair
    again = {"far": {"X→Y", "Y→X", "Z→X"}, "close": {"X→Y"}, "near": set()}
    records = stored(config().results)
    found = [record.trial for record in records if record.trial.added]
    assert {name: {str(t.pair) for t in found if t.method == name} for name in again} == again
    assert (summary.planned, summary.found, summary.ok) == (9, 5, 9)
    far = {str(t.pair): [a[:2] for a in t.added] for t in found if t.method == "far"}
    assert far == {"X→Y": ["Z:"], "Y→X": ["W:", "Z:"], "Z→X": ["W:"]}
    with Store(config().results, create=False) as store:
        for line in store.lines():
            if line.condition.unlabelled:
                assert {t.condition for t in store.trials(line.id)} == {line.condition}
        frame = store.frame({"unlabelled": "W+Z"})
        plain, added = tables_of(store, intervals=False)
    assert [table.condition.unlabelled for table in (plain, added)] == [(), ("W", "Z")]
    assert set(frame.trial) <= {record.trial.id for record in records}
    assert "added unlabelled speech W+Z" in render([added])
    marks = [{line.method: line.uses for line in table.lines} for table in (plain, added)]
    assert marks[0] == USES
    assert marks[1] == USES | {name: (*USES[name], "unlabelled") for name in ("far", "close")}


@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_added_speech_reaches_the_side_of_its_language(config, setting):
    """The means that a method returns are those of the pair's own and the added rows."""
    asked = config(condition=ADDED.replace(setting=setting), methods=("far", "close"))
    plan = planned(asked)
    for trial in plan.trials:
        codes = {item[0] for item in trial.added}
        for fold in plan.prepared.folds(trial):
            problem, own = fold.problem, 8 if setting == "transductive" else 4
            target = 8 * (str(trial.pair) == "X→Y" and "W" in codes)
            assert len(problem.adapt) == own + target
            source = 8 * len(codes - ({"W"} if target else set()))
            assert len(problem.unlabelled) == 8 - 2 + source
            assert len(fold.key.y) == own
            assert np.isin(problem.scored, problem.adapt).all() == (setting == "transductive")
    assert run(asked).ok == 6


def test_corpora_that_cannot_be_added_are_refused(config):
    sets = DEFAULT.replace(features="set:qaz=mel,*=minimal", alignment="moments")
    for condition, code, error, message in (
        (DEFAULT, "Q", CorpusError, "missing: Q"),
        (DEFAULT, "X", SpecError, "--unlabelled X: it is the source"),
        (sets, "Z", SpecError, "--unlabelled Z: it has features mel"),
    ):
        pairs = (Pair("X", "Y"),) if condition is sets else config().pairs
        with pytest.raises(error, match=message):
            planned(config(condition=condition.replace(unlabelled=(code,)), pairs=pairs))


def test_codes_have_one_order_and_one_spelling():
    assert DEFAULT.replace(unlabelled=("Z", "W", "Z")).texts()["unlabelled"] == "W+Z"
    with pytest.raises(SpecError, match="'W\\+Z' is no corpus code"):
        DEFAULT.replace(unlabelled=("W+Z",))
