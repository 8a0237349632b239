from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.run import methods as cards
from clser_bench.run.methods import MethodInfo, read_methods, read_points
from clser_bench.train import ENGINE_VERSION
from tests.tiny import write_method


def test_a_card_tells_what_planning_needs(own_cache: Path) -> None:
    dann, chance = read_methods(["dann", "chance"], {"dann": {"steps": 9}}, cache=own_cache)
    assert dict(dann.parameters)["steps"] == 9
    assert dann.engine_version == ENGINE_VERSION
    assert not dann.deterministic
    assert (chance.engine_version, chance.role) == (0, "bound")


def test_the_second_reading_imports_no_method(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_methods(["dann"], {}, cache=own_cache)
    monkeypatch.setattr(registry, "create", lambda *_: pytest.fail("imported"))
    assert read_methods(["dann"], {}, cache=own_cache) == first


def test_points_are_cards_of_their_own(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"dann": {"steps": 9}, "target-oracle": {}}
    shipped = read_methods(["dann", "chance", "target-oracle"], settings, cache=own_cache)
    made = read_points(shipped, settings, cache=own_cache)
    assert [(number, card.name) for number, card in made if number == 0] == [
        (0, "dann"),
        (0, "chance"),
        (0, "target-oracle"),
    ]
    assert len(made) == len(registry.load("dann").points()) + 2
    assert len({card.parameters for _, card in made if card.name == "dann"}) == len(made) - 2
    assert {dict(card.parameters).get("steps") for _, card in made} == {9, None}
    monkeypatch.setattr(registry, "create", lambda *_: pytest.fail("imported"))
    assert read_points(shipped, settings, cache=own_cache) == made


def test_what_is_set_leaves_the_grid(own_cache: Path) -> None:
    (card,) = read_methods(["dann"], {"dann": {"learning_rate": 0.5}}, cache=own_cache)
    assert card.points
    assert all("learning_rate" not in dict(point) for point in card.points)


def test_settings_and_their_types_have_cards_of_their_own(own_cache: Path) -> None:
    def steps(value: object) -> MethodInfo:
        (card,) = read_methods(["dann"], {"dann": {"steps": value}}, cache=own_cache)  # type: ignore[dict-item]
        return card

    assert dict(steps(3).parameters)["steps"] == 3
    assert dict(steps(4).parameters)["steps"] == 4
    with pytest.raises(SpecError, match="steps"):
        steps("3")


def test_changed_code_makes_a_new_card(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "methods"
    file = write_method(folder, "near")
    monkeypatch.setenv("CLSER_METHODS", str(folder))
    (before,) = read_methods(["near"], {}, cache=own_cache)
    file.write_text(file.read_text() + "\n")
    asked: list[str] = []
    made = registry.create
    monkeypatch.setattr(
        registry, "create", lambda name, values: asked.append(name) or made(name, values)
    )
    assert read_methods(["near"], {}, cache=own_cache) == (before,)
    assert asked == ["near"]


def test_a_damaged_card_is_made_anew(own_cache: Path) -> None:
    first = read_methods(["dann"], {}, cache=own_cache)
    (file,) = (own_cache / "methods").iterdir()
    for damage in ("", "{", "[]", '{"name": "dann"}'):
        file.write_text(damage)
        assert read_methods(["dann"], {}, cache=own_cache) == first


def test_every_field_survives_the_cache(own_cache: Path) -> None:
    (made,) = read_methods(["sere"], {}, cache=own_cache)
    (kept,) = read_methods(["sere"], {}, cache=own_cache)
    assert dataclasses.asdict(kept) == dataclasses.asdict(made)
    assert (
        cards.MethodInfo(**{f.name: getattr(kept, f.name) for f in dataclasses.fields(kept)})
        == made
    )
