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
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clser_bench.errors import SpecError, did_you_mean
from clser_bench.files import expanded, read_toml, validated
from clser_bench.protocol import (
    CODE,
    CODE_OF_PART,
    EMOTIONS,
    FIXED_FOUR,
    PARTS,
    Classes,
    Gender,
    Normalisation,
    Pair,
    base_code,
)

_SUITES = "suites.toml"
_ENCODERS = "encoders.toml"  # read by `features.sets`
_GROUP = "clser_bench.tasks"
_REQUIRED_COLUMNS = frozenset({"path", "speaker", "emotion"})


class _Definition(BaseModel):
    """Read from TOML, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusSpec(_Definition):
    """What a corpus is and how its files lie on disk; docs/corpora.md explains the keys."""

    code: str  # `B` for EMO-DB
    name: str  # in file names and tables, `emodb`
    title: str  # in prose
    language: str  # BCP 47 tag, `de`
    licence: str
    citation: str
    synthetic: bool = False  # made by a speech synthesiser
    verified: bool = True  # checked against the real corpus, file by file
    folders: tuple[str, ...] = ()  # usual names of its folder: hints for the search
    in_folder: bool = False  # recognised in a folder of one of these names only
    # matched in full against the POSIX path below the corpus folder, extension left out; groups
    # `emotion`, `speaker`, and optionally `text`, `gender`, `emotion_again`
    pattern: str = ""
    table: str = ""  # a CSV table of the labels below the corpus folder, in place of `pattern`
    columns: dict[str, str] = Field(default_factory=dict)  # `path`, `speaker`, ... to the table's
    recordings: str = "{path}"  # where the paths of the table lie below the corpus folder
    labels: dict[str, str] = Field(default_factory=dict)  # own label to one of `EMOTIONS`
    excluded: dict[str, str] = Field(default_factory=dict)  # own labels left out, to the reason
    # regular expressions of paths (extension included) left out on purpose, to the reason
    ignored: dict[str, str] = Field(default_factory=dict)
    genders: dict[str, Gender] = Field(default_factory=dict)  # by speaker
    counts: dict[str, int] = Field(default_factory=dict)  # expected utterances of each emotion
    speakers: int = 0  # expected number; 0 where unknown

    @field_validator("code")
    @classmethod
    def _code_is_short(cls, code: str) -> str:
        if not CODE.fullmatch(code):
            raise ValueError(f"code {code!r} must match {CODE.pattern}")
        return code

    @model_validator(mode="after")
    def _emotions_are_known(self) -> Self:
        for emotion in (*self.labels.values(), *self.counts):
            if emotion not in EMOTIONS:
                raise ValueError(f"unknown emotion '{emotion}'{did_you_mean(emotion, EMOTIONS)}")
        return self

    @property
    def heading(self) -> str:
        """Title and code, `EMO-DB (B)`."""
        return f"{self.title} ({self.code})"

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions this corpus has, in the order of `EMOTIONS`."""
        return tuple(emotion for emotion in EMOTIONS if emotion in set(self.labels.values()))


class Suite(_Definition):
    """A named set of ordered pairs of corpora."""

    name: str
    corpora: tuple[str, ...]  # codes or parts (`PARTS`), in the order of the table; empty for all
    use: str  # what the suite is for
    # `same-language` is a control: pairs of corpora of one language; two parts of a corpus are a
    # pair where they have no speaker in common
    kind: Literal["cross-lingual", "same-language"] = "cross-lingual"
    targets: tuple[str, ...] = ()  # empty for all, as are the sources
    sources: tuple[str, ...] = ()
    # normalisation to the corpora that drop out of the suite under it
    not_under: dict[Normalisation, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sides_are_corpora(self) -> Self:
        for code in self.corpora:
            if not CODE_OF_PART.fullmatch(code):
                raise ValueError(f"{code!r} of suite {self.name}: parts are {', '.join(PARTS)}")
        for side, codes in (("target", self.targets), ("source", self.sources)):
            for code in set(codes) - set(self.corpora):
                raise ValueError(f"{side} {code!r} is not among the corpora of suite {self.name}")
        return self

    def pairs(self, normalisation: Normalisation = "corpus") -> tuple[Pair, ...]:
        """All ordered pairs from one of `sources` to one of `targets`, source by source."""
        out = self.not_under.get(normalisation, ())
        codes = [code for code in self.corpora if code not in out]
        sources, targets = (
            [code for code in codes if not wanted or code in wanted]
            for wanted in (self.sources, self.targets)
        )
        return tuple(Pair(s, t) for s in sources for t in targets if s != t)


def classes_of(
    source: CorpusSpec, target: CorpusSpec, *, classes: Classes = "shared"
) -> tuple[str, ...]:
    """The classes of a pair in the order of `EMOTIONS`; SpecError where fewer than two are left."""
    shared = [emotion for emotion in source.emotions if emotion in target.emotions]
    found = tuple(e for e in shared if classes == "shared" or e in FIXED_FOUR)
    if len(found) < 2:
        raise SpecError(
            f"{source.code} and {target.code} share {len(found)} emotion(s) {list(found)}; "
            "a pair needs at least two"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """What is defined."""

    corpora: Mapping[str, CorpusSpec]  # by code, sorted by code
    suites: Mapping[str, Suite]  # by name, those that ship first, in the order of their files


def definitions(extra: Iterable[Path] = ()) -> Definitions:
    """Every corpus and suite that is defined in the folders of the module, or in `extra`.

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
    return Definitions(
        corpora=MappingProxyType(dict(sorted(corpora.items()))), suites=MappingProxyType(suites)
    )


def template(name: str) -> str:
    """The text of a first definition of a corpus, which is read as it is.

    The name has lower-case letters, digits, `_` and `-`; SpecError for another, or one in use.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,15}", name):
        raise SpecError(f"corpus name '{name}': write at most 16 lower-case letters and digits")
    for spec in definitions().corpora.values():
        if name in (spec.name, spec.code.lower()):
            raise SpecError(f"'{name}' is the corpus {spec.heading}; choose another")
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
