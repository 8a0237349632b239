"""Options that several commands share, how their texts are read, and what a shell completes."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from clser_bench.errors import ClserError, SpecError, did_you_mean
from clser_bench.protocol import Pair, Shots, parse_shots

F = TypeVar("F", bound=Callable[..., Any])

RESULTS = Path("results/clser.sqlite")

GROUPS = ("What", "How", "Where", "Output")
"""Groups of the help, in this order."""

TABLES = "Which tables"
"""Group of the options that choose tables."""


def completed(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell offers for an option: names, also the last of a comma list."""

    def complete(incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",")
        with contextlib.suppress(ClserError):  # said by the command itself
            return [f"{before}{comma}{name}" for name in names() if name.startswith(begun)]
        return []

    return complete


def _methods() -> list[str]:
    from clser_bench.registry import entries
    from clser_bench.scoring.within_target import ROUTINES

    return [*entries(), *ROUTINES]


def _defined(kind: str) -> Iterable[str]:
    from clser_bench.corpora.definitions import definitions

    names: Iterable[str] = getattr(definitions(), kind)
    return names


def _features() -> list[str]:
    from clser_bench.features.encoders.names import known_encoders
    from clser_bench.features.languages import language_sets
    from clser_bench.features.sets import FEATURE_SETS

    return [*FEATURE_SETS, *known_encoders(), *(f"set:{name}" for name in language_sets())]


METHOD_NAMES, FEATURE_NAMES = completed(_methods), completed(_features)
SUITE_NAMES, CORPUS_CODES = (
    completed(functools.partial(_defined, kind)) for kind in ("suites", "corpora")
)


def use_tasks(folders: Sequence[Path] | None) -> list[Path] | None:
    """Let every reader of definitions, worker processes included, find some folders."""
    if not folders:
        return None
    found = [path.absolute() for path in folders]
    before = os.environ.get("CLSER_TASKS", "").split(os.pathsep)
    os.environ["CLSER_TASKS"] = os.pathsep.join(
        dict.fromkeys(filter(None, (*before, *map(str, found))))
    )
    return found


def use_plugins(files: Sequence[Path] | None) -> list[Path] | None:
    """Make methods of files known to this process and to those that it starts."""
    from clser_bench.registry import add_plugin

    for file in files or ():
        add_plugin(file)
    return [file.absolute() for file in files] if files else None


_SECTION = re.compile(rf"^({'|'.join((*GROUPS, TABLES, 'Options'))}):\n((?: +.*(?:\n|$))+)", re.M)
_ENTRY = re.compile(r"^ {4}(\w+)(?: (\S+))?: (.*(?:\n {5,}.*)*)", re.M)


def described(text: str) -> dict[str, dict[str, Any]]:
    """What a text says of options: group, metavar and help of each.

    A section is a group of the help (`What:`, or `Options:` for none); an entry of it is
    `parameter METAVAR: help`.
    """
    return {
        name: {
            "rich_help_panel": None if group == "Options" else group,
            "metavar": metavar or None,
            "help": " ".join(about.split()),
        }
        for group, entries in _SECTION.findall(text)
        for name, metavar, about in _ENTRY.findall(entries)
    }


SHARED = described("""
What:
    corpora DIR: Folder of corpora at any depth.
    manifest FILE: Table of your own recordings (path, speaker, emotion, language), or a data set of
        another system; repeatable.
    tasks DIR: Folder of your own definitions (TOML), beside CLSER_TASKS; repeatable.
    plugin FILE: File of your own method, beside the folders of CLSER_METHODS; repeatable.
How:
    skip_bad: List unreadable files and go on.
Where:
    devices LIST: Where encoders run: cpu, or cuda:0,cuda:1; the first GPU where not given.
    workers N: Else one a core.
    scheduler WHERE: ray (processes on all cores) or local (this process).
Output:
    results FILE: The results.
    format FORMAT: table, md, latex, csv or json.
    with WHAT: Extras: time (seconds a trial), energy (joules a trial, where a run measured them),
        point (hyper-parameters of each pair).
    measured_with WHAT: Extras: time (seconds a trial), point (hyper-parameters of each pair),
        energy (measures the joules of each trial that runs; needs the extra energy; what is stored
        without them is not run again).
Options:
    features NAME: See `list features`: a set, an encoder (hf:REPOSITORY:layer=12, hf:./FOLDER),
        table:FILE, or a set by language (set:de=egemaps,zh=mel).
    methods NAMES: Only these: a comma list.
    formats LIST: png, svg, pdf: a comma list.
    width INCHES: 3.4 is a column of a paper, 7 a page; wider where the text needs it.
    no_title: Leave titles out: a paper has a caption.
""")


def _option(name: str, flag: str = "", **more: Any) -> Any:
    return typer.Option(flag or _flag(name), **SHARED[name], **more)


def _flag(name: str) -> str:
    return f"--{name.rstrip('_').replace('_', '-')}"


Results = Annotated[Path, _option("results")]
Corpora = Annotated[Path | None, _option("corpora", envvar="CLSER_CORPORA")]
Manifest = Annotated[list[Path] | None, _option("manifest")]
Tasks = Annotated[list[Path] | None, _option("tasks", callback=use_tasks, is_eager=True)]
Plugin = Annotated[list[Path] | None, _option("plugin", callback=use_plugins, is_eager=True)]
Devices = Annotated[str, _option("devices")]
Workers = Annotated[int | None, _option("workers", min=1)]
Scheduler = Annotated[str, _option("scheduler")]
SkipBad = Annotated[bool, _option("skip_bad")]
Features = Annotated[str, _option("features", autocompletion=FEATURE_NAMES)]
Methods = Annotated[str, _option("methods", autocompletion=METHOD_NAMES)]
Format = Annotated[str, _option("format", autocompletion=completed(lambda: FORMATS))]
Figures = Annotated[str, _option("formats")]
Width = Annotated[float, _option("width", min=2.0, max=40.0)]
NoTitle = Annotated[bool, _option("no_title")]
With = Annotated[str, _option("with")]
MeasuredWith = Annotated[str, _option("measured_with", "--with")]

FORMATS = ("table", "md", "latex", "csv", "json")


def words(text: str) -> tuple[str, ...]:
    """Read a list written with commas; empty parts are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(text: str) -> tuple[Pair, ...]:
    """Read `B->C,C->B`.

    Raises:
        SpecError: a part is no pair.
    """
    return tuple(Pair.parse(part) for part in words(text))


def shots(text: str) -> tuple[Shots, ...]:
    """Read `1,5,all`.

    Raises:
        SpecError: a part is neither a positive integer nor `all`.
    """
    return tuple(parse_shots(part) for part in words(text))


def check(what: str, named: Iterable[str], known: Collection[str]) -> None:
    """Refuse a name before the work, not after it.

    Raises:
        SpecError: one of the names is not known.
    """
    for name in named:
        if name not in known:
            raise SpecError(f"there is no {what} '{name}'{did_you_mean(name, known)}")


def examples(*lines: str) -> Callable[[F], F]:
    """Add examples to a command's help, and take the help of its options from its docstring.

    The lines are commands as a user would type them; `described` reads the docstring.
    """

    def add(command: F) -> F:
        text = inspect.cleandoc(command.__doc__ or "")
        signature = inspect.signature(command)
        kinds = typing.get_type_hints(command, include_extras=True)
        for name, texts in described(text).items():
            kind, option = kinds[name], typer.Option(_flag(name))
            if hasattr(kind, "__metadata__"):  # flags and limits of its own
                kind, option = kind.__origin__, copy.copy(kind.__metadata__[0])
                if not isinstance(option.default, str):  # where typer finds the first flag
                    option.param_decls = (_flag(name),)
            vars(option).update(texts)
            kinds[name] = Annotated[kind, option]
        kept = [one.replace(annotation=kinds[one.name]) for one in signature.parameters.values()]
        # typer reads both
        command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in kept}
        shown = "\n".join(lines)
        # \b keeps the lines of the paragraph apart
        command.__doc__ = f"{_SECTION.sub('', text).strip()}\n\n\b\n{shown}"
        return command

    return add
