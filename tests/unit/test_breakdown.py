"""Breakdowns: against stored metrics and hand-worked numbers; in words; the command."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from clser_bench.errors import SpecError
from clser_bench.protocol import Pair
from clser_bench.report.breakdown import BY, Facts, break_down
from clser_bench.report.breakdown_text import render
from clser_bench.report.table import leaderboard
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, RIGHT, run
from tests.fake_corpora import write_tone
from tests.records import answer_key, hole, ok, trial

ONE = (Pair("B", "C"),)


def put(store, draws, key=KEY, *, pair=ONE[0], keys=None):
    """Store a method `m` whose predictions are given draw by draw."""
    trials, records = [], []
    for seed, predicted in enumerate(draws):
        trials.append(trial("m", str(pair), seed=seed))
        records.append(ok(trials[-1], predicted, keys[seed] if keys else key))
    store.plan({}, trials, pairs=(pair,))
    store.put(records)


def broken(store, by, values=None, *, suite="bc", **more):
    """The one leaderboard of a suite, broken down by facts of the utterances of C, in order."""
    if values is not None:
        rows = enumerate(values)
        more["facts"] = {"C": {f"{row:03d}.wav": Facts(**{by: value}) for row, value in rows}}
    frame = store.frame({"suite": suite})
    (table,) = leaderboard(frame, store, intervals=False)
    return break_down(store, frame, table, by=by, **more)


def part(found, method="m", pair=None):
    """The figures of a method, over all pairs or of one, by kind."""
    own = [item for item in found.figures if (item.line.method, item.pair) == (method, pair)]
    return SimpleNamespace(
        values=[item for item in own if item.classes],
        gaps=[item for item in own if item.kind == "gap"],
        correlations=[item for item in own if item.kind.startswith("rho")],
        status=own[0].status,
        reason=own[0].reason,
    )


def means(one):
    """The figure of each group."""
    return {value.group: value.mean for value in one.values}


def test_recalls_are_those_of_the_stored_metrics(store):
    run(store, {"m": 15}, seeds=3)
    found = broken(store, "emotion")
    assert found.groups == ("anger", "happiness", "sadness")
    records = sorted(store.records(), key=lambda record: record.trial.seed)
    recalls = np.array([record.metrics.recalls for record in records])
    by_draw = recalls.reshape(3, len(PAIRS), 3).mean(axis=1)
    for place, emotion in enumerate(found.groups):
        (value,) = [value for value in part(found).values if value.group == emotion]
        assert value.mean == pytest.approx(by_draw[:, place].mean())
        assert value.std == pytest.approx(by_draw[:, place].std(ddof=1))
        assert (value.n, value.count) == (3, 8 * 3 * len(PAIRS))


def test_confusions_are_those_of_the_stored_metrics(store):
    run(store, {"m": 15}, seeds=3)
    found = broken(store, "confusion")
    records = [record for record in store.records() if record.trial.pair == PAIRS[0]]
    total = np.sum([record.metrics.confusion for record in records], axis=0)
    values = part(found, pair=PAIRS[0]).values
    assert [value.count for value in values] == total.ravel().tolist()
    shares = 100 * total / total.sum(axis=1, keepdims=True)
    assert [value.mean for value in values] == pytest.approx(shares.ravel().tolist())
    diagonal = {v.group: v.mean for v in part(found).values if v.group == v.predicted}
    assert diagonal == pytest.approx(means(part(broken(store, "emotion"))))


def test_an_emotion_that_a_pair_lacks_is_left_out_of_its_mean(store):
    two = answer_key([0, 0, 1, 1], classes=("anger", "sadness"))
    three = answer_key([0, 1, 2, 2])
    trials = [trial("m", "B→C", classes=two.classes), trial("m", "C→B", classes=three.classes)]
    store.plan({}, trials, pairs=PAIRS)
    store.put([ok(trials[0], [0, 1, 1, 1], two), ok(trials[1], [1, 1, 2, 0], three)])
    pooled = means(part(broken(store, "emotion")))
    assert pooled == pytest.approx({"anger": 25, "happiness": 100, "sadness": 75})
    found = broken(store, "confusion")
    assert {v.predicted for v in part(found, pair=PAIRS[0]).values} == {"anger", "sadness"}
    shares = {(v.group, v.predicted): v.mean for v in part(found).values}
    assert shares["anger", "happiness"] == pytest.approx(50)  # 0 and 100
    for emotion in found.groups:
        assert sum(shares[emotion, other] for other in found.groups) == pytest.approx(100)


def test_a_single_group_has_the_uar_of_the_leaderboard(store):
    run(store, {"m": 15, "other": 9}, seeds=3, pairs=ONE)
    (table,) = leaderboard(store.frame(), store, intervals=False)
    found = broken(store, "gender", ["female"] * 24)
    for line in table.lines:
        (value,) = part(found, line.method).values
        assert (value.mean, value.std) == pytest.approx((line.mean.mean, line.mean.std))
        assert part(found, line.method).gaps == []


def test_what_is_left_out_does_not_shift_predictions(store):
    put(store, [[1, 0, 1, 2, 0, 2]], answer_key([0, 0, 1, 1, 2, 2]))
    found = broken(store, "gender", ["", "male", "male", "", "", "male"])
    assert means(part(found)) == {"male": 100}
    assert found.remarks == ("C: left out, of unknown gender: 3 utterances",)


def test_thirds_and_groups_of_recognition_rates_by_hand(store):
    put(store, [RIGHT])
    found = broken(store, "length", [float(row) for row in range(23)] + [None])
    # a third of 0..22 is at 7.33, two at 14.67
    sizes = {value.group: value.count for value in part(found).values}
    assert sizes == {"short": 8, "middle": 7, "long": 8}
    assert found.remarks == (
        "C: short ≤ 7.33 s < middle ≤ 14.67 s < long",
        "C: left out, of unknown length: 1 utterances",
    )
    assert found.groups == ("short", "middle", "long")
    values = part(broken(store, "human", [79.9, 80.0, 89.9, 90.0, 99.9, 100.0] * 4)).values
    sizes = {value.group: value.count // 4 for value in values}
    assert sizes == {"below 80 %": 1, "80 to <90 %": 2, "90 to <100 %": 2, "100 %": 1}


def test_pairs_whose_target_is_unknown_are_left_out(store):
    run(store, {"m": 20})
    found = broken(store, "gender", ["male", "female"] * 12)
    assert found.pairs == ONE
    assert list(dict.fromkeys(one.pair for one in found.figures)) == [ONE[0], None]
    assert "mean over 1 pairs (B→C)" in render([found])


def test_draws_may_score_different_utterances(store):
    put(store, [[0, 1, 1], [0, 1, 0, 2]], keys=[answer_key([0, 0, 1]), answer_key([0, 1, 1, 2])])
    one = part(broken(store, "emotion"))
    assert means(one) == {"anger": 75, "happiness": 75, "sadness": 100}
    assert [value.count for value in one.values] == [3, 3, 1]


def test_speakers_by_hand(store):
    key = answer_key([0, 0, 1, 1] * 2, speakers="aaaabbbb")
    # a: recalls 100 and 50, then 100 and 100; b: 0 and 50, then 50 and 50
    put(store, [[0, 0, 1, 2, 1, 1, 1, 2], [0, 0, 1, 1, 0, 1, 1, 2]], key)
    one = part(broken(store, "speaker"))
    assert means(one) == {"C a": 87.5, "C b": 37.5}
    spreads = [statistics.stdev(draws) for draws in ([75, 100], [25, 50])]
    assert [value.std for value in one.values] == pytest.approx(spreads)
    (gap,) = one.gaps
    assert (*gap.ends, gap.mean, gap.std, gap.of) == ("C b", "C a", 50, 0, 2)


def test_a_speaker_without_a_hard_emotion_is_not_the_best(store):
    put(store, [[0, 2, 1, 2, 0, 0]], answer_key([0, 1, 0, 1, 0, 0], speakers="aabbcc"))
    one = part(broken(store, "speaker"))
    assert means(one) == {"C a": 50, "C b": 0, "C c": 100}
    assert [value.classes for value in one.values] == [2, 2, 1]
    assert [(gap.ends, gap.of) for gap in one.gaps] == [(("C b", "C a"), 2)]


@pytest.mark.parametrize("planted", [False, True])
def test_a_gap_of_speakers_is_set_against_chance(store, planted):
    rng = np.random.default_rng(3)
    y = np.tile([0, 1, 2], 200)
    speakers = np.repeat(list("abcdef"), 100)
    right = rng.random(600) < (np.where(speakers == "a", 0.9, 0.5) if planted else 0.5)
    key = answer_key(y.tolist(), speakers=speakers.tolist())
    put(store, [np.where(right, y, (y + 1) % 3)], key)
    (gap,) = part(broken(store, "speaker")).gaps
    # of six shares of 100 with deviation 5, the range is 2.53 deviations on average (Tippett)
    assert gap.shuffled == pytest.approx(2.53 * 100 * math.sqrt(right.var() / 100), rel=0.15)
    assert (gap.mean > 2 * gap.shuffled) == planted


def test_utterances_are_shuffled_within_their_emotion(store):
    # one emotion always right, the other never: every shuffle leaves every UAR at 50
    key = answer_key([0] * 9 + [1] * 3 + [0] * 3 + [1] * 9, speakers="a" * 12 + "b" * 12)
    put(store, [[0] * 24], key)
    (gap,) = part(broken(store, "speaker")).gaps
    assert (gap.mean, gap.shuffled) == (0, 0)


def test_a_difference_of_groups_has_an_interval(store):
    rng = np.random.default_rng(5)
    key = answer_key([0, 1, 2] * 80, speakers="abcdefgh" * 30)
    loud = np.arange(240) % 2 == 0
    draws = []
    for _ in range(4):
        right = rng.random(240) < np.where(loud, 0.8, 0.4)
        draws.append(np.where(right, key.y, (key.y + 1) % 3))
    put(store, draws, key)
    (gap,) = part(broken(store, "loudness", np.where(loud, -10.0, -30.0).tolist())).gaps
    assert gap.ends == ("quiet", "middle")  # ties leave the loud third empty
    assert 0 < gap.low < gap.mean < gap.high
    assert gap.high - gap.low < 40


def test_correlation_with_people_by_hand(store):
    # two draws; shares right 1, 1, ½, 0 of class 0 and 0, ½, 1, 1 of class 1
    key = answer_key([0, 0, 0, 0, 1, 1, 1, 1], speakers="abababab")
    put(store, [[0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1]], key)
    over_all, within = part(broken(store, "human", [100.0, 95, 90, 80] * 2)).correlations
    assert (over_all.kind, over_all.count, within.kind) == ("rho", 8, "rho_within")
    assert over_all.mean == pytest.approx(0, abs=1e-12)
    # ranks of class 0: people 4 3 2 1, shares 3½ 3½ 2 1: 4½ / √(5 · 4½); class 1 is its mirror
    assert within.mean == pytest.approx(0, abs=1e-12)
    one = part(broken(store, "human", [100.0, 95, 90, 80, 80, 90, 95, 100]))
    assert one.correlations[1].mean == pytest.approx(4.5 / math.sqrt(5 * 4.5))


def test_the_interval_of_a_correlation_leaves_speakers_out(store):
    right = [1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0]
    put(store, [[1 - good for good in right]], answer_key([0] * 12, speakers="aaaabbbbcccc"))
    people = [100.0, 95, 90, 85, 95, 80, 100, 90, 85, 90, 80, 95]
    found = part(broken(store, "human", people)).correlations[0]

    def spearman(kept):
        return stats.spearmanr(np.array(people)[kept], np.array(right)[kept]).statistic

    whole = spearman(range(12))
    left = [spearman([row for row in range(12) if row // 4 != out]) for out in range(3)]
    error = math.sqrt(2 / 3 * sum((rho - statistics.mean(left)) ** 2 for rho in left))
    assert found.mean == pytest.approx(whole)
    # t of 2 degrees of freedom at 97.5 %
    assert found.low == pytest.approx(max(-1, whole - 4.302653 * error), abs=1e-5)
    assert found.high == pytest.approx(min(1, whole + 4.302653 * error), abs=1e-5)


def test_no_correlation_where_nothing_varies(store):
    put(store, [RIGHT])
    found = part(broken(store, "human", [80.0, 100.0] * 12))
    assert [item.mean for item in found.correlations] == [None, None]


@pytest.mark.parametrize("by", ["emotion", "confusion", "speaker"])
def test_missing_cells_keep_their_reasons(store, by):
    trials = run(store, {"m": 20, "other": 12}, left_out={("m", "B→C", 1)})
    store.put([hole(trials[1], "not_applicable", "needs 10 shots")])
    found = broken(store, by)
    cell, pooled = part(found, pair=PAIRS[0]), part(found)
    assert (cell.values, cell.status) == ([], "not_applicable")
    assert cell.reason == "needs 10 shots (1 of 2 draws)"
    assert pooled.reason == "no result for 1 of 2 pairs: B→C"
    assert part(found, pair=PAIRS[1]).values
    text = render([found], each_pair=True)
    for reason in (cell.reason, pooled.reason):
        assert f"[1] m: not applicable: {reason}" in text
    table = list(csv.DictReader(io.StringIO(render([found], "csv"))))
    assert {row["reason"] for row in table if row["status"] != "ok"} == {cell.reason, pooled.reason}
    # and of a method without any result
    every = {("late", str(pair), seed) for pair in PAIRS for seed in range(2)}
    run(store, {"late": 20}, left_out=every, suite="other")
    found = broken(store, by, suite="other")
    assert {one.status for one in found.figures} == {"failed"}
    assert "not run yet" in render([found], each_pair=True)


def test_rows_have_the_figures(store):
    run(store, {"m": 20}, pairs=ONE, shots="all", seeds=1)
    found = broken(store, "human", [80.0, 100.0] * 12)
    rows = json.loads(render([found], "json"))
    assert {row["figure"] for row in rows} == {"uar", "gap", "rho", "rho_within"}
    assert {row["pair"] for row in rows} == {"B→C", "mean"}
    assert {(row["by"], row["shots"], row["method"]) for row in rows} == {("human", "all", "m")}
    assert len({tuple(row) for row in rows}) == 1
    value = next(row for row in rows if row["figure"] == "uar")
    assert (value["n"], value["std"], value["count"], value["classes"]) == (1, None, 12, 3)
    assert render([found], "csv").splitlines()[0] == ",".join(rows[0])


def test_references_and_synthetic_speech_are_marked(store):
    notes = {"m": MethodNote(), "best": MethodNote(role="reference")}
    run(store, {"m": 20, "best": 24}, notes=notes)
    text = render([broken(store, "emotion")])
    assert "best (reference)" in text
    assert "synthetic" not in text
    run(store, {"s": 20}, synthetic=True, suite="demo")
    assert "(synthetic speech)" in render([broken(store, "emotion", suite="demo")], "md")


def test_what_cannot_be_broken_down(store):
    run(store, {"m": 20}, pairs=ONE)
    with pytest.raises(SpecError, match="no breakdown by 'speakers'; did you mean 'speaker'"):
        broken(store, "speakers")
    with pytest.raises(SpecError, match="the length of the utterances is not known in C"):
        broken(store, "length")
    other = {"C": {"elsewhere/000.wav": Facts(length=1.0)}}
    with pytest.raises(SpecError, match=r"C: the length of none of .* '000.wav'.* copy of the"):
        broken(store, "length", facts=other)
    with pytest.raises(SpecError, match="no format 'xml'"):
        render([broken(store, "emotion")], "xml")
    assert render([]) == "No results to show.\n"
    assert json.loads(render([], "json")) == []


@pytest.fixture
def breakdown(tmp_path, call, monkeypatch):
    """The command, on results whose target is listed in a manifest."""
    monkeypatch.setenv("COLUMNS", "200")
    lines = ["path,speaker,emotion,language,corpus,gender"]
    for row, emotion in enumerate(["anger", "happiness", "sadness"] * 4):
        write_tone(tmp_path / f"{row:03d}.wav", seconds=0.05 * (row + 1))
        speaker, gender = ("ada", "female") if row % 2 else ("bob", "male")
        lines.append(f"{row:03d}.wav,{speaker},{emotion},de,mine,{gender}")
    (tmp_path / "mine.csv").write_text("\n".join(lines), encoding="utf-8")
    key = answer_key([0, 1, 2] * 4, speakers=["bob", "ada"] * 6)
    with Store(tmp_path / "r.sqlite") as opened:
        put(opened, [[0, 1, 2] * 2 + [0] * 6], key, pair=Pair("B", "mine"))

    def invoke(*arguments, recordings=("--manifest", "mine.csv")):
        return call("breakdown", "--results=r.sqlite", "--workers=1", *recordings, *arguments)

    return invoke


@pytest.mark.parametrize("by", [by for by in BY if by != "human"])
def test_the_command_prints_each_breakdown(breakdown, by):
    result = breakdown("--by", by)
    assert result.exit_code == 0, result.output
    assert "bc, 5 shots, transductive: " in result.stdout


def test_the_command_joins_recordings_and_results(breakdown):
    rows = json.loads(breakdown("--by", "length", "--format", "json").stdout)
    found = {row["group"]: row["mean"] for row in rows if row["pair"] == "mean"}
    # the long third, 0.45 to 0.6 s: anger right, the rest taken for anger
    assert found["long"] == pytest.approx(100 / 3, abs=1e-4)
    assert found["short"] == 100


def test_the_command_says_what_is_missing(breakdown):
    for by in ("gender", "length", "loudness"):
        result = breakdown("--by", by, recordings=())
        assert result.exit_code == 2
        assert "reads the recordings of mine: name the folder" in result.stderr
        assert "--corpora DIR" in result.stderr
    result = breakdown("--by", "human")
    assert result.exit_code == 2
    assert "known of EMO-DB (B) only, and the results have mine" in result.stderr


@pytest.mark.real_speech
def test_the_command_on_real_recordings(  # noqa: PLR0917
    tmp_path, real_corpora, real_cache, read_real, call, monkeypatch
):
    monkeypatch.setenv("CLSER_CACHE", str(real_cache))
    classes = ("anger", "happiness", "sadness")
    chosen = [item for item in read_real("B").utterances if item.emotion in classes]
    y = [classes.index(item.emotion) for item in chosen]
    key = answer_key(y, speakers=[item.speaker for item in chosen])
    key = dataclasses.replace(key, names=tuple(item.name for item in chosen))
    with Store(tmp_path / "r.sqlite") as opened:
        put(opened, [y], key, pair=Pair("C", "B"))
    arguments = ("--by", "human", "--results", "r.sqlite", "--format", "json")
    result = call("breakdown", *arguments, "--corpora", str(real_corpora))
    rows = [row for row in json.loads(result.stdout) if row["pair"] == "mean"]
    assert {row["mean"] for row in rows if row["figure"] == "uar"} == {100}
    assert sum(row["count"] for row in rows if row["figure"] == "uar") == 127 + 71 + 62
