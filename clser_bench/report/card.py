"""Provenance cards: what a table says, what it was made of, and how it is made again, as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from clser_bench.hashing import digest
from clser_bench.protocol import Normalisation, Pair, Setting

FORMAT = 1
_MANY = 10_000
_FAULTS = 3

# no control or format characters: a card is read by people, in terminals
_PRINTED = r"^[^\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]*$"
Text = Annotated[str, StringConstraints(max_length=4096, pattern=_PRINTED)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTED)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,15}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{0,64}$")]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=_MANY)]
Labelled = Annotated[int, Field(ge=1, le=10**9)] | Literal["all"]
Values = dict[Name, int | float | bool | Text]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Software(_Part):
    """What the card was written with.

    Attributes:
        clser_bench: version of the code.
        commit: of the git checkout that the code ran from; empty where it ran from none.
        modified: whether that checkout had changes of its own; None where there is none.
        python: its version.
        packages: version of each package that has a say in the numbers, where installed.
    """

    clser_bench: Name
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")] = ""
    modified: bool | None = None
    python: Name
    packages: dict[Name, Name]


class Machine(_Part):
    """Where the card was written, in words; nothing in it names the machine or its user.

    Attributes:
        processor: model of the CPU.
        cores: that the process may use.
        memory_gib: memory in GiB; None where unknown.
        system: the operating system.
    """

    processor: Text
    cores: Count
    memory_gib: Annotated[float, Field(ge=0)] | None
    system: Text


class Requested(_Part):
    """What one run was asked for, without places: corpora and results are the reader's.

    The attributes are those of `RunConfig`, with its protocol written out.

    Attributes:
        manifests: how many manifests there were.
        folder: whether there was a folder of corpora.
        corruptions: of the target, none in cards of clean speech; those are run besides it.
    """

    suite: Name | None
    pairs: Annotated[tuple[tuple[Code, Code], ...], Field(max_length=_MANY)]
    methods: Annotated[tuple[Name, ...], Field(min_length=1, max_length=_MANY)]
    shots: Labelled
    seeds: Annotated[int, Field(ge=1, le=_MANY)]
    features: Text
    align: Name
    normalisation: Normalisation
    setting: Setting
    prior: Name
    fixed4: bool
    selection: Name
    settings: dict[Name, Values]
    skip_bad: bool
    manifests: Annotated[int, Field(ge=0, le=1000)]
    folder: bool
    corruptions: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()


class CardRules(_Part):
    """What all rows share; see `board.Rules`."""

    suite: Name
    features: Text
    normalisation: Name
    setting: Name
    prior: Name
    selection: Name
    shots: Name


class CardPair(_Part):
    """A column.

    Attributes:
        source: corpus code.
        target: corpus code.
        classes: the pair's emotions.
        source_key: of the source's audio, labels, features and normalisation; empty where no
            trial of the pair was run.
        target_key: of the target's.
    """

    source: Code
    target: Code
    classes: Annotated[tuple[Name, ...], Field(max_length=100)]
    source_key: Key
    target_key: Key

    @property
    def pair(self) -> Pair:
        """The pair."""
        return Pair(self.source, self.target)


class CardCell(_Part):
    """A method on a pair.

    Attributes:
        mean: UAR in percent over the draws; None for a hole.
        sd: sample standard deviation over the draws; None for a hole and for one draw.
        n: draws that have a result.
        uars: UAR of each of the method's seeds; None where there is no result.
        status: `ok`, `failed` or `not_applicable`.
        reason: of a hole.
    """

    mean: Percent | None
    sd: Annotated[float, Field(ge=0)] | None
    n: Count
    uars: Annotated[tuple[Percent | None, ...], Field(max_length=_MANY)]
    status: Literal["ok", "failed", "not_applicable"]
    reason: Text = ""


class CardMethod(_Part):
    """A row.

    Attributes:
        method: its name.
        kind: `ranked`, `bound` or `oracle`.
        version: of the method; 0 where no trial was run.
        engine_version: of the training engine; 0 for what does not use it.
        parameters: hyper-parameters that all pairs share.
        of_pairs: pair to the hyper-parameters that differ between pairs.
        seeds: numbers of the draws.
        cells: one per pair of the card.
    """

    method: Name
    kind: Literal["ranked", "bound", "oracle"]
    version: Count
    engine_version: Count
    parameters: Values
    of_pairs: dict[Name, Values]
    seeds: Annotated[tuple[Seed, ...], Field(max_length=_MANY)]
    cells: Annotated[tuple[CardCell, ...], Field(max_length=_MANY)]


class Card(_Part):
    """A table with its provenance.

    The results file keeps no versions of packages: `software` and `machine` tell of the moment in
    which the card was written, so write it where the run was.

    Attributes:
        format: of the card.
        title: of the table.
        protocol_version: of the rules.
        synthetic: a corpus is synthetic speech.
        rules: what the rows share.
        pairs: the columns.
        methods: the rows.
        remarks: footnotes of the table.
        requests: the runs that made it, in their order.
        commands: the same as shell commands.
        software: that wrote the card.
        machine: that wrote the card.
        sha256: of all the rest; see `seal`.
    """

    format: Literal[1] = 1
    title: Text
    protocol_version: Count
    synthetic: bool
    rules: CardRules
    pairs: Annotated[tuple[CardPair, ...], Field(max_length=_MANY)]
    methods: Annotated[tuple[CardMethod, ...], Field(max_length=_MANY)]
    remarks: tuple[Text, ...] = ()
    requests: Annotated[tuple[Requested, ...], Field(max_length=100)]
    commands: Annotated[tuple[Text, ...], Field(max_length=100)]
    software: Software
    machine: Machine
    sha256: Key = ""

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        columns = [pair.pair for pair in self.pairs]
        rows = [method.method for method in self.methods]
        if len(set(columns)) < len(columns) or len(set(rows)) < len(rows):
            raise ValueError("a pair or a method stands twice")
        for method in self.methods:
            seeds = len(method.seeds)
            if len(set(method.seeds)) < seeds or len(method.cells) != len(columns):
                raise ValueError(f"{method.method} needs a cell a pair, and each seed once")
            if any(len(cell.uars) != seeds for cell in method.cells):
                raise ValueError(f"{method.method} needs a UAR a seed in every cell")
        return self


def seal(card: Card) -> Card:
    """The same card with the hash of all its fields but the hash itself.

    The hash guards against damage and slips; whoever changes a card on purpose can make it again.

    Args:
        card: its hash is replaced.
    """
    values = card.model_dump(mode="json", exclude={"sha256"})
    return card.model_copy(update={"sha256": digest(values)})


def as_text(card: Card) -> str:
    """Write a card as JSON."""
    return json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def faults(error: ValidationError) -> str:
    """The first faults in a line; names of unknown fields are written harmlessly."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    texts = [
        f"{ascii('.'.join(map(str, fault['loc'])))[:80]}: {fault['msg'][:200]}"
        for fault in found[:_FAULTS]
    ]
    return "; ".join(texts) + ("; …" if len(found) > _FAULTS else "")
