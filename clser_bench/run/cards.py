"""What planning must know of a method; cached, so that a finished run imports no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clser_bench import registry
from clser_bench.hashing import digest
from clser_bench.train.version import ENGINE_VERSION
from clser_bench.trial import Value


@dataclass(frozen=True, kw_only=True)
class Card:
    """A method with its hyper-parameters filled in.

    Attributes:
        name: registered name.
        version: of the method.
        parameters: all hyper-parameters, sorted by name.
        deterministic: whether the same labelled rows always give the same scores.
        engine_version: of the engine; 0 for fitted methods, which do not use it.
        assumes_prior: about the target's class shares.
        role: `ranked` or `bound`.
        note: printed under tables.
    """

    name: str
    version: int
    parameters: tuple[tuple[str, Value], ...]
    deterministic: bool
    engine_version: int
    assumes_prior: str
    role: str
    note: str


def read_cards(
    names: Iterable[str], settings: Mapping[str, Mapping[str, Value]], *, cache: Path
) -> tuple[Card, ...]:
    """The cards of methods, from the cache where their code has not changed since.

    Args:
        names: registered names.
        settings: hyper-parameters set by the user, by method.
        cache: the cache folder.

    Raises:
        SpecError: unknown method or hyper-parameter, or a value out of its range.
    """
    code: dict[Path, str] = {}
    cards = []
    for name in names:
        folder = registry.entry(name).file.parent
        code.setdefault(folder, _code(folder))
        cards.append(_read(name, settings.get(name, {}), cache=cache, code=code[folder]))
    return tuple(cards)


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


def _made(name: str, settings: Mapping[str, Value]) -> Card:
    method = registry.create(name, settings)
    return Card(
        name=name,
        version=registry.entry(name).version,
        parameters=method.parameters(),
        deterministic=method.deterministic,
        engine_version=ENGINE_VERSION if method.kind == "trained" else 0,
        assumes_prior=method.assumes_prior,
        role=method.role,
        note=method.note,
    )


def _parsed(text: str) -> Card:
    values = json.loads(text)
    pairs = tuple((name, value) for name, value in values.pop("parameters"))
    return Card(parameters=pairs, **values)


def _code(folder: Path) -> str:
    """Hash of all code that a method of this folder may take its fields from."""
    package = Path(__file__).parents[1]
    folders = (package / "train", package / "nn", folder)
    files = [file for place in folders for file in sorted(place.glob("*.py"))]
    state = hashlib.sha256()
    for file in (*files, package / "spec.py", package / "registry.py"):
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()
