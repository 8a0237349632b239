"""The options of a condition and of a request: which tables are shown, what is run."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar

import typer

from clser_bench.cli import options
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.protocol import DEFAULT_FEATURES, SETTINGS, Classes, Condition, Normalisation

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Rule:
    """The options of one field of `protocol.Condition`; `_ONLY` and `_ASK` have their texts."""

    field: str
    flag: str = ""  # of both options; the name of the field where empty
    _: KW_ONLY
    default: str | None = None
    former: str = ""  # an earlier spelling, which still works
    switch: str = ""  # value that the former spelling stands for, where it takes none
    complete: Callable[[str], list[str]] | None = None  # what a shell offers


_ONLY = options.described("""
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
_ASK = options.described("""
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
_ASK["features"] = {**options.SHARED["features"], "rich_help_panel": "What"}

RULES = (
    Rule("suite", complete=options.SUITE_NAMES),
    Rule("shots"),
    Rule("features", default=DEFAULT_FEATURES, complete=options.FEATURE_NAMES),
    Rule("alignment", "--align", default="anchors"),
    Rule("corruption"),
    Rule(
        "normalisation",
        "--normalise",
        default="corpus",
        complete=options.completed(lambda: typing.get_args(Normalisation)),
    ),
    Rule(
        "setting",
        default="transductive",
        former="--inductive",
        switch="inductive",
        complete=options.completed(lambda: SETTINGS),
    ),
    Rule("prior", "--target-prior", default="natural"),
    Rule(
        "classes",
        default="shared",
        former="--fixed4",
        switch="fixed4",
        complete=options.completed(lambda: typing.get_args(Classes)),
    ),
    Rule("unlabelled", default="", complete=options.CORPUS_CODES),
    Rule("selection", former="--select", default="default"),
)
"""Every rule of `protocol.Condition` that has an option, in the order of the help."""

FORMER = frozenset({"--corrupt", *(rule.former for rule in RULES if rule.former)})
"""Spellings that still work and are not shown."""


@options.examples()
def _asked(  # noqa: PLR0917
    corpora: options.Corpora = None,
    manifests: options.Manifest = None,
    tasks: options.Tasks = None,
    plugins: options.Plugin = None,
    pairs: str = "",
    methods: Annotated[
        str, typer.Option(autocompletion=options.METHOD_NAMES)
    ] = "chance,logistic,source-only,dann,sere",
    shots: str = "5",
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    corruptions: Annotated[list[str] | None, typer.Option("--corruption", "--corrupt")] = None,
    skip_bad: options.SkipBad = False,
    devices: options.Devices = "",
    scheduler: options.Scheduler = "ray",
    workers: options.Workers = None,
    ray_address: str = "",
    gpus_per_pack: Annotated[float, typer.Option(min=0.0)] = 0.0,
    patience: Annotated[float, typer.Option(min=1.0)] = 3600.0,
    results: options.Results = options.RESULTS,
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
    **dict.fromkeys(("methods", "devices"), options.words),
    "pairs": options.pairs,
    "shots": options.shots,
}

MEANS = ("devices", "scheduler", "workers", "ray_address", "gpus_per_pack", "patience")
"""Fields that say with what is run."""

RULES_OF_DATA = ("suite", "features", "alignment", "normalisation", "setting", "prior", "classes")
"""Rules that do not concern the choice of hyper-parameters or further speech."""


def condition_options(*, without: Collection[str] = ()) -> Callable[[F], F]:
    """Add the options that choose tables to a command, which gets them as `wanted`.

    `wanted` is a mapping for `Condition.matches`: name of a field to the value that is given.

    Args:
        without: fields whose options the command does not take.
    """
    chosen = [rule for rule in RULES if rule.field not in without]

    def collect(given: dict[str, Any]) -> dict[str, str]:
        values = {rule.field: _value(rule, given) for rule in chosen}
        wanted = {field: value for field, value in values.items() if value is not None}
        if "unlabelled" in wanted:
            codes = options.words(wanted["unlabelled"].replace("+", ","))
            wanted["unlabelled"] = "+".join(sorted(codes)) if codes != ("none",) else ""
        suite, colon, classes = wanted.get("suite", "").partition(":")
        # `bcro:fixed4`, as tables are titled
        return {"classes": classes, **wanted, "suite": suite} if colon else wanted

    added = [made for rule in chosen for made in _options(rule, asks=False)]
    return _with_options("wanted", added, collect)


def request_options(
    *, without: Collection[str] = (), rules: Collection[str] = (), **defaults: Any
) -> Callable[[F], F]:
    """Add the options of a `run.request.Request` to a command, which gets it as `request`.

    Args:
        without: fields of `FIELDS` whose options the command does not take.
        rules: fields of `Condition` whose options it takes; all where none is named.
        defaults: of fields, where they are others.
    """
    chosen = [rule for rule in RULES if rule.field in _ASK and (not rules or rule.field in rules)]
    fields = [field for name, field in FIELDS.items() if name not in without]

    def collect(given: dict[str, Any]) -> Any:
        from clser_bench.run.request import Request

        values: dict[str, Any] = {rule.field: _value(rule, given) or "" for rule in chosen}
        if "unlabelled" in values:
            values["unlabelled"] = options.words(values["unlabelled"])
        if (setting := values.get("setting", SETTINGS[0])) not in SETTINGS:
            raise SpecError(f"setting '{setting}' is unknown{did_you_mean(setting, SETTINGS)}")
        asked = {field.name: given[field.name] for field in fields}
        asked |= {name: read(asked[name]) for name, read in _READ.items() if name in asked}
        return Request(condition=Condition(**values), **asked)

    added = [made for rule in chosen for made in _options(rule, asks=True)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added += [
        field.replace(kind=keyword, default=defaults.get(field.name, field.default))
        for field in fields
    ]
    return _with_options("request", added, collect)


def _options(rule: Rule, *, asks: bool) -> Iterator[inspect.Parameter]:
    """The option of a rule, and a hidden one where its former spelling took no value."""
    flag = rule.flag or f"--{rule.field}"
    flags = [flag] if rule.switch or not rule.former else [flag, rule.former]
    texts = _ASK if asks else _ONLY
    option = typer.Option(*flags, autocompletion=rule.complete, **texts[rule.field])
    kind = str | None if not asks or rule.default is None else str
    yield _parameter(rule.field, Annotated[kind, option], rule.default if asks else None)
    if rule.switch:
        hidden = typer.Option(rule.former, hidden=True)
        yield _parameter(f"{rule.field}_", Annotated[bool, hidden], False)


def _value(rule: Rule, given: Mapping[str, Any]) -> str | None:
    value: str | None = given[rule.field]
    return rule.switch if given.get(f"{rule.field}_") else value


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=kind)


def _with_options(
    name: str, added: Sequence[inspect.Parameter], collect: Callable[[dict[str, Any]], Any]
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
                parameters += added
            else:
                parameters.append(parameter.replace(annotation=hints[parameter.name]))

        @functools.wraps(command)
        def wrapped(**values: Any) -> Any:
            given = {option.name: values.pop(option.name) for option in added}
            return command(**values, **{name: collect(given)})

        # typer reads both
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {item.name: item.annotation for item in parameters}
        return typing.cast("F", wrapped)

    return add
