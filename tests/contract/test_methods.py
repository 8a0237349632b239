"""The contract, over every registered method: a new one is covered with no new test."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from typer.testing import CliRunner

from clser_bench import registry
from clser_bench.cli.main import app
from clser_bench.errors import MethodError, SpecError
from clser_bench.protocol import Condition, Setting
from clser_bench.splits import build
from clser_bench.train import check as checking
from clser_bench.train.check import CHECKS, check_method, checks_of
from tests.fake_corpora import content_tables, memory_corpus, permuted

CLASSES = ("anger", "fear", "sadness")
COUNTS = {"anger": 14, "disgust": 5, "fear": 12, "sadness": 10}
SOURCE = memory_corpus("S", COUNTS, {"sofia": "female", "simon": "male"})
TARGET = memory_corpus("T", COUNTS)

NAMES = sorted(registry.entries())
WHOLE = [name for name in NAMES if name == registry.entry(name).base]
OF_A_PRESET = ("card", "points", "reproducible", "declared_data", "hard_problems")
"""A preset differs from its method in the values of hyper-parameters alone; `uses` may follow."""
SHAPES = ("reproducible", "pack_equals_loop", "scored_rows_apart", "hard_problems", "unequal_sizes")
"""Have all shapes that occur; the other checks train on these shapes again, or for longer."""
CASES = [(n, check) for n in NAMES for check in (checks_of(n) if n in WHOLE else OF_A_PRESET)]


@pytest.mark.parametrize(("name", "check"), CASES)
def test_contract(name: str, check: str, request: pytest.FixtureRequest) -> None:
    if check not in SHAPES:
        request.getfixturevalue("shapes_unchecked")
    CHECKS[check](name)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_a_poisoned_answer_key_changes_nothing(name: str, setting: Setting) -> None:
    """All the way from the corpora: the target's labels are shuffled, the scores are the same."""
    scores = []
    for target in (TARGET, permuted(TARGET, CLASSES, 1)):
        folds = build(
            SOURCE, target, classes=CLASSES, shots=3, seed=0,
            condition=Condition(setting=setting), tables=content_tables(),
        )  # fmt: skip
        outcomes = [checking.run(name, fold.problem) for fold in folds]
        assert [outcome.status for outcome in outcomes] == ["ok"] * len(folds), outcomes[0].reason
        assert [len(outcome.scores) for outcome in outcomes] == [len(fold.key.y) for fold in folds]
        scores.append([outcome.scores.tobytes() for outcome in outcomes])
    assert scores[0] == scores[1]


@pytest.mark.parametrize("name", ["lda", "dann", "cdan-e", "sere-no-dual"])
def test_show_prints_the_card(name: str) -> None:
    shown = CliRunner().invoke(app, ["show", name])
    assert shown.exit_code == 0, shown.output
    for text in (name, "Reference:", "Departures:", *registry.load(name).ranges()):
        assert text in shown.output


FITTED = registry.template("stranger", "fitted").replace("return ", "scores = ").rstrip()
FITTED += "\n        # here\n        return scores\n"
STILL = registry.template("stranger", "trained").replace("emotion - self", "emotion - 0 * self")
STILL = STILL.replace(
    "    entropy_weight:", "    steps: int = hyper(9, low=1)\n    entropy_weight:"
)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test adds are known to this test alone."""
    monkeypatch.setenv("CLSER_PLUGINS", "")


def written(path: Path, text: str, line: str = "") -> Path:
    text = text.replace("# here", line or "pass")
    # A process reads a file once.
    file = path / f"stranger_{len(text)}.py"
    file.write_text(text, encoding="utf-8")
    return file


def findings(path: Path, text: str, line: str = "") -> dict[str, str]:
    return {one.check: one.text for one in check_method(written(path, text, line))}


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("kind", ["fitted", "trained"])
def test_a_template_has_no_finding(tmp_path: Path, kind: Literal["fitted", "trained"]) -> None:
    assert findings(tmp_path, registry.template("stranger", kind)) == {}


@pytest.mark.usefixtures("plugins")
def test_an_added_file_can_be_run(tmp_path: Path) -> None:
    findings(tmp_path, FITTED)
    with pytest.raises(SpecError, match="is registered by"):
        registry.template("stranger", "fitted")
    assert registry.create("stranger", {"sharpness": 2.0}).sharpness == 2.0


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("line", "check", "words"),
    [
        ("scores = scores + rng.random(scores.shape)", "deterministic", "two seeds give other"),
        ("scores = scores + np.random.rand(*scores.shape)", "reproducible", "use rng"),
        ("scores = scores - scores.mean(axis=0)", "scored_rows_apart", "problem.adapt alone"),
        ("scores = scores + np.arange(len(scores))[:, None] % 3", "order_of_rows", "order of"),
        ("scores = scores[:, ::-1]", "learns", "% right"),
        ("scores = scores + problem.target.summary[problem.adapt].mean()", "declared_data", "uses"),
        ("scores = scores + problem.source.summary.mean()", "declared_data", "'source'"),
        ("scores = scores / (len(problem.classes) > 1)", "hard_problems", ""),
        ("scores = scores[:5]", "reproducible", "wanted (36, 3)"),
        ("raise SystemError('no')", "reproducible", "no"),
    ],
)
def test_a_broken_contract_is_named(tmp_path: Path, line: str, check: str, words: str) -> None:
    found = findings(tmp_path, FITTED, line)
    if not words:  # NaN is an outcome with a reason, no breach
        assert check not in found
        return
    assert words in found[check], found


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STILL, "the adaptation term moves no answer on a shifted target"),
        (STILL.replace('control = {"entropy_weight": 0.0}', "pass"), "declares control"),
        (STILL.replace('"entropy_weight": 0.0', '"wait": 0.0'), "control names ['wait']"),
    ],
)
def test_an_adaptation_term_that_does_nothing_is_named(tmp_path, text: str, words: str) -> None:
    registry.add_plugin(written(tmp_path, text))
    with pytest.raises(MethodError, match=re.escape(words)):
        CHECKS["adaptation_moves"]("stranger")


def test_the_share_of_moved_answers() -> None:
    problem = checking.example_problem(n_target=90)
    shifted = checking.with_target(problem, lambda values: values + np.float32(2))
    assert 0 < checking.moved_share("entropy-min", shifted) < 1


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = (", "line 1"),
        ("x = 1", "needs exactly one class under @register"),
        ("import os\nos.x\n" + FITTED, "importing it raised AttributeError"),
        ("raise SystemExit(3)\n" + FITTED, "importing it raised SystemExit"),
        (FITTED.replace("version=1", "version=None"), "must be literals"),
        (FITTED.replace('"stranger"', '"dann"'), "is registered by"),
    ],
)
def test_a_file_that_is_no_method_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    with pytest.raises(SpecError, match=words):
        check_method(file)
    assert "stranger" not in registry.entries() or "raised" in words


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        check_method(tmp_path / "none.py")
