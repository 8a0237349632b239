"""Options that several commands share, how their texts are read, and what a shell completes."""

from __future__ import annotations

import contextlib
import copy
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

GROUPS = WHAT, HOW, WHERE, OUTPUT = ("What", "How", "Where", "Output")
"""Groups of the help, in this order."""


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


def _suites() -> Iterable[str]:
    from clser_bench.corpora.definitions import definitions

    return definitions().suites


def _codes() -> Iterable[str]:
    from clser_bench.corpora.definitions import definitions

    return definitions().corpora


def _features() -> list[str]:
    from clser_bench.features.encoders.names import known_encoders
    from clser_bench.features.languages import language_sets
    from clser_bench.features.sets import FEATURE_SETS

    return [*FEATURE_SETS, *known_encoders(), *(f"set:{name}" for name in language_sets())]


METHOD_NAMES, SUITE_NAMES = completed(_methods), completed(_suites)
CORPUS_CODES, FEATURE_NAMES = completed(_codes), completed(_features)


FEATURES_HELP = (
    "See `list features`: a set, an encoder (hf:REPOSITORY:layer=12, hf:./FOLDER), table:FILE, or "
    "a set by language (set:de=egemaps,zh=mel)."
)
Results = Annotated[
    Path, typer.Option("--results", metavar="FILE", rich_help_panel=OUTPUT, help="The results.")
]
Corpora = Annotated[
    Path | None,
    typer.Option(
        "--corpora",
        metavar="DIR",
        envvar="CLSER_CORPORA",
        rich_help_panel=WHAT,
        help="Folder of corpora at any depth.",
    ),
]
Manifest = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        rich_help_panel=WHAT,
        help="Table of your own recordings (path, speaker, emotion, language), or a data set "
        "of another system; repeatable.",
    ),
]


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


Tasks = Annotated[
    list[Path] | None,
    typer.Option(
        "--tasks",
        metavar="DIR",
        callback=use_tasks,
        is_eager=True,
        rich_help_panel=WHAT,
        help="Folder of your own definitions (TOML), beside CLSER_TASKS; repeatable.",
    ),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        callback=use_plugins,
        is_eager=True,
        rich_help_panel=WHAT,
        help="File of your own method, beside the folders of CLSER_METHODS; repeatable.",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--devices",
        metavar="LIST",
        rich_help_panel=WHERE,
        help="Where encoders run: cpu, or cuda:0,cuda:1; the first GPU where not given.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, rich_help_panel=WHERE, help="Else one a core."),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="WHERE",
        rich_help_panel=WHERE,
        help="ray (processes on all cores) or local (this process).",
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", rich_help_panel=HOW, help="List unreadable files and go on.")
]
Features = Annotated[
    str,
    typer.Option("--features", metavar="NAME", autocompletion=FEATURE_NAMES, help=FEATURES_HELP),
]
Methods = Annotated[
    str,
    typer.Option(
        "--methods",
        metavar="NAMES",
        autocompletion=METHOD_NAMES,
        help="Only these: a comma list.",
    ),
]
FORMATS = ("table", "md", "latex", "csv", "json")
Format = Annotated[
    str,
    typer.Option(
        "--format", metavar="FORMAT", rich_help_panel=OUTPUT, help="table, md, latex, csv or json."
    ),
]
Figures = Annotated[str, typer.Option(metavar="LIST", help="png, svg, pdf: a comma list.")]
With = Annotated[
    str,
    typer.Option(
        "--with",
        metavar="WHAT",
        rich_help_panel=OUTPUT,
        help="Extras: time (seconds a trial), energy (joules a trial, where a run measured them), "
        "point (hyper-parameters of each pair).",
    ),
]
MeasuredWith = Annotated[
    str,
    typer.Option(
        "--with",
        metavar="WHAT",
        rich_help_panel=OUTPUT,
        help="Extras: time (seconds a trial), point (hyper-parameters of each pair), energy "
        "(measures the joules of each trial that runs; needs the extra energy; what is stored "
        "without them is not run again).",
    ),
]


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


_SECTION = re.compile(rf"^({'|'.join((*GROUPS, 'Options'))}):\n((?: +.*(?:\n|$))+)", re.M)
_ENTRY = re.compile(r"^ {4}(\w+)(?: (\S+))?: (.*(?:\n {5,}.*)*)", re.M)


def examples(*lines: str) -> Callable[[F], F]:
    """Add examples to a command's help, and take the help of its options from its docstring.

    A section of the docstring is a group of the help (`What:`, or `Options:` for none); an entry is
    `parameter METAVAR: text`. The lines are commands as a user would type them.
    """

    def add(command: F) -> F:
        text = inspect.cleandoc(command.__doc__ or "")
        signature = inspect.signature(command)
        kinds = typing.get_type_hints(command, include_extras=True)
        for group, entries in _SECTION.findall(text):
            for name, metavar, about in _ENTRY.findall(entries):
                flag = f"--{name.rstrip('_').replace('_', '-')}"
                kind, option = kinds[name], typer.Option(flag)
                if hasattr(kind, "__metadata__"):  # flags and limits of its own
                    kind, option = kind.__origin__, copy.copy(kind.__metadata__[0])
                    if not isinstance(option.default, str):  # where typer finds the first flag
                        option.param_decls = (flag,)
                option.help = " ".join(about.split())
                option.metavar = metavar or None
                option.rich_help_panel = group if group in GROUPS else None
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
