"""Trials, answer keys and records for tests of the store and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clser_bench.problem import AnswerKey, Outcome, Trial
from clser_bench.protocol import PROTOCOL_VERSION, Condition, Pair, Shots
from clser_bench.scoring.metrics import score
from clser_bench.store.records import Record

CLASSES = ("anger", "happiness", "sadness")


def trial(
    method: str = "logistic",
    pair: str = "B→C",
    *,
    seed: int = 0,
    shots: Shots = 5,
    version: int = 1,
    classes: tuple[str, ...] = CLASSES,
    parameters: tuple[tuple[str, Any], ...] = (("c", 0.05), ("steps", 3), ("whiten", True)),
    synthetic: bool = False,
    protocol_version: int = PROTOCOL_VERSION,
    tables: str = "t",
    fixed4: bool = False,
    suite: str = "bc",
    **rules: Any,
) -> Trial:
    """A trial whose fields are mostly made up; `rules` are fields of the condition."""
    source, target = Pair.parse(pair).source, Pair.parse(pair).target
    return Trial(
        pair=Pair(source, target),
        classes=classes,
        seed=seed,
        method=method,
        version=version,
        parameters=parameters,
        condition=Condition(
            **{"features": "acoustic", **rules},
            classes="fixed4" if fixed4 else "shared",
            suite=suite,
            shots=shots,
            protocol_version=protocol_version,
        ),
        source_key=f"{tables}-{source}".ljust(64, "0"),
        target_key=f"{tables}-{target}".ljust(64, "0"),
        synthetic=synthetic,
    )


def answer_key(
    y: Sequence[int], *, speakers: Sequence[str] = (), classes: tuple[str, ...] = CLASSES
) -> AnswerKey:
    """Answers; two speakers in turn unless they are given."""
    names = tuple(f"{row:03d}.wav" for row in range(len(y)))
    spoken = tuple(speakers) or tuple("fm"[row % 2] for row in range(len(y)))
    return AnswerKey(classes=classes, y=np.asarray(y, np.int64), speakers=spoken, names=names)


KEY = answer_key([0, 0, 1, 1, 2])


def ok(of: Trial, predicted: Sequence[int], key: AnswerKey, *, seconds: float = 0.5) -> Record:
    """A record whose scores are one-hot."""
    scores = np.eye(len(key.classes), dtype=np.float32)[np.asarray(predicted)]
    outcome = Outcome(id="x", status="ok", scores=scores, seconds=seconds)
    return score(of, [outcome], [key], pack="p0")


def right(of: Trial, key: AnswerKey | None = None) -> Record:
    """A record of which every prediction is right."""
    key = KEY if key is None else key
    return ok(of, key.y.tolist(), key)


def hole(of: Trial, status: str = "failed", reason: str = "it broke") -> Record:
    """A record without a result."""
    return Record(trial=of, status=status, reason=reason)
