"""The definitions of corpora and suites that ship as TOML files."""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from clser_bench.errors import SpecError
from clser_bench.protocol import CorpusSpec, Suite

_SUITES = "suites.toml"
_ENCODERS = "encoders.toml"  # read by `features.languages`
_M = TypeVar("_M", bound=BaseModel)


def corpus_specs() -> dict[str, CorpusSpec]:
    """Every defined corpus by its code, sorted by code.

    Raises:
        SpecError: a file is not TOML or not a corpus definition, or a code is taken twice.
    """
    return dict(_corpus_specs())


def suites() -> dict[str, Suite]:
    """Every suite by its name, in the order of the file.

    Raises:
        SpecError: the file is not TOML or holds something else.
    """
    return dict(_suites())


@functools.cache
def _corpus_specs() -> tuple[tuple[str, CorpusSpec], ...]:
    found: dict[str, CorpusSpec] = {}
    origin: dict[str, str] = {}
    for file in _files():
        if file.name in (_SUITES, _ENCODERS):
            continue
        spec = _validated(CorpusSpec, _parsed(file), file.name)
        _check_pattern(spec, file.name)
        if spec.code in found:
            raise SpecError(f"code '{spec.code}' is taken by {origin[spec.code]} and {file.name}")
        found[spec.code] = spec
        origin[spec.code] = file.name
    return tuple(sorted(found.items()))


@functools.cache
def _suites() -> tuple[tuple[str, Suite], ...]:
    file = importlib.resources.files("clser_bench.tasks").joinpath(_SUITES)
    listed = _parsed(file).get("suite", [])
    made = [_validated(Suite, entry, _SUITES) for entry in listed]
    return tuple((suite.name, suite) for suite in made)


def _files() -> list[Traversable]:
    folder = importlib.resources.files("clser_bench.tasks")
    files = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return sorted(files, key=lambda file: file.name)


def _parsed(file: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{file.name}: not valid TOML ({error})") from error


def _validated(model: type[_M], values: object, where: str) -> _M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, fault['loc'])) or 'definition'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise SpecError(f"{where}: {'; '.join(faults)}") from error


def _check_pattern(spec: CorpusSpec, where: str) -> None:
    try:
        groups = re.compile(spec.pattern).groupindex
        for expression in spec.ignored:
            re.compile(expression)
    except re.error as error:
        raise SpecError(f"{where}: {error.pattern!r} is no regular expression ({error})") from error
    missing = {"emotion", "speaker"} - set(groups)
    if missing:
        raise SpecError(f"{where}: pattern has no group named {' or '.join(sorted(missing))}")
