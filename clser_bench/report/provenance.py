"""Provenance cards: what a table says, what it was made of, and how to make it again, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from clser_bench.errors import SpecError
from clser_bench.hashing import digest
from clser_bench.problem import Trial
from clser_bench.protocol import Condition, Pair
from clser_bench.report.table import Leaderboard, Line
from clser_bench.store.records import Run
from clser_bench.store.sqlite import Store

FORMAT = 2
LARGEST = 32 * 2**20
"""The most bytes that a card may have."""

_MANY = 10_000
_FAULTS = 3

# no control or format characters: a card is read by people, in terminals
_PRINTED = r"^[^\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]*$"
Text = Annotated[str, StringConstraints(max_length=4096, pattern=_PRINTED)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTED)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,15}(\.[a-z]+)*$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{0,64}$")]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=_MANY)]
Labelled = Annotated[int, Field(ge=1, le=10**9)] | Literal["all"]
Values = dict[Name, int | float | bool | Text]


def _is_a_condition(texts: dict[str, str]) -> dict[str, str]:
    if texts.keys() != Condition().texts().keys():
        raise ValueError(f"needs the fields {', '.join(Condition().texts())}, each once")
    try:
        Condition.from_texts(texts)
    except SpecError as error:
        raise ValueError(str(error)) from error
    return texts


Rules = Annotated[dict[Name, Text], AfterValidator(_is_a_condition)]
"""Every field of a `Condition`, as `Condition.texts` writes it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Software(_Part):
    """The software that wrote a card; see `run.provenance.code`."""

    clser_bench: Name
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")] = ""
    modified: bool | None = None
    python: Name
    packages: dict[Name, Name]


class Machine(_Part):
    """The machine that wrote a card; see `run.provenance.hardware`."""

    processor: Text
    cores: Count
    memory_gib: Annotated[float, Field(ge=0)] | None
    system: Text
    methods: Text = ""  # cards of before do not say whether methods were confined


class Requested(_Part):
    """The request of one run, without places: corpora and results are the reader's.

    The attributes are those of `run.request.Request` that decide the numbers, as JSON.
    """

    condition: Rules
    pairs: Annotated[tuple[Name, ...], Field(max_length=_MANY)]
    methods: Annotated[tuple[Name, ...], Field(min_length=1, max_length=_MANY)]
    shots: Annotated[tuple[Labelled, ...], Field(min_length=1, max_length=1000)]
    seeds: Annotated[int, Field(ge=1, le=_MANY)]
    corruptions: Annotated[tuple[Name, ...], Field(max_length=1000)]
    settings: dict[Name, Values]
    skip_bad: bool
    manifests: Annotated[int, Field(ge=0, le=1000)]
    folder: bool


class CardPair(_Part):
    """A column."""

    source: Code
    target: Code
    classes: Annotated[tuple[Name, ...], Field(max_length=100)]
    # hashes of audio, labels, features and normalisation of the source and the target
    source_key: Key
    target_key: Key

    @property
    def pair(self) -> Pair:
        """The pair."""
        return Pair(self.source, self.target)


class CardCell(_Part):
    """A method on a pair."""

    mean: Percent | None  # UAR in percent over the draws; None where missing
    # sample standard deviation over the draws; None where missing and for one draw
    sd: Annotated[float, Field(ge=0)] | None
    n: Count  # draws that have a result
    # UAR of each of the method's seeds; None where there is no result
    uars: Annotated[tuple[Percent | None, ...], Field(max_length=_MANY)]
    status: Literal["ok", "failed", "not_applicable"]
    reason: Text = ""  # of a missing cell


class CardMethod(_Part):
    """A row."""

    method: Name
    role: Literal["ranked", "bound", "reference", "submitted"]
    version: Count
    engine_version: Count  # of the training engine; 0 for what does not use it
    # number of settings of its hyper-parameters, in this version, with a result on the targets of
    # this condition, whatever way they were chosen
    evaluations: Count
    imported: Text = ""  # name of the file that the results came from; empty for those run here
    parameters: Values  # hyper-parameters that all pairs share
    of_pairs: dict[Name, Values]  # pair to the hyper-parameters that differ between pairs
    seeds: Annotated[tuple[Seed, ...], Field(max_length=_MANY)]
    cells: Annotated[tuple[CardCell, ...], Field(max_length=_MANY)]  # one per pair of the card


class Card(_Part):
    """A table with its provenance.

    The results file keeps no versions of packages: `software` and `machine` are those that wrote
    the card, so write it where the run was.
    """

    format: Literal[2] = 2
    title: Text
    condition: Rules
    synthetic: bool
    pairs: Annotated[tuple[CardPair, ...], Field(max_length=_MANY)]
    methods: Annotated[tuple[CardMethod, ...], Field(max_length=_MANY)]
    remarks: tuple[Text, ...] = ()
    # of the runs that made it, in their order; none for imported results
    requests: Annotated[tuple[Requested, ...], Field(max_length=100)]
    commands: Annotated[tuple[Text, ...], Field(max_length=100)]
    software: Software
    machine: Machine
    sha256: Key = ""  # of all the rest; see `seal`

    @property
    def rules(self) -> Condition:
        """The condition."""
        return Condition.from_texts(self.condition)

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        columns = [pair.pair for pair in self.pairs]
        rows = [method.method for method in self.methods]
        if len(set(columns)) < len(columns) or len(set(rows)) < len(rows):
            raise ValueError("a pair or a method is named twice")
        for method in self.methods:
            seeds = len(method.seeds)
            if len(set(method.seeds)) < seeds or len(method.cells) != len(columns):
                raise ValueError(f"{method.method} needs a cell a pair, and each seed once")
            if any(len(cell.uars) != seeds for cell in method.cells):
                raise ValueError(f"{method.method} needs a UAR a seed in every cell")
        return self


def make_card(
    store: Store,
    table: Leaderboard,
    *,
    software: Software,
    machine: Machine,
    requests: Sequence[Requested] = (),
    commands: Sequence[str] = (),
) -> Card:
    """Make the card of a table.

    Args:
        requests: of the runs behind the table, as `runs_of` orders them.

    Raises:
        SpecError: methods of the table had different audio, labels or features, or a name in it is
            one that a card cannot hold.
        StoreError: the database is damaged.
    """
    trials = {
        line.method: store.trials(line.id)
        for line in store.lines()
        if line.configuration is None and line.condition == table.condition
    }
    names = table.condition.texts().keys() - {"selection"}
    evaluations = {
        (row["method"], row["version"]): int(row["evaluations"])
        for row in store.looks().to_dict("records")
        if table.condition.matches({name: str(row[name]) for name in names})
    }
    imported = {name: run.imported for run, names in runs_of(store, table) for name in names}
    rows: list[dict[str, Any]] = []
    for line in table.lines:
        row = _of_method(store, table, line, trials[line.method])
        found = evaluations.get((line.method, row["version"]), 0)
        rows.append(row | {"evaluations": found, "imported": imported.get(line.method, "")})
    try:
        card = Card(
            title=table.title,
            condition=table.condition.texts(),
            synthetic=table.synthetic,
            pairs=tuple(_pairs(table, trials)),
            methods=tuple(CardMethod(**row) for row in rows),
            remarks=tuple(map(_in_print, table.remarks)),
            requests=tuple(requests),
            commands=tuple(commands),
            software=software,
            machine=machine,
        )
    except ValidationError as error:
        raise SpecError(f"{table.title}: a card cannot hold it: {faults(error)}") from error
    return seal(card)


def runs_of(store: Store, table: Leaderboard) -> Iterator[tuple[Run, tuple[str, ...]]]:
    """The stored plans behind a table, the latest last, each with the methods that it gave."""
    lines = [line for line in store.lines() if line.configuration is None]
    shown = {line.method for line in table.lines}
    own = {line.method: line.request for line in lines if line.condition == table.condition}
    for run in store.runs():
        methods = {name for name, request in own.items() if request == run.id} & shown
        if methods:
            known = [name for name in run.methods if name in methods]
            yield run, (*known, *sorted(methods - set(known)))


def seal(card: Card) -> Card:
    """The same card with the hash of all its fields but the hash itself.

    The hash guards against damage and slips; whoever changes a card on purpose can make it again.
    """
    values = card.model_dump(mode="json", exclude={"sha256"})
    return card.model_copy(update={"sha256": digest(values)})


def as_text(card: Card) -> str:
    """Write a card as JSON."""
    return json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def read_card(path: Path) -> Card:
    """Read a card that somebody else may have written; nothing in it is trusted.

    Raises:
        SpecError: it cannot be read, is too large, is of another format, does not fit its hash,
            has an unknown field or a value of another kind.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise SpecError(f"card {path}: cannot be read ({error.strerror})") from error
    if len(text) > LARGEST:
        raise SpecError(f"card {path}: has more than {LARGEST // 2**20} MiB, so it is no card")
    try:
        values: dict[str, Any] = json.loads(text)
        sha256 = digest({name: value for name, value in values.items() if name != "sha256"})
    except (ValueError, RecursionError, AttributeError) as error:
        raise SpecError(f"card {path}: is not the JSON of a card ({str(error)[:200]})") from error
    if values.get("format") != FORMAT:
        got = f"is of format {ascii(values.get('format'))[:20]}, this clser-bench reads {FORMAT}"
        raise SpecError(f"card {path}: {got}; upgrade the older of the two")
    if values.get("sha256") != sha256:
        changed = "does not fit its own SHA-256, so it was changed or damaged since it was written"
        raise SpecError(f"card {path}: {changed}; get it again from its author")
    try:
        return Card.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise SpecError(f"card {path}: {faults(error)}") from error


def faults(error: ValidationError) -> str:
    """The first faults in a line; names of unknown fields are written harmlessly."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    texts = [
        f"{ascii('.'.join(map(str, fault['loc'])))[:80]}: {fault['msg'][:200]}"
        for fault in found[:_FAULTS]
    ]
    return "; ".join(texts) + ("; …" if len(found) > _FAULTS else "")


def _pairs(table: Leaderboard, trials: Mapping[str, Sequence[Trial]]) -> Iterator[CardPair]:
    run = [line for line in table.lines if line.role != "submitted"]
    # the keys of a submission are those of audio and labels: no features are known of it
    shown = [trial for line in run or table.lines for trial in trials[line.method]]
    for pair in table.pairs:
        own = {(t.source_key, t.target_key): t.classes for t in shown if t.pair == pair}
        if len(own) > 1:
            raise SpecError(
                f"{table.title}: methods had different audio, labels or features of {pair}, so one "
                "card cannot describe all; run them again, or name some with --methods"
            )
        ((keys, classes),) = own.items() or [(("", ""), ())]
        names = dict(zip(("source_key", "target_key"), keys, strict=True))
        yield CardPair(source=pair.source, target=pair.target, classes=classes, **names)


def _of_method(
    store: Store, table: Leaderboard, line: Line, trials: Sequence[Trial]
) -> dict[str, Any]:
    """Fields of a row that follow from its trials."""
    seeds = sorted({trial.seed for trial in trials})
    found = store.uars([trial.id for trial in trials])
    uars = {(trial.pair, trial.seed): found.get(trial.id) for trial in trials}
    points = {str(trial.pair): dict(trial.parameters) for trial in trials}
    # 1, 1.0 and true are three values
    typed = [{(name, type(value), value) for name, value in p.items()} for p in points.values()]
    shared = {name: value for name, _, value in set.intersection(*typed)}
    rest = {pair: {n: v for n, v in p.items() if n not in shared} for pair, p in points.items()}
    cells = []
    for pair, cell in zip(table.pairs, line.cells, strict=True):
        reason = _in_print(cell.reason[:1000])
        if "/" in reason or "\\" in reason:  # it may name a folder of this machine
            reason = "see `clser-bench status` of the results file"
        own = {name: getattr(cell, name) for name in ("mean", "n", "status")}
        draws = tuple(uars.get((pair, seed)) for seed in seeds)
        cells.append(CardCell(**own, sd=cell.std, uars=draws, reason=reason))
    return {
        "method": line.method,
        "role": line.role,
        "version": max(trial.version for trial in trials),
        "engine_version": max(trial.engine_version for trial in trials),
        "parameters": dict(sorted(shared.items())),
        "of_pairs": {pair: values for pair, values in rest.items() if values},
        "seeds": tuple(seeds),
        "cells": tuple(cells),
    }


def _in_print(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
