"""Cards: what they tell of a table, and what is refused when one is read."""

from __future__ import annotations

import functools
import hashlib
import json
import operator
import statistics
from typing import Any

import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import Condition
from clser_bench.report.provenance import (
    Card,
    Machine,
    Requested,
    Software,
    as_text,
    make_card,
    read_card,
    runs_of,
    seal,
)
from clser_bench.store.sqlite import Store
from tests.boards import KEY, PAIRS, run, tables_of
from tests.records import hole, right, trial

SOFTWARE = Software(clser_bench="1.2", python="3.11.7", packages={"numpy": "2.0"})
MACHINE = Machine(processor="a processor", cores=2, memory_gib=8.0, system="a system")
REQUEST = Requested(
    condition=Condition(suite="bc", alignment="anchors").texts(),
    pairs=("B->C",),
    methods=("sere",),
    shots=(5,),
    seeds=2,
    corruptions=(),
    settings={"sere": {"steps": 3, "weight": 1.0, "dual": True, "kind": "x"}},
    skip_bad=False,
    manifests=0,
    folder=True,
)


def card_of(store, **options):
    (table,) = tables_of(store, intervals=False, **options)
    parts: dict[str, Any] = {"software": SOFTWARE, "machine": MACHINE, "requests": [REQUEST]}
    return make_card(store, table, **parts, commands=["clser-bench run"])


def test_a_card_tells_every_draw_of_every_cell(store):
    run(store, {"sere": 20, "dann": 12}, seeds=3)
    card = card_of(store)
    trials = {record.trial: record.metrics.uar for record in store.records()}
    stored = {(of.method, of.pair, of.seed): uar for of, uar in trials.items()}
    assert [pair.pair for pair in card.pairs] == list(PAIRS)
    assert [method.method for method in card.methods] == ["sere", "dann"]
    for method in card.methods:
        assert method.seeds == (0, 1, 2)
        for pair, cell in zip(PAIRS, method.cells, strict=True):
            draws = [stored[method.method, pair, seed] for seed in method.seeds]
            assert cell.uars == tuple(draws)
            assert cell.n == 3
            assert cell.mean == pytest.approx(statistics.mean(draws), abs=1e-12)
            assert cell.sd == pytest.approx(statistics.stdev(draws), abs=1e-12)


def test_a_card_tells_what_the_table_was_made_of(store):
    run(store, {"sere": 20}, shots="all", normalisation="speaker", prior="dirichlet:1")
    card = card_of(store)
    assert card.rules == tables_of(store)[0].condition
    assert (card.condition["shots"], card.condition["prior"]) == ("all", "dirichlet:1")
    assert not card.synthetic
    first, second = card.pairs
    assert first.classes == ("anger", "happiness", "sadness")
    assert (first.source_key, first.target_key) == ("t-B".ljust(64, "0"), "t-C".ljust(64, "0"))
    assert (second.source_key, second.target_key) == (first.target_key, first.source_key)
    (method,) = card.methods
    assert (method.version, method.engine_version, method.evaluations) == (1, 0, 1)
    assert method.parameters == {"c": 0.05, "steps": 3, "whiten": True}
    assert method.of_pairs == {}


def test_evaluations_are_counted_over_all_ways_of_selection(store):
    run(store, {"sere": 20, "dann": 9})
    for number in (1, 2):
        point = (("c", number),)
        of = [trial("sere", str(pair), selection="oracle", parameters=point) for pair in PAIRS]
        store.plan({}, of, pairs=PAIRS, candidates={item.id: number for item in of})
        store.put([right(item, KEY) for item in of])
    found = {method.method: method.evaluations for method in card_of(store).methods}
    assert found == {"sere": 3, "dann": 1}


def test_hyper_parameters_that_differ_stand_by_pair(store):
    # 1 and 1.0 and true are three values
    values = {"B→C": (("a", 1), ("b", 0.5)), "C→B": (("a", 1.0), ("b", 0.5))}
    trials = [trial("sere", pair, parameters=point) for pair, point in values.items()]
    store.plan({}, trials, pairs=PAIRS)
    (method,) = card_of(store).methods
    assert method.parameters == {"b": 0.5}
    assert {p: (v["a"], type(v["a"])) for p, v in method.of_pairs.items()} == {
        "B→C": (1, int),
        "C→B": (1.0, float),
    }


def test_holes_have_reasons_without_places(store):
    one, two, three, four = (
        trial("sere", str(pair), seed=seed) for pair in PAIRS for seed in (0, 1)
    )
    store.plan({}, [one, two, three, four], pairs=PAIRS)
    store.put([right(one, KEY), hole(two, "not_applicable", "needs\x1b[2J ten shots")])
    store.put([hole(three, "failed", "no such file: /home/ann/secret.wav")])
    store.put([hole(four, "failed", "no such file: C:\\Users\\ann")])
    first, second = card_of(store).methods[0].cells
    assert (first.n, first.mean, first.sd, first.uars) == (1, None, None, (100.0, None))
    assert first.status == "not_applicable"
    assert first.reason == "needs [2J ten shots (1 of 2 draws)"
    assert (second.status, second.uars) == ("failed", (None, None))
    assert second.reason == "see `clser-bench status` of the results file"


def test_methods_of_two_runs_stand_with_theirs(store):
    run(store, {"sere": 20})
    run(store, {"dann": 20, "coral": 12}, seeds=3)
    run(store, {"coral": 13}, seeds=4)
    (table,) = tables_of(store, intervals=False)
    found = [(item.id, methods) for item, methods in runs_of(store, table)]
    assert found == [(1, ("sere",)), (2, ("dann",)), (3, ("coral",))]
    seeds = {method.method: len(method.seeds) for method in card_of(store).methods}
    assert seeds == {"sere": 2, "dann": 3, "coral": 4}


def test_a_table_of_different_audio_has_no_card(store):
    run(store, {"sere": 20})
    other = trial("dann", "B→C", tables="u")
    store.plan({}, [other], pairs=PAIRS)
    store.put([right(other, KEY)])
    with pytest.raises(SpecError, match="different audio, labels or features of B→C"):
        card_of(store)
    assert len(card_of(store, methods=["sere"]).methods) == 1


def test_hostile_names_are_kept_or_refused(store):
    run(store, {'<script>|$x$"': 20})
    assert '<script>|$x$\\"' in as_text(card_of(store))
    run(store, {"sere\x1b[2J": 20}, shots=1)
    with pytest.raises(SpecError, match="a card cannot hold it"):
        card_of(store, shots=1)


def test_a_card_is_read_as_it_was_written(store, tmp_path):
    run(store, {"sere": 20, "dann": 7}, left_out=[("dann", "B→C", 0)])
    card = card_of(store)
    (tmp_path / "card.json").write_text(as_text(card), encoding="utf-8")
    read = read_card(tmp_path / "card.json")
    assert read == card
    settings = read.requests[0].settings["sere"]
    assert [type(value) for value in settings.values()] == [int, float, bool, str]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("card") / "clser.sqlite") as opened:
        run(opened, {"sere": 20})
        return as_text(card_of(opened))


@pytest.fixture
def values(written):
    return json.loads(written)


@pytest.fixture
def write(tmp_path):
    """Writes values as a card whose hash fits."""

    def sealed(values):
        rest = {name: value for name, value in values.items() if name != "sha256"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        (tmp_path / "card.json").write_text(json.dumps({**rest, "sha256": sha256}))
        return tmp_path / "card.json"

    return sealed


CELL = ("methods", 0, "cells", 0)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("extra",), 1, "extra.*not permitted"),
        (("methods", 0, "version"), "1", "valid integer"),
        (("methods", 0, "version"), True, "valid integer"),
        ((*CELL, "uars", 0), 100.5, "less than or equal to 100"),
        ((*CELL, "uars"), [50.0], "a UAR a seed"),
        ((*CELL, "status"), "great", "'ok', 'failed' or 'not_applicable'"),
        (("methods", 0, "seeds"), [1, 1], "each seed once"),
        (("methods", 0, "seeds"), [0, 10_000], "less than 10000"),
        (("methods", 0, "cells"), [], "a cell a pair"),
        (("methods", 0, "method"), "sere\x1b[2J", "match pattern"),
        (("methods", 0, "method"), "", "at least 1"),
        (("methods", 0, "parameters", "c"), None, "parameters"),
        (("pairs", 0, "source"), "../B", "match pattern"),
        (("pairs", 1), {"source": "B", "target": "C", "classes": [], "source_key": "",
                        "target_key": ""}, "named twice"),
        (("requests", 0, "corpora"), "/etc", "not permitted"),
        (("requests", 0, "shots", 0), 0, "greater than or equal to 1"),
        (("requests", 0, "methods"), [], "at least 1"),
        (("requests", 0, "condition", "normalisation"), "best", "'best' is unknown"),
        (("requests", 0, "condition", "features"), "x" * 5000, "at most 4096"),
        (("condition", "prior"), "dirichlet:-1", "target prior"),
        (("condition", "extra"), "x", "needs the fields"),
        (("software", "commit"), "HEAD; rm", "match pattern"),
        (("machine",), None, "machine"),
        (("format",), 1, "is of format 1, this clser-bench reads 2"),
    ],
)  # fmt: skip
def test_a_card_of_another_form_is_refused(write, values, place, value, message):
    read_card(write(values))
    *way, last = place
    functools.reduce(operator.getitem, way, values)[last] = value
    with pytest.raises(SpecError, match=message):
        read_card(write(values))


def test_a_missing_field_is_named_and_an_unknown_one_written_harmlessly(write, values):
    del values["methods"][0]["evaluations"]
    with pytest.raises(SpecError, match=r"methods\.0\.evaluations.*required") as caught:
        read_card(write(values | {"\x1b[2J<script>": 1}))
    assert "\x1b" not in str(caught.value)


def test_a_damaged_card_is_refused(tmp_path, written):
    changed = Card.model_validate_json(written).model_copy(update={"title": "another"})
    path = tmp_path / "card.json"
    path.write_text(as_text(changed))
    with pytest.raises(SpecError, match="does not fit its own SHA-256"):
        read_card(path)
    path.write_text(as_text(seal(changed)))
    assert read_card(path).title == "another"


TEXTS = [b"", b"[]", b"\xff\xfe\xff", b"[" * 100_000, b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}"]


@pytest.mark.parametrize("text", TEXTS, ids=["empty", "list", "bytes", "deep", "nan", "digits"])
def test_what_is_no_card_is_refused(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_bytes(text)
    with pytest.raises(SpecError, match="is not the JSON of a card"):
        read_card(path)


def test_a_file_that_is_too_large_or_absent_is_refused(tmp_path):
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(SpecError, match="cannot be read"):
            read_card(path)
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(33 * 2**20)
    with pytest.raises(SpecError, match="more than 32 MiB"):
        read_card(tmp_path / "large.json")
