"""Definitions of corpora and suites in TOML: those that ship, and the user's own.

A folder of definitions holds a file for each corpus (docs/corpora.md lists the keys) and, if it
defines suites, `suites.toml`. Besides the folder that ships, those in `CLSER_TASKS` (`--tasks` sets
it) and those of installed packages are read: an entry point of the group `clser_bench.tasks` names
a package that holds such files.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.resources
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from clser_bench.errors import SpecError
from clser_bench.files import expanded, read_toml, validated
from clser_bench.protocol import CorpusSpec, Suite, base_code

_SUITES = "suites.toml"
_ENCODERS = "encoders.toml"  # read by `features.languages`
_GROUP = "clser_bench.tasks"
_REQUIRED_COLUMNS = frozenset({"path", "speaker", "emotion"})


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """What is defined."""

    corpora: Mapping[str, CorpusSpec]  # by code, sorted by code
    suites: Mapping[str, Suite]  # by name, those that ship first, in the order of their files


def definitions(extra: Iterable[Path] = ()) -> Definitions:
    """Every defined corpus and suite.

    Args:
        extra: folders of definitions, beside those of `CLSER_TASKS` and of installed packages.

    Raises:
        SpecError: a folder is missing, a file is not TOML or defines something else, a code or a
            name is taken twice, or a suite names a corpus that is not defined.
    """
    named = os.environ.get("CLSER_TASKS", "").split(os.pathsep)
    folders = [*(expanded(name) for name in named if name), *map(expanded, extra)]
    return _read(tuple(dict.fromkeys(folder.absolute() for folder in folders)))


@functools.lru_cache(maxsize=8)
def _read(own: tuple[Path, ...]) -> Definitions:
    corpora: dict[str, CorpusSpec] = {}
    suites: dict[str, Suite] = {}
    origin: dict[str, str] = {}
    for file in (file for folder in (*_installed(), *own) for file in _files(folder)):
        if isinstance(file, Path):
            parsed = read_toml(file)
        else:  # in a zip file
            parsed = tomllib.loads(file.read_text(encoding="utf-8"))
        if file.name == _SUITES:
            for entry in parsed.get("suite", []):
                suite = validated(Suite, entry, file.name)
                if suite.name in suites:
                    raise SpecError(f"{file}: suite '{suite.name}' is defined already")
                suites[suite.name] = suite
            continue
        spec = validated(CorpusSpec, parsed, file.name)
        _check_layout(spec, file.name)
        if spec.code in corpora:
            raise SpecError(f"code '{spec.code}' is taken by {origin[spec.code]} and {file.name}")
        corpora[spec.code], origin[spec.code] = spec, file.name
    for suite in suites.values():
        unknown = [code for code in suite.corpora if base_code(code) not in corpora]
        if unknown:
            raise SpecError(f"suite '{suite.name}': no corpus has the code {unknown[0]}")
    frozen = MappingProxyType(dict(sorted(corpora.items()))), MappingProxyType(suites)
    return Definitions(corpora=frozen[0], suites=frozen[1])


def template(name: str) -> str:
    """The text of a first definition of a corpus, which is read as it is.

    The name has lower-case letters, digits, `_` and `-`; SpecError for another, or one in use.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,15}", name):
        raise SpecError(f"corpus name '{name}': write at most 16 lower-case letters and digits")
    for spec in definitions().corpora.values():
        if name in (spec.name, spec.code.lower()):
            raise SpecError(f"'{name}' is the corpus {spec.title} ({spec.code}); choose another")
    text = (Path(__file__).parents[1] / "templates" / "corpus.txt").read_text(encoding="utf-8")
    return text.replace("NAME", name).replace("CODE", name.upper())


def _installed() -> list[Traversable]:
    """The folder that ships, and those of other packages."""
    folders: list[Traversable] = [importlib.resources.files("clser_bench.tasks")]
    for point in importlib.metadata.entry_points(group=_GROUP):
        try:
            folders.append(importlib.resources.files(point.value))
        except ImportError as error:
            raise SpecError(
                f"entry point '{point.name}' of {_GROUP}: package {point.value} cannot be found"
            ) from error
    return folders


def _files(folder: Traversable) -> list[Traversable]:
    if not folder.is_dir():
        what = "is a file; name a folder" if folder.is_file() else "there is no such folder"
        raise SpecError(f"{folder}: {what} of definitions (--tasks, CLSER_TASKS)")
    files = (file for file in folder.iterdir() if file.name.endswith(".toml"))
    return sorted((file for file in files if file.name != _ENCODERS), key=lambda file: file.name)


def _check_layout(spec: CorpusSpec, where: str) -> None:
    if bool(spec.pattern) == bool(spec.table):
        raise SpecError(f"{where}: give either a pattern or a table")
    if spec.table:
        missing = _REQUIRED_COLUMNS - set(spec.columns)
        if missing:
            raise SpecError(f"{where}: columns has no {' and no '.join(sorted(missing))}")
        return
    try:
        groups = re.compile(spec.pattern).groupindex
        for expression in spec.ignored:
            re.compile(expression)
    except re.error as error:
        raise SpecError(f"{where}: {error.pattern!r} is no regular expression ({error})") from error
    absent = {"emotion", "speaker"} - set(groups)
    if absent:
        raise SpecError(f"{where}: pattern has no group named {' or '.join(sorted(absent))}")
