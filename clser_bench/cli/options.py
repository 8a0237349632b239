"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar

import typer

from clser_bench.protocol import DEFAULT_FEATURES, Condition, Pair, Shots, parse_shots

F = TypeVar("F", bound=Callable[..., Any])

RESULTS = Path("results/clser.sqlite")

GROUPS = WHAT, HOW, WHERE, OUTPUT = ("What", "How", "Where", "Output")
"""Groups of the help, in this order."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The options of one field of `protocol.Condition`.

    Attributes:
        field: its name.
        flag: option of commands that choose tables.
        metavar: of both options.
        only: help of that option.
        ask: help of the option of commands that run; empty where these have none.
        default: of that option.
        group: of the help of commands that run.
        former: an earlier spelling, which still works.
        switch: value that the former spelling stands for, where it takes none.
    """

    field: str
    flag: str
    metavar: str
    only: str
    ask: str = ""
    default: str | None = None
    group: str = HOW
    former: str = ""
    switch: str = ""


_FEATURES = (
    "See `list features`: a set, an encoder (hf:REPOSITORY:layer=12, hf:./FOLDER), table:FILE, or "
    "a set by language (set:de=egemaps,zh=mel)."
)
RULES = (
    Rule(
        field="suite",
        flag="--suite",
        metavar="NAME",
        only="Only this suite.",
        ask="See `list suites`; else chosen from the corpora.",
        group=WHAT,
    ),
    Rule(field="shots", flag="--shots", metavar="K", only="Only this number of shots."),
    Rule(
        field="features",
        flag="--features",
        metavar="NAME",
        only="Only this feature set.",
        ask=_FEATURES,
        default=DEFAULT_FEATURES,
        group=WHAT,
    ),
    Rule(
        field="alignment",
        flag="--align",
        metavar="HOW",
        only="Only this alignment of feature sets that differ between languages.",
        ask="How feature sets that differ between languages are brought together without "
        "labels: anchors, names, moments, gromov, or none.",
        default="anchors",
    ),
    Rule(
        field="corruption",
        flag="--corruption",
        metavar="KIND:LEVEL",
        only="Only this corruption of the target, noise:10, or clean.",
    ),
    Rule(
        field="normalisation",
        flag="--normalise",
        metavar="HOW",
        only="Only this normalisation.",
        ask="z-scores by corpus, speaker, estimated-speakers, source or none.",
        default="corpus",
    ),
    Rule(
        field="setting",
        flag="--setting",
        metavar="NAME",
        only="Only transductive, or only inductive.",
        ask="transductive, or inductive: adapt to half of the target's speakers, score the rest.",
        former="--inductive",
        default="transductive",
        switch="inductive",
    ),
    Rule(
        field="prior",
        flag="--target-prior",
        metavar="PRIOR",
        only="Only this prior.",
        ask="natural, or dirichlet:1 for an imbalanced target.",
        default="natural",
    ),
    Rule(
        field="classes",
        flag="--classes",
        metavar="NAME",
        only="Only shared (all emotions of a pair), or only fixed4.",
        ask="shared (all emotions of a pair), or fixed4: anger, fear, happiness, sadness.",
        former="--fixed4",
        default="shared",
        switch="fixed4",
    ),
    Rule(
        field="unlabelled",
        flag="--unlabelled",
        metavar="CODES",
        only="Only with this added unlabelled speech: N,T, or none.",
        ask="Add these corpora as unlabelled speech: N,T (docs/protocol.md says to which side).",
        default="",
    ),
    Rule(
        field="selection",
        flag="--selection",
        metavar="NAME",
        only="Only this choice of hyper-parameters.",
        ask="Hyper-parameters: default; other-pairs (the best on pairs of other corpora); a "
        "criterion without target labels (mutual-information, entropy, neighbourhood-density, "
        "agreement, source-risk, source-accuracy, embedded-validation); or oracle (a "
        "reference that uses target labels, never ranked).",
        former="--select",
        default="default",
    ),
)
"""Every rule of `protocol.Condition` that has an option, in the order of the help."""

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
RayAddress = Annotated[
    str,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        rich_help_panel=WHERE,
        help="Join a Ray cluster that runs (auto: this machine's) instead of starting one.",
    ),
]
GpusPerPack = Annotated[
    float,
    typer.Option(
        "--gpus-per-pack",
        metavar="SHARE",
        min=0.0,
        rich_help_panel=WHERE,
        help="Train packs on GPUs, each with this share of one: 0.25 for four packs a GPU.",
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", rich_help_panel=HOW, help="List unreadable files and go on.")
]
Features = Annotated[str, typer.Option("--features", metavar="NAME", help=_FEATURES)]
Methods = Annotated[
    str, typer.Option("--methods", metavar="NAMES", help="Only these: a comma list.")
]
Pairs = Annotated[
    str,
    typer.Option(
        "--pairs",
        metavar="PAIRS",
        rich_help_panel=WHAT,
        help="Only these: B->C,C->B (quote the >).",
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        rich_help_panel=WHAT,
        help="Draws of the labelled utterances.",
    ),
]
OneShots = Annotated[
    str,
    typer.Option(
        "--shots",
        metavar="K",
        rich_help_panel=WHAT,
        help="Labelled utterances per emotion: 5, or all.",
    ),
]
SeveralShots = Annotated[
    str,
    typer.Option(
        "--shots",
        metavar="K",
        rich_help_panel=WHAT,
        help="Labelled utterances per emotion: 5, or 1,5,all.",
    ),
]
FORMATS = ("table", "md", "latex", "csv", "json")
Format = Annotated[
    str,
    typer.Option(
        "--format", metavar="FORMAT", rich_help_panel=OUTPUT, help="table, md, latex, csv or json."
    ),
]
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


def condition_options(*, without: Collection[str] = ()) -> Callable[[F], F]:
    """Add the options that choose tables to a command, which gets them as `wanted`.

    `wanted` is a mapping for `Condition.matches`: name of a field to the value that is given.

    Args:
        without: fields whose options the command does not take.
    """
    chosen = [rule for rule in RULES if rule.field not in without]
    options = [
        made
        for rule in chosen
        for made in _options(rule, None, help=rule.only, rich_help_panel="Which tables")
    ]

    def collect(given: dict[str, Any]) -> dict[str, str]:
        values = {rule.field: _value(rule, given) for rule in chosen}
        wanted = {field: value for field, value in values.items() if value is not None}
        if "unlabelled" in wanted:
            codes = words(wanted["unlabelled"].replace("+", ","))
            wanted["unlabelled"] = "+".join(sorted(codes)) if codes != ("none",) else ""
        suite, colon, classes = wanted.get("suite", "").partition(":")
        # `bcro:fixed4`, as tables are titled
        return {"classes": classes, **wanted, "suite": suite} if colon else wanted

    return _with_options("wanted", options, collect)


def condition_arguments(*fields: str) -> Callable[[F], F]:
    """Add the options that say under which rules to run, which a command gets as `condition`.

    Its `suite` is empty where none is named. Numbers of shots and corruptions can be several, so
    they are options of the commands.

    Args:
        fields: of `Condition`; all that can be asked for where none is named.
    """
    chosen = [rule for rule in RULES if rule.ask and (not fields or rule.field in fields)]
    options = [
        made
        for rule in chosen
        for made in _options(rule, rule.default, help=rule.ask, rich_help_panel=rule.group)
    ]

    def collect(given: dict[str, Any]) -> Condition:
        values: dict[str, Any] = {rule.field: _value(rule, given) or "" for rule in chosen}
        if "unlabelled" in values:
            values["unlabelled"] = words(values["unlabelled"])
        return Condition(**values)

    return _with_options("condition", options, collect)


def _options(rule: Rule, default: str | None, **words_: Any) -> Iterator[inspect.Parameter]:
    """The option of a rule, and a hidden one where its former spelling took no value."""
    flags = [rule.flag] if rule.switch or not rule.former else [rule.flag, rule.former]
    option = typer.Option(*flags, metavar=rule.metavar, **words_)
    kind = str | None if default is None else str
    yield _parameter(rule.field, kind, default, option)
    if rule.switch:
        yield _parameter(f"{rule.field}_", bool, False, typer.Option(rule.former, hidden=True))


def _value(rule: Rule, given: Mapping[str, Any]) -> str | None:
    value: str | None = given[rule.field]
    return rule.switch if given.get(f"{rule.field}_") else value


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def _with_options(
    name: str, options: Sequence[inspect.Parameter], collect: Callable[[dict[str, Any]], Any]
) -> Callable[[F], F]:
    """Replace a parameter of a command by options, from which its value is collected."""

    def add(command: F) -> F:
        own = {key: kind for key, kind in command.__annotations__.items() if key != name}
        hints = typing.get_type_hints(
            SimpleNamespace(__annotations__=own),
            vars(sys.modules[command.__module__]),
            include_extras=True,
        )
        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name == name:
                parameters += options
            else:
                parameters.append(parameter.replace(annotation=hints[parameter.name]))

        @functools.wraps(command)
        def wrapped(**values: Any) -> Any:
            given = {option.name: values.pop(option.name) for option in options}
            return command(**values, **{name: collect(given)})

        # typer reads both
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {item.name: item.annotation for item in parameters}
        return typing.cast("F", wrapped)

    return add


def check_methods(named: Iterable[str], known: Collection[str]) -> None:
    """Refuse a method that a results file has nothing of; a slip would go unnoticed.

    Args:
        named: as the user wrote them.
        known: methods of the file.

    Raises:
        SpecError: it has no results of one of them.
    """
    from clser_bench.errors import SpecError, did_you_mean

    for name in named:
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")


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
