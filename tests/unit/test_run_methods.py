"""What planning knows of methods, read by a worker process and remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.protocol import Condition
from clser_bench.run.plan import MethodInfo, expand, methods_of, read_methods
from clser_bench.run.request import Request
from clser_bench.run.worker import Worker
from clser_bench.train import ENGINE_VERSION
from tests.tiny import write_method


def read(name: str, **settings: Value) -> MethodInfo:
    (info,) = read_methods([(name, settings)])
    return info


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The methods that a worker is asked for."""
    seen: list[Any] = []
    whole = Worker.describe

    def describe(self: Worker, methods: Any) -> Any:
        seen.extend(methods)
        return whole(self, methods)

    monkeypatch.setattr(Worker, "describe", describe)
    return seen


def test_planning_knows_what_it_needs() -> None:
    dann, chance = read_methods([("dann", {"steps": 9}), ("chance", {})])
    assert dict(dann.parameters)["steps"] == 9
    assert (dann.kind, dann.engine_version, dann.deterministic) == (
        "trained",
        ENGINE_VERSION,
        False,
    )
    assert (chance.engine_version, chance.role) == (0, "bound")


def test_the_second_reading_asks_nobody_and_has_every_field(asked: list[Any]) -> None:
    first = read_methods([("dann", {}), ("sere", {})])
    asked.clear()
    assert read_methods([("dann", {}), ("sere", {})]) == first
    assert asked == []


def test_configurations_are_methods_of_their_own(asked: list[Any]) -> None:
    request = Request(
        methods=("dann", "chance", "within-target"),
        condition=Condition(selection="oracle"),
        settings={"dann": {"steps": 9}},
    )
    made = methods_of(request, request.condition)
    names = ["dann", "chance", "within-target"]
    assert [info.name for number, info in made if number == 0] == names
    infos = [info for _, info in made if info.name == "dann"]
    assert len(infos) == 1 + len(infos[0].configurations) > 2
    assert len({info.parameters for info in infos}) == len(infos)
    assert {dict(info.parameters)["steps"] for info in infos} == {9}
    asked.clear()
    assert methods_of(request, request.condition) == made
    assert asked == []


def test_settings_and_their_types_are_told_apart() -> None:
    assert dict(read("dann", steps=3).parameters)["steps"] == 3
    assert dict(read("dann", steps=4).parameters)["steps"] == 4
    with pytest.raises(SpecError, match="steps"):
        read("dann", steps="3")


def test_changed_code_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    file = write_method(tmp_path / "methods", "near")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
    before = read("near")
    file.write_text(file.read_text().replace("high=10.0", "high=20.0"))
    asked.clear()
    after = read("near")
    assert [name for name, _ in asked] == ["near"]
    assert (before.ranges["weight"].high, after.ranges["weight"].high) == (10.0, 20.0)


def test_a_damaged_file_of_the_cache_is_written_again(own_cache: Path) -> None:
    (own_cache / "methods").unlink()  # that of all tests
    first = read("dann")
    (file,) = (own_cache / "methods").iterdir()
    good = file.read_text()
    changed = good.replace('"steps": ', '"steps": 1')
    assert changed != good
    for damage in ("", "{", "[]", '{"name": "dann"}', changed):
        file.write_text(damage)
        assert read("dann") == first
        assert file.read_text() == good


def test_names_are_expanded_once_each() -> None:
    names = expand(["chance", "within-target", "chance"])
    assert names == ("chance", "within-target")
    *methods, last = expand(["all"])
    assert last == "within-target"
    assert set(methods) <= {*registry.entries()}
    with pytest.raises(SpecError, match="did you mean 'chance'"):
        expand(["chanec"])
