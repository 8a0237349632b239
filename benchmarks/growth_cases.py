"""What `growth.py` runs: cases of four subjects, on corpora of random numbers; no script."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clser_bench import registry
from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.features.cache import Part, existing_table, new_table
from clser_bench.hashing import generator
from clser_bench.problem import AnswerKey, Labelled, Problem, Table, Trial
from clser_bench.protocol import Condition, Pair
from clser_bench.run.plan import MethodInfo, Plan, longest_first
from clser_bench.run.prepare import Prepared
from clser_bench.run.request import Request
from clser_bench.splits import Fold, build

PLANNING = "planning"
SUBJECTS = (PLANNING, "logistic", "dann", "sere")
STEPS = 50
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
PAIRS = tuple(Pair(*codes) for codes in itertools.permutations("ABCD", 2))
FACTORS = {
    "pairs": (1, 3, 6, 12),
    "seeds": (1, 5, 10, 20),
    "rows": (500, 2_000, 10_000, 50_000, 200_000),
    "size": (88, 384, 1_024, 4_096),
}
LABELS = {
    "pairs": "pairs",
    "seeds": "seeds",
    "rows": "utterances a corpus",
    "size": "values of a summary",
}
LEAST = {"seconds": 1e-3, "private": 1.0}
"""What is measured; below this nothing is said of its growth (1 ms, 1 MiB)."""
BETWEEN = (5_000, 20_000)
"""Numbers of utterances that `sere` is tried with besides, to see where it ends."""
PART = 1_000
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run: a subject, and the value of each factor.

    Attributes:
        subject: one of `SUBJECTS`.
        steps: of training.
        pairs: ordered pairs of four corpora.
        seeds: draws a pair.
        rows: utterances a corpus.
        size: values of a summary.
    """

    subject: str
    steps: int = STEPS
    pairs: int = 1
    seeds: int = 5
    rows: int = 500
    size: int = 88


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a case took.

    Attributes:
        seconds: of the median run; until it was ended where there is a note.
        peak: largest resident memory in MiB, above that before the run.
        private: of the process alone, likewise.
        stages: seconds of each, the longest first.
        runs: how many there were.
        note: why there is no result; empty where there is one.
    """

    seconds: float = 0.0
    peak: float = 0.0
    private: float = 0.0
    stages: tuple[tuple[str, float], ...] = ()
    runs: int = 1
    note: str = ""


Results = Mapping[tuple[str, str], Mapping[int, Found]]
"""By factor and subject: what each value took."""


def table(code: str, case: Case, cache: Path) -> Table:
    """The random table of a corpus; written part by part, and once."""
    key = f"{code}-{case.rows}-{case.size}"

    def parts() -> Iterator[Part]:
        for start in range(0, case.rows, PART):
            rows = np.arange(start, min(start + PART, case.rows))
            rng = generator("benchmark", key, start)
            instants = rng.standard_normal((len(rows), 32, 25), dtype=np.float32)
            yield rows, instants, rng.standard_normal((len(rows), case.size), dtype=np.float32)

    return existing_table(cache, key, rows=case.rows) or new_table(
        cache, key, instants=(case.rows, 32, 25), summary=(case.rows, case.size), parts=parts()
    )


def corpus(code: str, case: Case) -> Corpus:
    """A corpus without audio; what a run holds of one anyway."""
    spec = CorpusSpec(
        code=code, name=code, title=code, language="und", licence="", citation="", pattern=""
    )
    utterances = (
        Utterance(
            name=f"{row}.wav",
            path=Path(f"{row}.wav"),
            emotion=CLASSES[row % 6],
            speaker=str(row % 10),
            content=f"{code}{row}",
        )
        for row in range(case.rows)
    )
    return Corpus(spec=spec, root=Path(code), utterances=tuple(utterances))


class Folds:
    """The folds of a case: built as a run builds them to measure planning, else bare problems."""

    def __init__(self, case: Case, cache: Path) -> None:
        codes = sorted(
            {code for pair in PAIRS[: case.pairs] for code in (pair.source, pair.target)}
        )
        self.tables = {code: table(code, case, cache) for code in codes}
        planned = case.subject == PLANNING
        self.corpora = {code: corpus(code, case) for code in codes} if planned else {}
        self.everything = np.arange(case.rows)

    @functools.cache  # noqa: B019 (a process has one)
    def __call__(self, trial: Trial) -> tuple[Fold, ...]:
        """The folds of a trial."""
        pair = trial.pair
        sides = self.tables[pair.source], self.tables[pair.target]
        if not self.corpora:
            return (self._bare(trial, *sides),)
        return build(
            self.corpora[pair.source],
            self.corpora[pair.target],
            classes=CLASSES,
            shots=5,
            seed=trial.seed,
            condition=trial.condition,
            tables=lambda *_: sides,
        )

    def _bare(self, trial: Trial, source: Table, target: Table) -> Fold:
        rng = generator("benchmark", "draw", trial.pair.source, trial.seed)
        rows = rng.choice(len(source), 30, replace=False)
        problem = Problem(
            classes=CLASSES,
            source=source,
            target=target,
            labelled=Labelled(rows, np.arange(30) % 6),
            unlabelled=np.setdiff1d(self.everything, rows),
            adapt=self.everything,
            scored=self.everything,
        )
        key = AnswerKey(classes=CLASSES, y=self.everything, speakers=(), names=())
        return Fold(problem=problem, key=key, order=(self.everything, self.everything))


def plan_of(case: Case, folds: Folds) -> Plan:
    """The plan of a case, as a run makes it but for corpora that are none."""
    name = "logistic" if case.subject == PLANNING else case.subject
    method = registry.create(name)
    if method.kind == "trained":
        method = registry.create(name, {"steps": case.steps})
    trials = tuple(
        Trial(
            pair=pair,
            classes=CLASSES,
            seed=seed,
            method=name,
            version=method.version,
            parameters=method.parameters(),
            condition=Condition(),
            source_key=pair.source,
            target_key=pair.target,
        )
        for pair in PAIRS[: case.pairs]
        for seed in range(case.seeds)
    )
    request = Request(scheduler="local")
    info = MethodInfo(
        name=name,
        version=method.version,
        parameters=method.parameters(),
        kind=method.kind,
        packable=getattr(method, "packable", False),
    )
    prepared = Prepared(
        request=request,
        condition=request.condition,
        table=PAIRS,
        corpora=folds.corpora,
        facts=(),
        folds=folds,
        skipped=(),
        findings=(),
    )
    return Plan(
        prepared=prepared,
        condition=request.condition,
        trials=trials,
        numbers=dict.fromkeys((trial.id for trial in trials), 0),
        methods=(info,),
    )


def work(case: Case, folds: Folds) -> str:
    """Plan and, but for planning, run a case; why it failed, or an empty string."""
    from clser_bench.train.execute import execute

    plan = plan_of(case, folds)
    packs = plan.packs(open_ids={trial.id for trial in plan.trials}, failed_ids=())
    if case.subject == PLANNING:
        return ""
    for pack in longest_first(packs):
        for outcome in execute(list(pack.jobs)):
            if outcome.status != "ok":
                return f"failed: {outcome.reason.strip().splitlines()[-1]}"
    return ""
