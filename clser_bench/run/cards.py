"""What planning must know of a method; cached, so that a finished run imports no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.hashing import digest
from clser_bench.problem import Value
from clser_bench.scoring.routines import ROUTINES, Routine
from clser_bench.train import ENGINE_VERSION

Values = tuple[tuple[str, Value], ...]
"""Hyper-parameters, sorted by name."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A method with its hyper-parameters filled in.

    Attributes:
        name: registered name.
        version: of the method.
        parameters: all of them, sorted by name.
        deterministic: whether the same labelled rows always give the same scores.
        engine_version: of the engine; 0 for fitted methods, which do not use it.
        assumes_prior: about the target's class shares.
        role: `ranked`, `bound` or, of a routine, `oracle`.
        note: printed under tables.
        points: what a selection can set instead of the values here; empty for what is not ranked.
    """

    name: str
    version: int
    parameters: Values
    deterministic: bool
    engine_version: int
    assumes_prior: str
    role: str
    note: str
    points: tuple[Values, ...]


def read_cards(
    names: Iterable[str], settings: Mapping[str, Mapping[str, Value]], *, cache: Path
) -> tuple[Card, ...]:
    """The cards of methods, from the cache where their code has not changed since.

    Args:
        names: of methods and routines.
        settings: hyper-parameters set by the user, by method.
        cache: the cache folder.

    Raises:
        SpecError: unknown method or hyper-parameter, or a value out of its range.
    """
    read = _Reader(cache)
    return tuple(read(name, settings.get(name, {})) for name in names)


def read_points(
    shipped: Iterable[Card], settings: Mapping[str, Mapping[str, Value]], *, cache: Path
) -> tuple[tuple[int, Card], ...]:
    """The cards of all points of methods, with their numbers: the given card is point 0.

    Args:
        shipped: as `read_cards` made them.
        settings: hyper-parameters set by the user, by method; they hold at every point.
        cache: the cache folder.

    Raises:
        SpecError: a value of a grid is out of its range.
    """
    read = _Reader(cache)
    made = []
    for card in shipped:
        given = settings.get(card.name, {})
        made.append((0, card))
        for number, point in enumerate(card.points, start=1):
            made.append((number, read(card.name, {**given, **dict(point)})))
    return tuple(made)


class _Reader:
    """Reads cards, and the code of a folder of methods once."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._code: dict[Path, str] = {}

    def __call__(self, name: str, settings: Mapping[str, Value]) -> Card:
        if name in ROUTINES:
            return _of_routine(ROUTINES[name], settings)
        folder = registry.entry(name).file.parent
        if folder not in self._code:
            self._code[folder] = _code(folder)
        return _read(name, settings, cache=self._cache, code=self._code[folder])


def _read(name: str, settings: Mapping[str, Value], *, cache: Path, code: str) -> Card:
    key = digest([name, code, {setting: repr(value) for setting, value in settings.items()}])
    place = cache / "methods" / f"{key}.json"
    try:
        return _parsed(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        card = _made(name, settings)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(dataclasses.asdict(card)), encoding="utf-8")
    return card


def _of_routine(routine: Routine, settings: Mapping[str, Value]) -> Card:
    if settings:
        raise SpecError(f"'{routine.name}' has no hyper-parameter '{next(iter(settings))}'")
    return Card(
        name=routine.name,
        version=routine.version,
        parameters=(),
        deterministic=True,
        engine_version=0,
        assumes_prior="none",
        role="oracle",
        note=routine.note,
        points=(),
    )


def _made(name: str, settings: Mapping[str, Value]) -> Card:
    method = registry.create(name, settings)
    overrides = registry.entry(name).overrides
    points = method.points(overrides, fixed=settings)[1:] if method.role == "ranked" else ()
    return Card(
        name=name,
        version=registry.entry(name).version,
        parameters=method.parameters(),
        deterministic=method.deterministic,
        engine_version=ENGINE_VERSION if method.kind == "trained" else 0,
        assumes_prior=method.assumes_prior,
        role=method.role,
        note=method.note,
        points=tuple(tuple(sorted(point.items())) for point in points),
    )


def _parsed(text: str) -> Card:
    values = json.loads(text)
    parameters = _pairs(values.pop("parameters"))
    points = tuple(_pairs(point) for point in values.pop("points"))
    return Card(parameters=parameters, points=points, **values)


def _pairs(items: Iterable[tuple[str, Value]]) -> Values:
    return tuple((name, value) for name, value in items)


def _code(folder: Path) -> str:
    """Hash of all code that a method of this folder may take its fields from."""
    package = Path(__file__).parents[1]
    folders = (package / "train", package / "nn", package / "shallow", folder)
    files = [file for place in folders for file in sorted(place.glob("*.py"))]
    state = hashlib.sha256()
    for file in (*files, package / "hyperparameters.py", package / "registry.py"):
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()
