"""What planning must know of methods, read by a worker process and remembered in the cache."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from clser_bench import registry
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import cache_folder, is_file, write_whole
from clser_bench.hashing import digest
from clser_bench.problem import Value
from clser_bench.protocol import Condition
from clser_bench.registry import Range
from clser_bench.run.request import Request, Settings
from clser_bench.run.selection import ALL_CONFIGURATIONS, several
from clser_bench.run.worker import own_worker
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.records import RENAMED

Values = tuple[tuple[str, Value], ...]
"""Hyper-parameters, sorted by name."""


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """A method with its hyper-parameters: what planning must know without importing it."""

    name: str
    version: int
    parameters: Values = ()  # all of them, sorted by name
    kind: str = "routine"  # `fitted`, `trained` or, where the answers are given, `routine`
    deterministic: bool = True  # whether the same labelled rows always give the same scores
    engine_version: int = 0  # of the engine; 0 for what does not use it
    packable: bool = False  # whether trials train together
    instants: bool = False  # whether it needs instants
    assumes_prior: str = "none"  # about the target's class shares
    role: str = "reference"  # of its row in a table
    note: str = ""  # printed under tables
    title: str = ""  # display name; empty where that is the name
    uses: tuple[str, ...] = ()  # data that it looks at
    # what a selection can set instead of the values here; empty for what is not ranked
    configurations: tuple[Values, ...] = ()
    # what each hyper-parameter may be, in the order of declaration
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    # values that a selection tries, by hyper-parameter
    grid: Mapping[str, Sequence[Value]] = dataclasses.field(default_factory=dict)
    # what `sweep --space NAME` varies, each hyper-parameter with a text
    spaces: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    built_in: bool = True  # whether it is a method of this package


_INFO = TypeAdapter(MethodInfo)


def expand(words: Iterable[str]) -> tuple[str, ...]:
    """Names of methods and routines from what users write, each once, in order.

    `all` is every name but ablations, routines last; `sere:ablations` is `sere` with its ablations.
    SpecError for what is none of these.
    """
    names: list[str] = []
    every = registry.entries().values()
    for word in (RENAMED.get(word, word) for word in words):
        base, colon, group = word.partition(":")
        if word == "all":
            names += [e.name for e in every if not e.ablation]
            names += ROUTINES
        elif not colon:
            check_method(word)
            names.append(word)
        else:
            found = [e.name for e in every if e.ablation and e.base == base]
            if group != "ablations" or not found:
                known = sorted({f"{e.base}:ablations" for e in every if e.ablation})
                raise SpecError(f"methods '{word}' are unknown{did_you_mean(word, known)}")
            names += [base, *found]
    return tuple(dict.fromkeys(names))


def check_method(name: str) -> None:
    """Refuse (SpecError) a name that is neither a method nor a routine."""
    known = (*registry.entries(), *ROUTINES)
    if name in known:
        return
    if name.endswith(".py") or is_file(Path(name)):
        raise SpecError(f"method '{name}' is a file: use --plugin {name}, and the method's name")
    near = did_you_mean(name, known, command="list methods")
    raise SpecError(f"method '{name}' is unknown{near}")


def read_methods(asked: Sequence[tuple[str, Mapping[str, Value]]]) -> tuple[MethodInfo, ...]:
    """What methods declare, from the cache where no code has changed since.

    Methods are imported by a worker process, never by this one, which will hold the answers; and a
    finished run imports no torch. SpecError for what no method has, or a value out of its range.
    """
    folders = {registry.entry(name).file.parent for name, _ in asked if name not in ROUTINES}
    hashes = {folder: _code(folder) for folder in folders}
    found: dict[int, MethodInfo] = {}
    places: dict[int, Path] = {}
    for number, (name, settings) in enumerate(asked):
        if name in ROUTINES:
            if settings:
                raise SpecError(f"'{name}' has no hyper-parameter '{next(iter(settings))}'")
            routine = ROUTINES[name]
            found[number] = MethodInfo(name=name, version=routine.version, note=routine.note)
            continue
        written = {key: repr(value) for key, value in settings.items()}
        key = digest([name, hashes[registry.entry(name).file.parent], written])
        places[number] = cache_folder() / "methods" / f"{key}.json"
        with contextlib.suppress(OSError, ValidationError):  # absent or damaged: asked for again
            seal, _, text = places[number].read_bytes().partition(b"\n")
            if seal == _seal(text):
                found[number] = _INFO.validate_json(text)
    missing = [number for number in range(len(asked)) if number not in found]
    if missing:
        answers = own_worker().describe([asked[number] for number in missing])
        for number, values in zip(missing, answers, strict=True):
            found[number] = _INFO.validate_python(values)
            # a cache that cannot be written costs the next run a second, nothing else
            with contextlib.suppress(OSError):
                text = json.dumps(values).encode()
                write_whole(places[number], _seal(text) + b"\n" + text, error=None)
    return tuple(
        # said by the file's place, not by the method
        dataclasses.replace(
            found[number], built_in=name in ROUTINES or registry.entry(name).built_in
        )
        for number, (name, _) in enumerate(asked)
    )


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _code(folder: Path) -> str:
    """Hash of all code that a method of this folder may take its fields from."""
    package = Path(__file__).parents[1]
    folders = (package / "train", package / "nn", package / "shallow", folder)
    files = [file for place in folders for file in sorted(place.glob("*.py"))]
    files += [Path(__file__).with_name("worker.py"), Path(__file__)]
    files += [package / f"{name}.py" for name in ("registry", "plugin")]
    state = hashlib.sha256()
    for file in files:
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()


def methods_of(request: Request, condition: Condition) -> list[tuple[int, MethodInfo]]:
    """The methods of a request, each with the number of its configuration, 0 for the default.

    Raises:
        SpecError: a method or a hyper-parameter is unknown, or set for what does not run.
    """
    names, settings = expand(request.methods), request.settings
    for name in settings:
        if name not in names:
            raise SpecError(
                f"hyper-parameters are set for '{name}', which is not among the methods of this "
                f"run{did_you_mean(name, names)}"
            )
    defaults = read_methods([(name, settings.get(name, {})) for name in names])
    if not several(condition.selection):
        return [(0, info) for info in defaults]
    if condition.selection == ALL_CONFIGURATIONS:
        defaults = tuple(info for info in defaults if info.configurations)
    return list(_configurations(defaults, settings))


def _configurations(
    defaults: Sequence[MethodInfo], settings: Settings
) -> Iterator[tuple[int, MethodInfo]]:
    """All configurations of methods; what the user set holds for each."""
    asked = [
        (info.name, {**settings.get(info.name, {}), **dict(values)})
        for info in defaults
        for values in info.configurations
    ]
    others = iter(read_methods(asked))
    for info in defaults:
        yield 0, info
        for number in range(1, len(info.configurations) + 1):
            yield number, next(others)
