from __future__ import annotations

import json
from pathlib import Path

import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import Condition, Pair, parse_shots
from clser_bench.run.request import Request, parse_settings


def test_options_survive_json(tmp_path):
    results = tmp_path / "results.sqlite"
    rules = Condition(suite="bcro", setting="inductive", prior="dirichlet:1")
    rules = rules.replace(normalisation="speaker", selection="other-pairs")
    config = Request(
        pairs=(Pair("B", "C"),),
        corpora=tmp_path,
        manifests=(tmp_path / "m.csv",),
        methods=("dann",),
        shots=(1, "all"),
        seeds=3,
        condition=rules,
        settings=parse_settings(["dann.steps=10"]),
        corruptions=("noise:0", "telephone"),
        results=results,
        scheduler="local",
        workers=2,
        skip_bad=True,
        energy=True,
    )
    assert config.corruptions == ("noise:0", "telephone:8", "telephone:6", "telephone:4")
    stored = json.loads(json.dumps(config.json))
    assert Request.from_json(stored, results=results) == config
    del stored["energy"]  # from before joules were measured
    assert Request.from_json(stored, results=results) == config.replace(energy=False)


def test_options_of_another_version_are_refused():
    with pytest.raises(SpecError, match="last run's options cannot be read"):
        Request.from_json({"suite": None}, results=Path("r.sqlite"))


def test_settings_are_typed_and_override_the_file(tmp_path):
    file = tmp_path / "params.toml"
    file.write_text("[dann]\nsteps = 5\nramp = 2.5\n[sere]\nadaptive = true\n")
    made = parse_settings(["dann.steps=7", "dann.decay=none", "sere.adaptive=false"], file)
    assert dict(made) == {
        "dann": {"decay": "none", "ramp": 2.5, "steps": 7},
        "sere": {"adaptive": False},
    }
    assert isinstance(made["dann"]["steps"], int)


@pytest.mark.parametrize("text", ["dann", "dann.steps", "dann=3", ".steps=3", "dann.=3"])
def test_a_malformed_setting_says_how_to_write_it(text):
    with pytest.raises(SpecError, match=r"write METHOD\.NAME=VALUE"):
        parse_settings([text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 3", "stands outside a table"),
        ("[dann", "not valid TOML"),
        ("[a]\nb=[1]", "must be"),
        (None, r"params\.toml: cannot be read"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, text, message):
    file = tmp_path / "params.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        parse_settings([], file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "rya"}, "scheduler 'rya' is unknown; did you mean 'ray'"),
        ({"condition": Condition(selection="others")}, "selection 'others' .*mean 'other-pairs'"),
        ({"seeds": 0}, "seeds 0"),
        ({"seeds": 10**9}, "seeds 1000000000: at most 10000 draws are run"),
        ({"methods": ()}, "at least one method"),
        ({"devices": ("cuda:0", "tpu")}, "device 'tpu': write cpu, or cuda:0 and the like"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        Request(**options)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "9" * 5000, "²", "1e3"])
def test_shots_are_small_whole_numbers(text):
    with pytest.raises(SpecError, match="write a positive integer, or all"):
        parse_shots(text)
