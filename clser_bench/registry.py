"""Hyper-parameters as methods declare them; methods by name, read from their files.

A method is one file with one class under `@register("name", version=1)`: in `methods/`, in a folder
named in `CLSER_METHODS`, a file given to `add_plugin`, or a module that an installed distribution
names under the entry point `clser_bench.methods`. Names, versions and first lines are read with
`ast`, so that listing imports no method.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, dataclass_transform

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import require_file
from clser_bench.hashing import digest

T = TypeVar("T", bound=type)

ENTRY_POINTS = "clser_bench.methods"
"""The group under which a distribution names modules, one method a module."""

_PLUGINS = "CLSER_PLUGINS"  # in the environment, so that worker processes know them too
VARIABLES = ("CLSER_METHODS", _PLUGINS)
_EXTRA = "clser_bench_extra_methods"


@dataclass(frozen=True, kw_only=True)
class Range:
    """The allowed values of a hyper-parameter, and how a search draws it."""

    low: float | None = None  # smallest value, included
    high: float | None = None  # largest value, included
    log: bool = False  # search on a logarithmic scale
    choices: tuple[Any, ...] | None = None  # the allowed values, where they are listed
    grid: tuple[Any, ...] = ()  # values that a selection tries
    about: str = ""  # one line for `clser-bench show`

    def check(self, name: str, value: object) -> None:
        """Raise SpecError, with what is allowed, unless a value is."""
        if self.choices is not None:
            if value not in self.choices:
                raise SpecError(
                    f"{name}={value!r}: allowed are {', '.join(map(repr, self.choices))}"
                )
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpecError(f"{name}={value!r}: a number is needed")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:
            raise SpecError(f"{name}={value!r}: allowed is {low} to {high}")


def hyper(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
    grid: tuple[Any, ...] = (),
    about: str = "",
) -> Any:
    """Declare a hyper-parameter as a dataclass field with a default and a `Range`.

    A float default makes it a real value that may differ between trials of one pack; an
    integer, boolean or string default makes it structure, which splits packs. The grid has the
    default among its values.
    """
    if isinstance(default, bool):
        choices = choices or (False, True)
    span = Range(low=low, high=high, log=log, choices=choices, grid=grid, about=about)
    return dataclasses.field(default=default, metadata={"range": span})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A registered name, as read from its file."""

    name: str  # what users write
    version: int  # raised by the author when the method's numbers move
    summary: str  # first line of the file's docstring, or what a preset sets
    file: Path  # the file
    module: str  # what to import
    # hyper-parameters that a preset sets; empty for the method itself
    overrides: Mapping[str, Any] = field(default_factory=dict)
    base: str  # the method that a preset belongs to; its own name for a method
    ablation: bool = False  # a preset that takes a method apart; `all` leaves it out

    @property
    def built_in(self) -> bool:
        """Whether it is a method of this package."""
        return self.module.startswith("clser_bench.methods.")

    @property
    def origin(self) -> Path:
        """The place to import it from: its file, or the folder of an installed module."""
        return self.file if self.module.startswith(_EXTRA) else self.file.parent


@dataclass_transform(field_specifiers=(hyper,), kw_only_default=True, frozen_default=True)
def register(
    name: str,
    *,
    version: int,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    ablations: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[T], T]:
    """Register a method class under a literal name and make it a frozen dataclass.

    A class may change the default of an inherited hyper-parameter alone, as in
    `learning_rate: float = 3e-4`; range, grid and explanation stay.

    Args:
        name: what users write; all arguments are literals, since `list` reads them unexecuted.
        version: raised when the method's numbers move.
        presets: further names, each with the hyper-parameters it sets.
        ablations: likewise, for variants that take the method apart: `--methods all` leaves them
            out, `--methods NAME:ablations` is the method and these.
    """

    def mark(cls: T) -> T:
        inherited = getattr(cls, "__dataclass_fields__", {})
        for key in inherited.keys() & vars(cls).get("__annotations__", {}).keys():
            if key in vars(cls) and not isinstance(value := vars(cls)[key], dataclasses.Field):
                field_ = dataclasses.field(default=value, metadata=inherited[key].metadata)
                setattr(cls, key, field_)
        made: Any = dataclass(frozen=True, kw_only=True)(cls)
        made.registered_name = name
        made.version = version
        made.presets = {**(presets or {}), **(ablations or {})}
        return cls

    return mark


def add_plugin(path: Path | str) -> str:
    """Make the method of a file known to this process and to those that it starts; its name.

    Raises:
        SpecError: there is no such file, it registers nothing, or the name is taken.
    """
    file = Path(path).resolve()
    require_file(file, error=SpecError)
    name = _read(file, _module_of(file))[0].name
    known = os.environ.get(_PLUGINS, "").split(os.pathsep)
    if str(file) not in known:
        before = os.environ.get(_PLUGINS)
        os.environ[_PLUGINS] = os.pathsep.join(filter(None, (*known, str(file))))
        try:
            entries()
        except SpecError:
            os.environ[_PLUGINS] = before or ""
            raise
    return name


def places() -> dict[str, str]:
    """The variables of `VARIABLES` with their values, for another process."""
    return {name: os.environ.get(name, "") for name in VARIABLES}


def entries() -> dict[str, Entry]:
    """Every registered name, sorted.

    Raises:
        SpecError: a file does not parse or registers nothing, or a name is taken twice.
    """
    return dict(_entries(os.environ.get("CLSER_METHODS", ""), os.environ.get(_PLUGINS, "")))


def entry(name: str) -> Entry:
    """Look a name up; raises SpecError where there is no such method."""
    known = entries()
    if name not in known:
        near = did_you_mean(name, known, command="list methods")
        raise SpecError(f"method '{name}' is unknown{near}")
    return known[name]


def load(name: str) -> type[Any]:
    """Import the file of a method and return its class.

    Raises:
        SpecError: there is no such method, or its file does not define it when imported.
    """
    found = entry(name)
    module = _import(found)
    for value in vars(module).values():
        if isinstance(value, type) and getattr(value, "registered_name", None) == found.base:
            return value
    raise SpecError(f"{found.file}: importing it defines no class registered as '{found.base}'")


def create(name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """Make a method object: its defaults, then its preset's values, then the given ones.

    Raises:
        SpecError: unknown method or hyper-parameter, or a value out of its range.
    """
    cls = load(name)
    values = {**entry(name).overrides, **(parameters or {})}
    fields = {field.name for field in dataclasses.fields(cls)}
    for key in values.keys() - fields:
        near = did_you_mean(key, fields)
        raise SpecError(f"method '{name}' has no hyper-parameter '{key}'{near}")
    return cls(**values)


def template(name: str, kind: Literal["fitted", "trained"]) -> str:
    """The text of a first method file, which passes the checks of the contract.

    Fitted is the nearest class mean; trained a network with the entropy of the target as a second
    term. Raises SpecError where the name is not of lower-case words and hyphens, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise SpecError(f"method name '{name}': write lower-case words joined by hyphens")
    if name in entries():
        raise SpecError(f"'{name}' is registered by {entry(name).file}")
    title = "".join(word.capitalize() for word in name.split("-"))
    text = (Path(__file__).parent / "templates" / f"{kind}.txt").read_text(encoding="utf-8")
    return text.replace("NAME", name).replace("Title", title)


@functools.lru_cache(maxsize=8)
def _entries(folders: str, plugins: str) -> tuple[tuple[str, Entry], ...]:
    package = importlib.import_module("clser_bench.methods")
    named = [Path(folder) for folder in filter(None, folders.split(os.pathsep))]
    for folder in named:
        if not folder.is_dir():
            raise SpecError(f"CLSER_METHODS names '{folder}', which is no folder")
    every = (*map(Path, package.__path__), *(folder.resolve() for folder in named))
    found = [file for folder in every for file in sorted(folder.glob("*.py"))]
    files = [file for file in found if not file.name.startswith("_")]
    files += map(Path, filter(None, plugins.split(os.pathsep)))
    own = set(package.__path__)
    modules = {
        file: f"{package.__name__}.{file.stem}" if str(file.parent) in own else _module_of(file)
        for file in files
    }
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        what = f"entry point {point.name} = '{point.value}'"
        try:
            spec = importlib.util.find_spec(point.module)
        except ImportError as error:
            raise SpecError(f"{what}: {error}") from error
        if spec is None or not spec.origin:
            raise SpecError(f"{what}: there is no such module")
        modules[Path(spec.origin)] = point.module
    known: dict[str, Entry] = {}
    for file, module in modules.items():
        for item in _read(file, module):
            if item.name in known:
                other = known[item.name].file
                raise SpecError(f"'{item.name}' is registered by {other} and {file}")
            known[item.name] = item
    return tuple(sorted(known.items()))


def _module_of(file: Path) -> str:
    """A name of its own: a process imports a module name once, whatever folder it came from."""
    return f"{_EXTRA}.{file.stem}_{digest(str(file))[:12]}"


def _read(file: Path, module: str) -> list[Entry]:
    """The method of a file, then its presets."""
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise SpecError(f"{file}: line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: cannot be read as Python ({error})") from error
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    calls = [
        call
        for call in (call for node in classes for call in node.decorator_list)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", getattr(call.func, "attr", "")) == "register"
    ]
    if len(calls) != 1:
        needs = 'needs exactly one class under @register("name", version=1)'
        raise SpecError(f"{file}: {needs}, has {len(calls)}")
    try:
        name = ast.literal_eval(calls[0].args[0])
        options = {word.arg: ast.literal_eval(word.value) for word in calls[0].keywords}
        version = int(options["version"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        literal = "the arguments of @register must be literals with a version"
        raise SpecError(f"{file}: {literal}") from error
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    own = Entry(name=name, version=version, summary=summary, file=file, module=module, base=name)
    made = [own]
    for kind in ("presets", "ablations"):
        for preset, values in options.get(kind, {}).items():
            what = ", ".join(f"{key}={value}" for key, value in values.items())
            new: dict[str, Any] = {"name": preset, "summary": f"{name} with {what}"}
            new |= {"overrides": values, "ablation": kind == "ablations"}
            made.append(dataclasses.replace(own, **new))
    return made


def _import(found: Entry) -> Any:
    if not found.module.startswith(_EXTRA):
        return importlib.import_module(found.module)
    if found.module not in sys.modules:
        spec = importlib.util.spec_from_file_location(found.module, found.file)
        if spec is None or spec.loader is None:
            raise SpecError(f"{found.file}: cannot be imported as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[found.module] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[found.module]
            if isinstance(error, KeyboardInterrupt):
                raise
            # Whatever a stranger's file raises, SystemExit too, is that file's fault.
            raise SpecError(f"{found.file}: importing it raised {error!r}") from error
    return sys.modules[found.module]
