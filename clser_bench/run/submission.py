"""Predictions of a system outside this package: checked, scored where the answers are, stored.

A table of predictions has a row for each scored utterance of each trial: `trial`, `id`, and either
`emotion` or a column of scores for each class. Without the column `trial` a row holds for every
trial that asks for its id. The record of such a trial has the name of the system for its method,
the hash of the file for its only hyper-parameter, and the role `submitted`: it is not ranked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clser_bench import registry
from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.rows import header, read_rows
from clser_bench.errors import MethodError, SpecError, did_you_mean, printable
from clser_bench.files import read_toml, validated
from clser_bench.problem import Floats, Outcome, Trial
from clser_bench.protocol import EMOTIONS
from clser_bench.run.draws import Draws
from clser_bench.scoring.metrics import score
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.records import IMPORTED, MethodNote
from clser_bench.store.sqlite import Store

_NAMED = 20  # faults that an error names

Answers = dict[str, dict[str, Floats]]
"""Trial to id to scores [c]; of a predicted class, 1 for it and 0 for others."""


class Card(BaseModel):
    """What a system is and what it has seen: `system.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field("", max_length=60)  # name in tables; empty for the name of the submission
    about: str = Field(min_length=1, max_length=300)  # what the system is, one line
    reference: str = Field("", max_length=300)  # paper, address or repository
    # unlabelled `source` and `target` or labelled parts of the draws that it used; none for a
    # zero-shot system
    uses: tuple[Literal["labelled", "source", "target"], ...]
    # what it assumes of the class shares of the target
    assumes_prior: Literal["none", "uniform", "estimated"] = "none"
    # speech and labels that it was trained with outside the draws
    data: str = Field(min_length=1, max_length=1000)
    # corpus code to what it was trained with of this corpus; `unknown` for those left out
    heard: dict[str, Literal["labels", "audio", "no", "unknown"]] = Field(default_factory=dict)
    parameters: float | None = Field(None, ge=0, allow_inf_nan=False)  # how many it has
    cost: str = Field("", max_length=300)  # money, hours and hardware, in words

    def note(self, corpora: Sequence[str]) -> str:
        """The footnote of a table."""
        kinds = {"labels": "trained with the labels of", "audio": "trained with the audio of"}
        kinds |= {"unknown": "perhaps trained with"}
        parts = [self.about, f"data: {self.data}"]
        for kind, words in kinds.items():
            codes = [code for code in corpora if self.heard.get(code, "unknown") == kind]
            parts += [f"{words} {', '.join(codes)}"] if codes else []
        parts += [f"{self.parameters:.3g} parameters"] if self.parameters is not None else []
        parts += [f"cost: {self.cost}"] if self.cost else []
        parts += [self.reference] if self.reference else []
        return printable("; ".join(part.rstrip(".") for part in parts)).replace("\n", " ")


def read_card(path: Path) -> Card:
    """Read the card of a system; SpecError names what is missing, unknown or not allowed."""
    return validated(Card, read_toml(path), path)


class Submitted(NamedTuple):
    """What was stored of a submission."""

    trials: int  # how many
    predictions: str  # hash of the file


def read_predictions(path: Path, draws: Draws) -> Answers:
    """Read a table of predictions, CSV or Parquet, and check each row.

    SpecError names the first twenty faults: unknown trials, ids and classes, ids that are missing
    or there twice, scores that are not finite. CorpusError where the file is no such table.
    """
    columns, allowed = header(path), ("trial", "id", "emotion", *EMOTIONS)
    for name in columns:
        if name not in allowed:
            raise SpecError(f"{path}: column '{name}' is unknown{did_you_mean(name, allowed)}")
    if "id" not in columns or ("emotion" in columns) == any(c in EMOTIONS for c in columns):
        raise SpecError(
            f"{path}: it has the columns {', '.join(columns) or 'none'}; it needs id and either "
            "emotion or a column of scores for each class"
        )
    wanted = {name: [i for fold in one.ids for i in fold] for name, one in draws.trials.items()}
    asking: dict[str, list[str]] = {}
    for name, ids in wanted.items():
        for one in ids:
            asking.setdefault(one, []).append(name)
    found: Answers = {name: {} for name in wanted}
    faults: list[str] = []
    for row in read_rows(path, {name: name for name in columns}):
        one = row.cells["id"]
        names, fault = _asked(row.cells, asking, wanted)
        for name in names:
            values, fault = _values(row.cells, draws.trials[name].classes)
            if one in found[name]:
                fault = f"id {one} of trial {name} is there twice"
            found[name][one] = values
            if fault:
                break
        faults += [f"{row.where}: {fault}"] if fault else []
    for name, ids in wanted.items():
        missing = [one for one in ids if one not in found[name]]
        if missing:
            few = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            faults.append(f"trial {name}: {len(missing)} of {len(ids)} ids are missing: {few}")
    if faults:
        rest = len(faults) - _NAMED
        lines = [printable(fault, limit=300) for fault in faults[:_NAMED]]
        lines += [f"and {rest} more"] if rest > 0 else []
        raise SpecError("\n  ".join([f"{path}: the predictions cannot be scored:", *lines]))
    return found


def _asked(
    cells: Mapping[str, str], asking: Mapping[str, list[str]], wanted: Mapping[str, list[str]]
) -> tuple[list[str], str]:
    """The trials that a row is for, and what is wrong with it."""
    trial, name = cells.get("trial", ""), cells["id"]
    if "trial" in cells and trial not in wanted:
        return [], f"trial '{trial}' is not in the draws"
    if name not in asking or (trial and trial not in asking[name]):
        return [], f"id '{name}' is not scored" + (f" in trial {trial}" if trial else "")
    return [trial] if trial else asking[name], ""


def _values(cells: Mapping[str, str], classes: tuple[str, ...]) -> tuple[Floats, str]:
    """Scores [c] of a row, and what is wrong with them."""
    if "emotion" in cells:
        emotion = cells["emotion"]
        one = np.array([float(emotion == name) for name in classes])
        known = ", ".join(classes)
        return one, "" if one.any() else f"class '{emotion}' is none of the trial's: {known}"
    values = np.full(len(classes), math.nan)
    for place, name in enumerate(classes):
        text = cells.get(name) or "nan"
        try:
            values[place] = float(text.replace("_", "?"))  # Python takes 1_0 for 10
        except ValueError:
            return values, f"score of {name} '{text}' is no number"
    bad = [name for name, value in zip(classes, values, strict=True) if not math.isfinite(value)]
    return values, f"score of {', '.join(bad)} is missing or not finite" if bad else ""


def submit(predictions: Path, draws: Draws, store: Store, *, name: str, card: Card) -> Submitted:
    """Score predictions and store them as rows of tables, with their card.

    Raises:
        SpecError: the predictions are faulty, the name is no name or is that of a method, or the
            card names a corpus that is none.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,39}", name):
        raise SpecError(f"name '{name}': write at most 40 lower-case letters, digits, '-' and '.'")
    if name in registry.entries() or name in ROUTINES:
        raise SpecError(f"name '{name}' is that of a method; choose another with --name")
    corpora = {*draws.languages, *definitions().corpora}
    for code in card.heard:
        if code not in corpora:
            raise SpecError(f"heard: corpus '{code}' is unknown{did_you_mean(code, corpora)}")
    answers = read_predictions(predictions, draws)
    from clser_bench.train.execute import stored_scores  # noqa: PLC0415 (torch takes seconds)

    content = hashlib.sha256(predictions.read_bytes()).hexdigest()
    only_classes = "emotion" in header(predictions)
    records = []
    for one in draws.trials.values():
        trial = Trial(
            pair=one.pair,
            classes=one.classes,
            seed=one.seed,
            method=name,
            version=1,
            parameters=(("predictions", content[:16]),),
            condition=draws.condition.replace(shots=one.shots),
            source_key=one.keys[0],
            target_key=one.keys[1],
            synthetic=one.synthetic,
        )
        outcomes = []
        for ids in one.ids:
            values = np.stack([answers[one.name][each] for each in ids])
            try:
                kept = stored_scores(values, len(ids), len(one.classes))
            except MethodError as error:
                raise SpecError(f"{predictions}: {error}") from error
            outcomes.append(Outcome(id="", status="ok", scores=kept))
        record = score(trial, outcomes, [fold.key for fold in one.folds])
        if only_classes:
            record = dataclasses.replace(record, scores=np.zeros((0, 0), np.float32))
        records.append(record)
    about = card.note(sorted(draws.languages))
    every = [values for found in answers.values() for values in found.values()]
    ties = sum(np.count_nonzero(values == values.max()) > 1 for values in every)
    if ties:
        about += f"; {ties} of {len(every)} predictions are ties, which count for the first class"
    note = MethodNote(
        assumes_prior=card.assumes_prior,
        role="submitted",
        note=about,
        title=printable(card.title) if card.title != name else "",
        uses=card.uses,
        kind="submitted",
        version=1,
    )
    request = {
        IMPORTED: predictions.name,
        "card": card.model_dump(mode="json"),
        "predictions": content,
        "draws": draws.digest,
    }
    with store.transaction():
        trials = [record.trial for record in records]
        store.plan(request, trials, pairs=draws.table, methods={name: note})
        store.put(records)
    return Submitted(trials=len(records), predictions=content)
