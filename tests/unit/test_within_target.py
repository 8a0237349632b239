"""The reference `within-target`: trained on target labels, never on a speaker that it scores."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut

from clser_bench.corpora.model import Corpus
from clser_bench.problem import Table
from clser_bench.protocol import Condition, Setting
from clser_bench.scoring import within_target as module
from clser_bench.scoring.within_target import speaker_groups, within_target
from clser_bench.splits import Fold, build
from tests.fake_corpora import content_tables, memory_corpus

CLASSES = ("anger", "fear", "sadness")
COUNTS = {"anger": 20, "fear": 16, "sadness": 12}
SOURCE = memory_corpus("S", COUNTS)
TARGET = memory_corpus("T", COUNTS)


def folds_of(
    target: Corpus = TARGET, *, seed: int = 0, setting: Setting = "transductive"
) -> tuple[Fold, ...]:
    more: dict[str, Any] = {"classes": CLASSES, "shots": 2, "tables": content_tables()}
    return build(SOURCE, target, seed=seed, condition=Condition(setting=setting), **more)


def many(count: int) -> Corpus:
    """A target with so many speakers."""
    return memory_corpus("T", COUNTS, {f"s{number:02d}": "female" for number in range(count)})


def with_summary(fold: Fold, summary: np.ndarray) -> Fold:
    """The fold with other features of the target."""
    table = Table("changed", fold.problem.target.instants, summary)
    return dataclasses.replace(fold, problem=dataclasses.replace(fold.problem, target=table))


def test_scores_are_those_of_scikit_learn_with_one_speaker_left_out():
    (fold,) = folds_of()
    x = np.asarray(fold.problem.target.summary[fold.problem.scored])
    expected = np.empty((len(x), 3))
    for train, test in LeaveOneGroupOut().split(x, fold.key.y, groups=fold.key.speakers):
        model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=500)
        model.fit(x[train], fold.key.y[train])
        expected[test] = model.predict_log_proba(x[test])
    (outcome,) = within_target([fold])
    assert outcome.status == "ok"
    assert outcome.scores.dtype == np.float32
    np.testing.assert_allclose(outcome.scores, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("speakers", [2, 10, 13])
@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_no_speaker_is_in_training_and_test(monkeypatch, speakers, setting):
    """Features that are the utterance's number show which rows a model was given."""
    folds = folds_of(target := many(speakers), setting=setting)
    folds = tuple(with_summary(fold, fold.order[1][:, None].astype(np.float32)) for fold in folds)
    scored: list[int] = []

    def watched(x: np.ndarray, y: np.ndarray, target_x: np.ndarray, *, classes: int) -> np.ndarray:
        train, test = x[:, 0].astype(int), target_x[:, 0].astype(int)
        assert not {*target.speakers[train]} & {*target.speakers[test]}
        left_out = {*target.speakers} - {*target.speakers[train]}
        assert len(left_out) <= (1 if speakers <= module.GROUPS else 2), "the rest is trained on"
        assert [CLASSES[label] for label in y] == target.emotions[train].tolist()
        scored.extend(test)
        return np.zeros((len(test), classes))

    monkeypatch.setattr("clser_bench.shallow.classifiers.logistic_scores", watched)
    outcomes = within_target(folds)
    assert [len(outcome.scores) for outcome in outcomes] == [len(fold.key.y) for fold in folds]
    assert sorted(scored) == list(range(len(target.utterances)))


def test_each_half_is_scored_with_the_features_of_its_own_fold():
    folds = folds_of(setting="inductive")
    before = within_target(folds)
    after = within_target([folds[0], with_summary(folds[1], 2 * folds[1].problem.target.summary)])
    assert np.array_equal(before[0].scores, after[0].scores)
    assert not np.array_equal(before[1].scores, after[1].scores)


def test_the_draw_does_not_matter():
    one, other = (within_target(folds_of(seed=seed))[0].scores for seed in (0, 1))
    assert one.tobytes() == other.tobytes()


def test_one_speaker_is_not_applicable():
    (outcome,) = within_target(folds_of(many(1)))
    assert outcome.status == "not_applicable"
    assert "one speaker" in outcome.reason


def test_a_class_of_one_speaker_only_gives_finite_scores():
    changed = tuple(
        dataclasses.replace(item, speaker="ulla" if item.emotion == "fear" else "vera")
        for item in TARGET.utterances
    )
    (outcome,) = within_target(folds_of(dataclasses.replace(TARGET, utterances=changed)))
    assert outcome.status == "ok"
    assert np.isfinite(outcome.scores).all()


def test_groups_follow_from_names_alone_and_are_even():
    speakers = [f"s{number}" for number in range(23)]
    groups = speaker_groups(speakers)
    assert groups == speaker_groups(speakers[::-1] * 2)
    sizes = np.bincount(list(groups.values()))
    assert len(sizes) == module.GROUPS
    assert sizes.max() - sizes.min() == 1
    assert sorted(speaker_groups(speakers[:7]).values()) == list(range(7))
