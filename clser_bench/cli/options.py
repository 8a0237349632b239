"""Options that several commands share, how their texts are read, and what a shell completes."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar

import typer

from clser_bench.errors import ClserError, SpecError, did_you_mean
from clser_bench.protocol import (
    SETTINGS,
    Classes,
    Condition,
    Normalisation,
    Pair,
    Shots,
    parse_shots,
)

F = TypeVar("F", bound=Callable[..., Any])
group = functools.partial(typer.Typer, no_args_is_help=True, rich_markup_mode=None)
"""A command of commands, by `help`."""

RESULTS = Path("results/clser.sqlite")
FORMATS = ("table", "md", "latex", "csv", "json")
GROUPS = ("What", "How", "Where", "Output")
"""Groups of the help, in this order."""


def completed(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Names that a shell offers for an option, also for the last of a comma list."""

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
    from clser_bench.features.encoders.models import known_encoders
    from clser_bench.features.sets import FEATURE_SETS, language_sets

    return [*FEATURE_SETS, *known_encoders(), *(f"set:{name}" for name in language_sets())]


def defined(what: str) -> Mapping[str, Any]:
    """The `corpora` or the `suites` that are defined, by code or name."""
    from clser_bench.corpora.definitions import definitions

    return typing.cast("Mapping[str, Any]", getattr(definitions(), what))


METHOD_NAMES, FEATURE_NAMES = completed(_methods), completed(_features)
SUITE_NAMES = completed(lambda: defined("suites"))
CORPUS_CODES = completed(lambda: defined("corpora"))


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
_SECTION = re.compile(
    rf"^({'|'.join((*GROUPS, 'Which tables', *_NO_GROUP))}):\n((?: +.*(?:\n|$))+)", re.M
)
_ENTRY = re.compile(r"^ {4}(\w+)(?: (\S+))?: (.*(?:\n {5,}.*)*)", re.M)


def described(text: str) -> dict[str, dict[str, Any]]:
    """Group, metavar and help of each option that a text describes.

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


def _with_parameters(command: F, parameters: Sequence[inspect.Parameter]) -> F:
    changed: Any = command
    changed.__signature__ = inspect.signature(command).replace(parameters=parameters)
    changed.__annotations__ = {one.name: one.annotation for one in parameters}  # typer reads both
    return command


def examples(*lines: str) -> Callable[[F], F]:
    """Add examples to a command's help, and take the help of its options from its docstring.

    The lines are commands as a user would type them; `described` reads the docstring.
    """

    def add(command: F) -> F:
        text = inspect.cleandoc(command.__doc__ or "")
        kinds = typing.get_type_hints(command, include_extras=True)
        for name, texts in described(text).items():
            kind, own = kinds[name], typer.Option(_flag(name))
            if hasattr(kind, "__metadata__"):  # flags and limits of its own
                kind, own = kind.__origin__, copy.copy(kind.__metadata__[0])
                if not isinstance(own.default, str):  # where typer finds the first flag
                    own.param_decls = (_flag(name),)
            vars(own).update(texts)
            kinds[name] = Annotated[kind, own]
        # \b keeps the lines of the paragraph apart
        command.__doc__ = "\n".join([f"{_SECTION.sub('', text).strip()}\n\n\b", *lines])
        own_ones = inspect.signature(command).parameters.values()
        return _with_parameters(
            command, [one.replace(annotation=kinds[one.name]) for one in own_ones]
        )

    return add


_ONLY = described("""
Which tables:
    suite NAME: Only this suite.
    shots K: Only this number of shots.
    features NAME: Only this feature set.
    alignment HOW: Only this alignment of feature sets that differ between languages.
    corruption KIND:LEVEL: Only this corruption of the target, noise:10, or clean.
    normalisation HOW: Only this normalisation.
    setting NAME: Only transductive, or only inductive.
    prior PRIOR: Only this prior.
    classes NAME: Only shared (all emotions of a pair), or only fixed4.
    unlabelled CODES: Only with this added unlabelled speech: N,T, or none.
    selection NAME: Only this choice of hyper-parameters.
""")
_ASK = described("""
What:
    suite NAME: See `list suites`; else chosen from the corpora.
How:
    alignment HOW: How feature sets that differ between languages are brought together without
        labels: anchors, names, moments, gromov, or none.
    normalisation HOW: z-scores by corpus, speaker, estimated-speakers, source or none.
    setting NAME: transductive, or inductive: adapt to half of the target's speakers, score the
        rest.
    prior PRIOR: natural, or dirichlet:1 for an imbalanced target.
    classes NAME: shared (all emotions of a pair), or fixed4: anger, fear, happiness, sadness.
    unlabelled CODES: Add these corpora as unlabelled speech: N,T (docs/protocol.md says to which
        side).
    selection NAME: Hyper-parameters: default; other-pairs (the best on pairs of other corpora); a
        criterion without target labels (mutual-information, entropy, neighbourhood-density,
        agreement, source-risk, source-accuracy, embedded-validation); or oracle (a reference that
        uses target labels, never ranked).
""")
_ASK["features"] = {**SHARED["features"], "rich_help_panel": "What"}

# Of the options of a condition's fields: flags where they are not `--FIELD`, defaults in a request,
# former flags that stand for a value, and what a shell offers.
_FLAGS = {
    "alignment": ("--align",),
    "normalisation": ("--normalise",),
    "prior": ("--target-prior",),
    "selection": ("--selection", "--select"),
}
_DEFAULTS = {**Condition().texts(), "alignment": "anchors"}
del _DEFAULTS["suite"]  # chosen from the corpora that are there
_SWITCHES = {"setting": ("--inductive", "inductive"), "classes": ("--fixed4", "fixed4")}
_COMPLETED = {
    "suite": SUITE_NAMES,
    "features": FEATURE_NAMES,
    "normalisation": completed(lambda: typing.get_args(Normalisation)),
    "setting": completed(lambda: SETTINGS),
    "classes": completed(lambda: typing.get_args(Classes)),
    "unlabelled": CORPUS_CODES,
}
FORMER = frozenset({"--corrupt", "--select", *(flag for flag, _ in _SWITCHES.values())})
"""Spellings that still work and are not shown."""


@examples()
def _asked(  # noqa: PLR0917
    corpora: Corpora = None,
    manifests: Manifest = None,
    tasks: Tasks = None,
    plugins: Plugin = None,
    pairs: str = "",
    methods: Annotated[
        str, typer.Option(autocompletion=METHOD_NAMES)
    ] = "chance,logistic,source-only,dann,sere",
    shots: str = "5",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    corruptions: Annotated[list[str] | None, typer.Option("--corruption", "--corrupt")] = None,
    skip_bad: SkipBad = False,
    devices: Devices = "",
    scheduler: Scheduler = "ray",
    workers: Workers = None,
    ray_address: str = "",
    gpus_per_pack: Annotated[float, typer.Option(min=0.0)] = 0.0,
    patience: Annotated[float, typer.Option(min=1.0)] = 3600.0,
    results: Results = RESULTS,
) -> None:
    """The options of a request; the sections below are groups of the help.

    What:
        pairs PAIRS: Only these: B->C,C->B (quote the >).
        methods NAMES: Comma list, or all: see `list methods`.
        shots K: Labelled utterances per emotion: 5, all, or several in `run` and `draws`: 1,5,all.
        seeds N: Draws of the labelled utterances.

    How:
        corruptions LIST: Run with a corrupted target too: noise:20,10,0 or telephone:8,6; also
            pink, babble, reverb, gain, speed, clip, which have levels of their own. Repeatable.

    Where:
        ray_address HOST:PORT: Join a Ray cluster that runs (auto: this machine's) instead of
            starting one.
        gpus_per_pack SHARE: Train packs on GPUs, each with this share of one: 0.25 for four packs a
            GPU.
        patience SECONDS: End a trial that takes longer, and store it as failed.
    """


FIELDS = inspect.signature(_asked).parameters
"""Fields of `run.request.Request` that have an option, in the order of the help."""

_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("manifests", "tasks", "plugins", "corruptions"), lambda v: tuple(v or ())),
    **dict.fromkeys(("methods", "devices"), words),
    "pairs": pairs,
    "shots": shots,
}

MEANS = ("devices", "scheduler", "workers", "ray_address", "gpus_per_pack", "patience")
"""Fields that say with what is run."""

RULES_OF_DATA = ("suite", "features", "alignment", "normalisation", "setting", "prior", "classes")
"""Rules that do not concern the choice of hyper-parameters or further speech."""


def condition_options(*, without: Collection[str] = ()) -> Callable[[F], F]:
    """Add the options that choose tables to a command, but those of some fields.

    The command gets them as `wanted`, a mapping for `Condition.matches`: name of a field to the
    value that is given.
    """
    chosen = [field for field in _ONLY if field not in without]

    def collect(given: dict[str, Any]) -> dict[str, str]:
        wanted = {field: value for field in chosen if (value := _value(field, given)) is not None}
        if "unlabelled" in wanted:
            codes = words(wanted["unlabelled"].replace("+", ","))
            wanted["unlabelled"] = "+".join(sorted(codes)) if codes != ("none",) else ""
        suite, colon, classes = wanted.get("suite", "").partition(":")
        # `bcro:fixed4`, as tables are titled
        return {"classes": classes, **wanted, "suite": suite} if colon else wanted

    return _with_options("wanted", _options(chosen, _ONLY, {}), collect)


def request_options(
    *, without: Collection[str] = (), rules: Collection[str] = (), **defaults: Any
) -> Callable[[F], F]:
    """Add the options of a `run.request.Request` to a command, which gets it as `request`.

    Args:
        without: fields of `FIELDS` whose options the command does not take.
        rules: fields of `Condition` whose options it takes; all where none is named.
        defaults: of fields, where they are others.
    """
    chosen = [field for field in _ONLY if field in (rules or _ASK) and field in _ASK]
    fields = [field for name, field in FIELDS.items() if name not in without]

    def collect(given: dict[str, Any]) -> Any:
        from clser_bench.run.request import Request

        values: dict[str, Any] = {field: _value(field, given) or "" for field in chosen}
        if "unlabelled" in values:
            values["unlabelled"] = words(values["unlabelled"])
        if (setting := values.get("setting", SETTINGS[0])) not in SETTINGS:
            raise SpecError(f"setting '{setting}' is unknown{did_you_mean(setting, SETTINGS)}")
        asked = {field.name: given[field.name] for field in fields}
        asked |= {name: read(asked[name]) for name, read in _READ.items() if name in asked}
        return Request(condition=Condition(**values), **asked)

    added = _options(chosen, _ASK, _DEFAULTS)
    for field in fields:
        default = defaults.get(field.name, field.default)
        added.append(field.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=default))
    return _with_options("request", added, collect)


def _options(
    fields: Iterable[str], texts: Mapping[str, Any], defaults: Mapping[str, str]
) -> list[inspect.Parameter]:
    """The options of fields of a condition, and hidden ones for the former switches."""
    made: list[tuple[str, Any, Any]] = []
    for field in fields:
        flags, offered = _FLAGS.get(field, (f"--{field}",)), _COMPLETED.get(field)
        own = typer.Option(*flags, autocompletion=offered, **texts[field])
        kind = str if field in defaults else str | None
        made.append((field, Annotated[kind, own], defaults.get(field)))
        if field in _SWITCHES:
            hidden = typer.Option(_SWITCHES[field][0], hidden=True)
            made.append((f"{field}_", Annotated[bool, hidden], False))
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(n, keyword, annotation=kind, default=d) for n, kind, d in made]


def _value(field: str, given: Mapping[str, Any]) -> str | None:
    value: str | None = given[field]
    return _SWITCHES[field][1] if given.get(f"{field}_") else value


def _with_options(
    name: str, added: Sequence[inspect.Parameter], collect: Callable[[dict[str, Any]], Any]
) -> Callable[[F], F]:
    """Replace a parameter of a command by options, from which its value is collected."""

    def add(command: F) -> F:
        # the type of the parameter itself need not be imported
        own = {key: kind for key, kind in command.__annotations__.items() if key != name}
        module = vars(sys.modules[command.__module__])
        hints = typing.get_type_hints(
            SimpleNamespace(__annotations__=own), module, include_extras=True
        )
        parameters: list[inspect.Parameter] = []
        for one in inspect.signature(command).parameters.values():
            parameters += added if one.name == name else [one.replace(annotation=hints[one.name])]

        @functools.wraps(command)
        def wrapped(**values: Any) -> Any:
            given = {option.name: values.pop(option.name) for option in added}
            return command(**values, **{name: collect(given)})

        return typing.cast("F", _with_parameters(wrapped, parameters))

    return add
