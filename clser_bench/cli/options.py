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

from clser_bench.corpora.definitions import definitions
from clser_bench.errors import ClserError, SpecError, did_you_mean
from clser_bench.protocol import Pair, Shots, parse_shots

F = TypeVar("F", bound=Callable[..., Any])
group = functools.partial(typer.Typer, no_args_is_help=True, rich_markup_mode=None)
"""A command of commands, by `help`."""

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


def _features() -> list[str]:
    from clser_bench.features.encoders.names import known_encoders
    from clser_bench.features.languages import language_sets
    from clser_bench.features.sets import FEATURE_SETS

    return [*FEATURE_SETS, *known_encoders(), *(f"set:{name}" for name in language_sets())]


METHOD_NAMES, FEATURE_NAMES = completed(_methods), completed(_features)
SUITE_NAMES, CORPUS_CODES = (
    completed(lambda: definitions().suites),
    completed(lambda: definitions().corpora),
)


def use_tasks(folders: Sequence[Path] | None) -> list[Path] | None:
    """Let every reader of definitions, worker processes included, find some folders."""
    if not folders:
        return None
    found = [path.absolute() for path in folders]
    every = (*os.environ.get("CLSER_TASKS", "").split(os.pathsep), *map(str, found))
    os.environ["CLSER_TASKS"] = os.pathsep.join(dict.fromkeys(filter(None, every)))
    return found


def use_plugins(files: Sequence[Path] | None) -> list[Path] | None:
    """Make methods of files known to this process and to those that it starts."""
    from clser_bench.registry import add_plugin

    for file in files or ():
        add_plugin(file)
    return [file.absolute() for file in files] if files else None


_NO_GROUP = ("Options", "Arguments")
_SECTION = re.compile(rf"^({'|'.join((*GROUPS, TABLES, *_NO_GROUP))}):\n((?: +.*(?:\n|$))+)", re.M)
_ENTRY = re.compile(r"^ {4}(\w+)(?: (\S+))?: (.*(?:\n {5,}.*)*)", re.M)


def described(text: str) -> dict[str, dict[str, Any]]:
    """What a text says of options: group, metavar and help of each.

    A section is a group of the help (`What:`, or `Options:` and `Arguments:` for none); an entry of
    it is `parameter METAVAR: help`.
    """
    return {
        name: {
            "rich_help_panel": None if group in _NO_GROUP else group,
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
    cached NAME: Only this set's shards: a name of `features list`, the start of a key, or a pattern
        ('hf:*').
    out_folder DIR: The folder; made where absent.
Arguments:
    listed: What to list.
    method: A name of `list methods`.
    trained METHOD: A trained method.
    codes CORPORA...: Codes or names of `list corpora`.
    explored RESULTS: The results file that was explored.
    card CARD: A card that `clser-bench card` wrote.
    place DIR: A folder of corpora, a manifest, or a data set of another system.
    new_method NAME: Lower-case words and hyphens.
    new_corpus NAME: Lower-case letters and digits.
    method_file FILE: A method of yours, or of ours.
    method_or_file METHOD|FILE: A method, or the file of one.
    encoder: A short name, hf:REPOSITORY or hf:./FOLDER; no layer.
    predictions FILE: CSV or Parquet: trial, id, and emotion or a score for each class.
    export FILE.parquet: Where to write.
    exports FILE.parquet...: Files that `export` wrote.
    formats LIST: png, svg, pdf: a comma list.
    width INCHES: 3.4 is a column of a paper, 7 a page; wider where the text needs it.
    no_title: Leave titles out: a paper has a caption.
""")


def option(name: str, flag: str = "", **more: Any) -> Any:
    """The option of a name of `SHARED`."""
    return typer.Option(flag or _flag(name), **SHARED[name], **more)


def argument(name: str, **more: Any) -> Any:
    """The argument of a name of `SHARED`."""
    return typer.Argument(**SHARED[name], **more)


def _flag(name: str) -> str:
    return f"--{name.rstrip('_').replace('_', '-')}"


Results = Annotated[Path, option("results")]
Corpora = Annotated[Path | None, option("corpora", envvar="CLSER_CORPORA")]
Manifest = Annotated[list[Path] | None, option("manifest")]
Tasks = Annotated[list[Path] | None, option("tasks", callback=use_tasks, is_eager=True)]
Plugin = Annotated[list[Path] | None, option("plugin", callback=use_plugins, is_eager=True)]
Devices = Annotated[str, option("devices")]
Workers = Annotated[int | None, option("workers", min=1)]
Scheduler = Annotated[str, option("scheduler")]
SkipBad = Annotated[bool, option("skip_bad")]
Features = Annotated[str, option("features", autocompletion=FEATURE_NAMES)]
Methods = Annotated[str, option("methods", autocompletion=METHOD_NAMES)]
Format = Annotated[str, option("format", autocompletion=completed(lambda: FORMATS))]
Figures = Annotated[str, option("formats")]
Width = Annotated[float, option("width", min=2.0, max=40.0)]
NoTitle = Annotated[bool, option("no_title")]
With = Annotated[str, option("with")]
MeasuredWith = Annotated[str, option("measured_with", "--with")]

FORMATS = ("table", "md", "latex", "csv", "json")


def words(text: str) -> tuple[str, ...]:
    """Read a list written with commas; empty parts are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(text: str) -> tuple[Pair, ...]:
    """Read `B->C,C->B`; raises SpecError where a part is no pair."""
    return tuple(map(Pair.parse, words(text)))


def shots(text: str) -> tuple[Shots, ...]:
    """Read `1,5,all`; raises SpecError where a part is something else."""
    return tuple(map(parse_shots, words(text)))


def check(what: str, named: Iterable[str], known: Collection[str]) -> None:
    """Raise SpecError for a name that is not known, before the work, not after it."""
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
            kind, own = kinds[name], typer.Option(_flag(name))
            if hasattr(kind, "__metadata__"):  # flags and limits of its own
                kind, own = kind.__origin__, copy.copy(kind.__metadata__[0])
                if not isinstance(own.default, str):  # where typer finds the first flag
                    own.param_decls = (_flag(name),)
            vars(own).update(texts)
            kinds[name] = Annotated[kind, own]
        kept = [one.replace(annotation=kinds[one.name]) for one in signature.parameters.values()]
        # typer reads both
        command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in kept}
        shown = "\n".join(lines)
        # \b keeps the lines of the paragraph apart
        command.__doc__ = f"{_SECTION.sub('', text).strip()}\n\n\b\n{shown}"
        return command

    return add
