"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from clser_bench.protocol import Pair, Shots, parse_shots

F = TypeVar("F", bound=Callable[..., Any])

RESULTS = Path("results/clser.sqlite")

Results = Annotated[
    Path, typer.Option("--results", metavar="FILE", help="The results file (SQLite).")
]
Corpora = Annotated[
    Path | None,
    typer.Option(
        "--corpora",
        metavar="DIR",
        envvar="CLSER_CORPORA",
        help="Folder that holds corpora at any depth; they are recognised by their layout.",
    ),
]
Manifest = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        help="CSV or Parquet table of your own recordings (path, speaker, emotion, language), or "
        "a data set of another system (docs/corpora.md); may be given several times.",
    ),
]


def _set_tasks(folders: list[Path] | None) -> list[Path] | None:
    """Let every reader of definitions, worker processes included, find the folders."""
    if folders:
        os.environ["CLSER_TASKS"] = os.pathsep.join(str(path.absolute()) for path in folders)
    return folders


Tasks = Annotated[
    list[Path] | None,
    typer.Option(
        "--tasks",
        metavar="DIR",
        callback=_set_tasks,
        is_eager=True,
        help="Folder with your own definitions of corpora and suites (TOML), beside those in "
        "CLSER_TASKS; may be given several times.",
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NAME",
        help="See `list features`: a set, an encoder (hf:REPOSITORY@REVISION:layer=12, or "
        "hf:./FOLDER), or a set for each language (set:heterogeneous, set:de=egemaps,zh=mel).",
    ),
]
Align = Annotated[
    str,
    typer.Option(
        "--align",
        metavar="HOW",
        help="How feature sets that differ between languages are brought together without "
        "labels: anchors, names, moments, gromov, or none.",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--devices",
        metavar="LIST",
        help="Where encoders run: cpu, or cuda:0,cuda:1; the first GPU where not given.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Processes; one a core where not given."),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="WHERE",
        help="ray (processes on all cores) or local (this process).",
    ),
]
RayAddress = Annotated[
    str,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Join a Ray cluster that runs (auto: the one of this machine), instead of starting "
        "one; see docs/scaling.md.",
    ),
]
GpusPerPack = Annotated[
    float,
    typer.Option(
        "--gpus-per-pack",
        metavar="SHARE",
        min=0.0,
        help="Train packs on GPUs, each with this share of one: 0.25 for four packs a GPU.",
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="List unreadable files, instead of stopping."),
]
FORMATS = ("table", "md", "latex", "csv", "json")
Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="table, md, latex, csv or json.")
]
With = Annotated[
    str,
    typer.Option(
        "--with",
        metavar="WHAT",
        help="Extras: time (seconds a trial), energy (joules a trial, where a run measured them), "
        "point (hyper-parameters of each pair).",
    ),
]
MeasuredWith = Annotated[
    str,
    typer.Option(
        "--with",
        metavar="WHAT",
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


def examples(*lines: str) -> Callable[[F], F]:
    """Add examples to a command's help.

    Args:
        lines: commands as a user would type them.
    """

    def add(command: F) -> F:
        shown = "\n".join(lines)
        # \b keeps the lines of the paragraph apart
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n\b\n{shown}"
        return command

    return add
