"""The boundary: corpora in, problems without answers and answers without problems out.

Draws of labelled utterances, speaker folds of the inductive setting, held-out source labels. A
recording that both corpora of a pair have is a target only: it is no row of the source, neither
labelled nor unlabelled.

Added corpora are unlabelled speech of one side or the other. Of their utterances only content
hashes and the order are looked at: no label or speaker of theirs has a way into a problem.

Rows of both tables are in an order drawn for the pair and the side: it follows from neither names
nor contents, and the number of a row in one pair says nothing about another, where
its label may be given. All draws of a pair share the order, and with it principal axes, kernels
and pooled features; an order for each draw would have every one of them computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import CorpusError
from clser_bench.hashing import generator, seed_of
from clser_bench.problem import AnswerKey, Labelled, Problem, Rows, Table
from clser_bench.protocol import EMOTIONS, Condition, Shots, same_language

Tables = Callable[[Corpus, Corpus, Rows | None, Sequence[Corpus]], tuple[Table, Table]]
"""`tables(source, target, rows, added)`: the normalised tables of both sides of a pair.

`rows` are the target's whose statistics may be used (the adaptation half); None means all. The rows
of added corpora are where `sides` has them.
"""

_LEAST = 2  # utterances that a class keeps in an imbalanced target


@dataclass(frozen=True, eq=False, kw_only=True)
class Fold:
    """A problem and, apart from it, its answers; only the problem travels to a method."""

    problem: Problem  # what a method is given
    key: AnswerKey  # what scoring compares with, in the order of `problem.scored`
    # of each row of the source's and of the target's table, which utterance it is; in the setting
    # `held-out` those of the source follow those of the target
    order: tuple[Rows, Rows]


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """The corpora of one side of a pair, whose rows stand one below the other."""

    corpora: tuple[Corpus, ...]  # by code, so that sides of the same corpora have the same table
    start: int  # first row of the pair's own corpus
    added: Rows  # rows of the others that are used, ascending

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """Of all its corpora."""
        return tuple(item for corpus in self.corpora for item in corpus.utterances)


def joins_target(added: CorpusSpec, source: CorpusSpec, target: CorpusSpec) -> bool:
    """Whether an added corpus joins the target: it has its language, and the source has not."""
    return same_language(added.language, target.language) and not same_language(
        source.language, target.language
    )


def sides(source: Corpus, target: Corpus, added: Sequence[Corpus]) -> tuple[Side, Side]:
    """The sides of a pair with what is added to them.

    A recording that the source, the target or an added corpus before it has too is left out.
    """
    used: dict[str, npt.NDArray[np.bool_]] = {}
    taken = np.concatenate([source.contents, target.contents])
    for corpus in sorted(added, key=lambda one: one.spec.code):
        used[corpus.spec.code] = ~np.isin(corpus.contents, taken)
        taken = np.concatenate([taken, corpus.contents])
    found = []
    for own, here in ((source, False), (target, True)):
        joining = [c for c in added if joins_target(c.spec, source.spec, target.spec) == here]
        corpora = sorted((own, *joining), key=lambda one: one.spec.code)
        none = np.zeros(len(own.utterances), dtype=bool)
        marks = [none if corpus is own else used[corpus.spec.code] for corpus in corpora]
        before = corpora[: corpora.index(own)]
        found.append(
            Side(
                corpora=tuple(corpora),
                start=sum(len(corpus.utterances) for corpus in before),
                added=np.flatnonzero(np.concatenate(marks)).astype(np.int64),
            )
        )
    return found[0], found[1]


def build(
    source: Corpus,
    target: Corpus,
    *,
    classes: Sequence[str],
    shots: Shots,
    seed: int,
    condition: Condition,
    tables: Tables,
    order: str = "rows",
    added: Sequence[Corpus] = (),
) -> tuple[Fold, ...]:
    """Make the problem of a pair and a draw, and its answer key.

    Only utterances of the pair's classes enter, on both sides; of added corpora all. No label of
    the target has a way into the problem but through `target_rows`: which rows there are, never
    which is which.

    Args:
        condition: its setting and target prior are honoured here, its normalisation by `tables`.
        order: another word gives other orders of rows, and nothing else.
        added: corpora whose speech is used without labels, neither source nor target.

    Returns:
        One fold, or the two of the inductive setting: in each, one half of the speakers is
        adapted to and the other is scored. In the setting `held-out` a fifth of the labelled
        source utterances is held out and scored, nothing of the target: there the target's table
        has the source's rows below its own.

    Raises:
        CorpusError: a class has too few utterances, or a half of the speakers has none.
    """
    shared = np.flatnonzero(np.isin(source.contents, target.contents)).astype(np.int64)
    labelled = draw(source, classes=classes, shots=shots, seed=seed, without=shared)
    everything = np.setdiff1d(labelled_rows(source, classes)[0], shared)
    rows = target_rows(target, classes=classes, seed=seed, condition=condition)
    first, second = sides(source, target, added)
    known = labelled
    # of each fold: rows to adapt to, rows to score, rows whose statistics may be used
    everyone = None if condition.prior == "natural" else rows
    if condition.setting == "held-out":
        known, held_out = holdout(labelled, source=source.spec.code, seed=seed)
        scored = len(second.utterances) + first.start + np.sort(held_out.rows)
        parts = [(rows, scored, everyone)]
    elif condition.setting == "transductive":
        parts = [(rows, second.start + rows, everyone)]
    else:
        parts = [
            (adapt, second.start + scored, half if condition.prior == "natural" else adapt)
            for adapt, scored, half in _halves(target, rows)
        ]
    rest = first.start + np.setdiff1d(everything, known.rows)
    folds = []
    for adapt, scored, allowed in parts:
        source_table, target_table = tables(source, target, allowed, added)
        problem = Problem(
            classes=tuple(classes),
            source=source_table,
            target=target_table,
            labelled=Labelled(first.start + known.rows, known.y),
            unlabelled=np.concatenate([rest, first.added]),
            added=first.added,
            adapt=np.concatenate([second.start + adapt, second.added]),
            scored=scored,
        )
        pair = source.spec.code, target.spec.code
        folds.append(_fold(problem, pair, (first, second), order=order, by_row=shots == "all"))
    return tuple(folds)


def _fold(
    problem: Problem,
    pair: tuple[str, str],
    both: tuple[Side, Side],
    *,
    order: str,
    by_row: bool,
) -> Fold:
    """A problem with its rows in the drawn order, and its answers.

    Args:
        order: what orders are drawn from.
        by_row: sort the labelled rows; else they stay in the order of the draw.
    """
    first, second = (
        table.in_order(seed_of(order, *pair, side))
        for side, table in (("source", problem.source), ("target", problem.target))
    )
    ours, theirs = np.argsort(first.order), np.argsort(second.order)
    rows = ours[problem.labelled.rows]
    turn = np.argsort(rows) if by_row else np.arange(len(rows))
    scored = np.sort(theirs[problem.scored])
    every = (*both[1].utterances, *both[0].utterances)
    answers = [every[row] for row in second.order[scored]]
    return Fold(
        problem=Problem(
            classes=problem.classes,
            source=first,
            target=second,
            labelled=Labelled(rows[turn], problem.labelled.y[turn]),
            unlabelled=np.sort(ours[problem.unlabelled]),
            added=np.sort(ours[problem.added]),
            adapt=np.sort(theirs[problem.adapt]),
            scored=scored,
        ),
        key=AnswerKey(
            classes=problem.classes,
            y=np.array([problem.classes.index(one.emotion) for one in answers], dtype=np.int64),
            speakers=tuple(one.speaker for one in answers),
            names=tuple(one.name for one in answers),
        ),
        order=(first.order, second.order),
    )


def target_rows(target: Corpus, *, classes: Sequence[str], seed: int, condition: Condition) -> Rows:
    """The rows of a target that take part in a pair.

    With the prior `dirichlet:A`, class shares are drawn from a symmetric Dirichlet distribution
    of concentration A, seeded by target and seed, and the target is thinned to them without
    replacement: as many utterances as the scarcest class allows, each count rounded down, but
    at least 2 of each class (all, where it has fewer). Each emotion's weight is drawn
    by itself, so pairs that share a target and a seed share the ratios of its classes.
    Feature statistics are those of the resampled target: the corpus that it was drawn from is not
    at hand in the situation that this stands for.

    Ascending; CorpusError where the target has no utterance of a class.
    """
    rows, y = labelled_rows(target, classes)
    counts = np.bincount(y, minlength=len(classes))
    if not counts.all():
        absent = [emotion for emotion, count in zip(classes, counts, strict=True) if not count]
        raise CorpusError(
            f"{target.spec.heading} in {target.root} has no utterance of "
            f"{', '.join(absent)}; complete the corpus or leave it out"
        )
    concentration = condition.concentration()
    if concentration is None:
        return rows
    shares = _weights(target.spec.code, classes, seed, concentration)
    with np.errstate(divide="ignore", over="ignore"):  # a share may be 0, or nearly
        total = (counts / shares).min()
    # rounding up a hair: total * share must give back the scarcest class's own count
    wanted = np.floor(total * shares + 1e-9).astype(np.int64)
    kept = np.minimum(np.maximum(wanted, _LEAST), counts)
    chosen = [
        permuted(target, emotion, "prior", seed)[:count]
        for emotion, count in zip(classes, kept, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _weights(
    code: str, classes: Sequence[str], seed: int, concentration: float
) -> npt.NDArray[np.float64]:
    """Dirichlet shares [c]: gamma variates made in logarithms, where small ones do not vanish."""
    random = generator("prior", code, seed)
    boosted = np.log(random.standard_gamma(concentration + 1.0, len(EMOTIONS)))
    logs = boosted + np.log1p(-random.random(len(EMOTIONS))) / concentration
    chosen = logs[[EMOTIONS.index(emotion) for emotion in classes]]
    shares = np.exp(chosen - chosen.max())
    normalised: npt.NDArray[np.float64] = shares / shares.sum()
    return normalised


def _halves(target: Corpus, rows: Rows) -> Iterator[tuple[Rows, Rows, Rows]]:
    """For each inductive fold: rows to adapt to, rows to score, all rows of the adapting half."""
    first, second = (np.isin(target.speakers, sorted(half)) for half in speaker_folds(target))
    for adapts, scores in ((first, second), (second, first)):
        adapt, scored = rows[adapts[rows]], rows[scores[rows]]
        if not len(adapt) or not len(scored):
            raise CorpusError(
                f"{target.spec.heading}: a half of its speakers has no "
                "utterance of the pair's classes; use the transductive setting"
            )
        yield adapt, scored, np.flatnonzero(adapts).astype(np.int64)


_NO_ROWS: Rows = np.zeros(0, dtype=np.int64)


def draw(
    corpus: Corpus,
    *,
    classes: Sequence[str],
    shots: Shots,
    seed: int,
    without: Rows = _NO_ROWS,
) -> Labelled:
    """Draw the labelled utterances of a source.

    For each (corpus, class, seed) there is one permutation of the class's utterances; the
    first k are the shots. So a draw with fewer shots lies within one with more, and none
    depends on the method, the other classes, or the target (but for `without`).

    Rows `without` may not be drawn; the order of the others is the same. Class by class in the
    order drawn; with `all`, by row. CorpusError where a class has fewer utterances than shots.
    """
    _refuse_scarce(corpus, classes, 1 if shots == "all" else shots, without)
    if shots == "all":
        rows, y = labelled_rows(corpus, classes)
        kept = ~np.isin(rows, without)
        return Labelled(rows[kept], y[kept])
    orders = [permuted(corpus, emotion, "draw", seed) for emotion in classes]
    drawn = [rows[~np.isin(rows, without)][:shots] for rows in orders]
    return Labelled(np.concatenate(drawn), np.repeat(np.arange(len(classes)), shots))


def labelled_rows(corpus: Corpus, classes: Sequence[str]) -> tuple[Rows, Rows]:
    """Ascending rows [m] of the utterances of some classes, and the class index of each [m]."""
    y = np.full(len(corpus.utterances), -1, dtype=np.int64)
    for index, emotion in enumerate(classes):
        y[corpus.emotions == emotion] = index
    rows = np.flatnonzero(y >= 0).astype(np.int64)
    return rows, y[rows]


def permuted(corpus: Corpus, emotion: str, purpose: str, seed: int) -> Rows:
    """The one permutation of a class's rows for a purpose and a seed."""
    rows = np.flatnonzero(corpus.emotions == emotion).astype(np.int64)
    return generator(purpose, corpus.spec.code, emotion, seed).permutation(rows)


def _refuse_scarce(corpus: Corpus, classes: Sequence[str], least: int, without: Rows) -> None:
    emotions = np.delete(corpus.emotions, without)
    counts = {emotion: int(np.sum(emotions == emotion)) for emotion in classes}
    scarce = [f"{emotion} has {count}" for emotion, count in counts.items() if count < least]
    if scarce:
        raise CorpusError(
            f"{corpus.spec.heading} in {corpus.root}: {least} labelled "
            f"utterances per class are asked for, but {', '.join(scarce)}"
            f"{' once those that the target has too are left out' if len(without) else ''}; "
            f"{'ask for fewer shots' if min(counts.values()) else 'complete the corpus'}, "
            "or take a pair without the class"
        )


def speaker_folds(corpus: Corpus) -> tuple[frozenset[str], frozenset[str]]:
    """Split the speakers into two halves, each gender as evenly as it goes.

    The split depends on the corpus's code and speakers only, so that all methods, sources and
    draws share it. The speakers of each gender, in seeded order, are dealt to the halves in
    turn, going on where the gender before stopped. CorpusError where there is one speaker only.
    """
    genders = dict(zip(corpus.speakers.tolist(), corpus.genders.tolist(), strict=True))
    if len(genders) < 2:
        raise CorpusError(
            f"{corpus.spec.heading} has one speaker; the inductive setting "
            "needs at least two, use the transductive one"
        )
    dealt: list[str] = []
    for gender in sorted(set(genders.values())):
        speakers = sorted(speaker for speaker in genders if genders[speaker] == gender)
        shuffle = generator("halves", corpus.spec.code, gender)
        dealt += [speakers[place] for place in shuffle.permutation(len(speakers))]
    return frozenset(dealt[0::2]), frozenset(dealt[1::2])


SHARE = 5  # one label in so many is held out
LEAST_SHOTS = 10
"""Below this a class would be judged by one utterance: `source-risk` and the like do not apply."""


def holdout(labelled: Labelled, *, source: str, seed: int) -> tuple[Labelled, Labelled]:
    """Labelled utterances to train on, in their order, and those held out.

    Held out is a fifth of each class, rounded down but at least one of two.
    """
    held_out = np.zeros(len(labelled.y), dtype=bool)
    for label in np.unique(labelled.y):
        members = np.flatnonzero(labelled.y == label)
        count = max(len(members) // SHARE, int(len(members) > 1))
        order = generator("held out", source, int(label), seed).permutation(members)
        held_out[order[:count]] = True
    return (
        Labelled(labelled.rows[~held_out], labelled.y[~held_out]),
        Labelled(labelled.rows[held_out], labelled.y[held_out]),
    )
