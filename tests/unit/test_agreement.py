"""When a cell is identical, within noise or different: figures worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from clser_bench.protocol import Condition
from clser_bench.report.agreement import (
    DIFFERENT,
    IDENTICAL,
    NOISE,
    Agreement,
    compare,
    other_software,
)
from clser_bench.report.provenance import (
    Card,
    CardCell,
    CardMethod,
    CardPair,
    Machine,
    Software,
)

SOFTWARE = Software(
    clser_bench="1.2", commit="ab", modified=False, python="3.11.7", packages={"numpy": "2.0"}
)
Draws = Sequence[float | None]


def cell(uars: Draws, *, status: str = "ok", reason: str = "") -> CardCell:
    have = [uar for uar in uars if uar is not None]
    whole = status == "ok"
    return CardCell(
        mean=float(np.mean(have)) if whole else None,
        sd=float(np.std(have, ddof=1)) if whole and len(have) > 1 else None,
        n=len(have),
        uars=tuple(uars),
        status=status,  # type: ignore[arg-type]
        reason=reason,
    )


def method(*cells: CardCell, name: str = "sere", **more: Any) -> CardMethod:
    values: dict[str, Any] = {
        "version": 1,
        "engine_version": 1,
        "evaluations": 1,
        "parameters": {},
        "of_pairs": {},
        "seeds": tuple(range(len(cells[0].uars))),
        **more,
    }
    return CardMethod(method=name, role="ranked", cells=cells, **values)


def card(*methods: CardMethod, keys: str = "BCRO") -> Card:
    """A card whose first pairs are those of B with C, R and O."""
    pairs = tuple(
        CardPair(source="B", target=code, classes=(), source_key=keys[0], target_key=keys[place])
        for place, code in enumerate("CRO"[: len(methods[0].cells)], start=1)
    )
    return Card(
        title="x",
        condition=Condition().texts(),
        synthetic=False,
        pairs=pairs,
        methods=methods,
        requests=(),
        commands=(),
        software=SOFTWARE,
        machine=Machine(processor="", cores=1, memory_gib=None, system=""),
    )


def agreed(claimed: Draws, here: Draws) -> Agreement:
    return compare(card(method(cell(claimed))), card(method(cell(here))))


def verdicts(found: Agreement) -> list[str]:
    return [item.verdict for item in found.cells]


CLAIMED = [30.0, 34.0, 38.0, 31.0, 36.0]


@pytest.mark.parametrize(
    ("claimed", "here", "verdict", "reason"),
    [
        pytest.param([30, 31, 35], [30, 31, 35], IDENTICAL, "", id="the same draws"),
        pytest.param([30, 31.1], [30, 31.1 + 1e-13], IDENTICAL, "", id="the last bits of a mean"),
        pytest.param([30], [30], IDENTICAL, "", id="one draw"),
        pytest.param(
            *([30], [30.1], DIFFERENT, "one draw has no spread to compare with"), id="one draw off"
        ),
        pytest.param(
            CLAIMED, [31, 35.1, 38.9, 32, 37.1], DIFFERENT, "", id="a shift of every draw"
        ),
        pytest.param(
            CLAIMED, [u + 0.5 for u in CLAIMED], DIFFERENT, "", id="a shift without spread"
        ),
    ],
)
def test_a_cell_by_its_draws(claimed: Draws, here: Draws, verdict: str, reason: str) -> None:
    found = agreed(claimed, here)
    (only,) = found.cells
    assert (only.verdict, only.n, only.reason) == (verdict, len(claimed), reason)
    assert (found.corpora, found.changes) == ((), ())


def test_small_differences_both_ways_are_noise() -> None:
    here = [30.5, 33.5, 38.4, 30.8, 36.0]
    (only,) = agreed(CLAIMED, here).cells
    assert only.verdict == NOISE
    assert only.shift == pytest.approx((0.5 - 0.5 + 0.4 - 0.2) / 5)
    assert only.largest == pytest.approx(0.5)
    assert only.p == pytest.approx(stats.ttest_rel(here, CLAIMED).pvalue, rel=1e-9)


def test_one_draw_that_is_far_off_is_different_whatever_the_mean_says() -> None:
    """One changed draw of n gives t = 1 however large the change is."""
    spread = np.std(CLAIMED, ddof=1)
    within, beyond = ([*CLAIMED[:4], CLAIMED[4] - factor * spread] for factor in (1.9, 2.1))
    # the card is what was changed: its own spread must not widen what is let through
    assert verdicts(agreed(within, CLAIMED)) == [NOISE]
    (only,) = agreed(beyond, CLAIMED).cells
    assert (only.verdict, only.p) == (DIFFERENT, None)
    assert only.reason == "a draw is off by more than 2 sd"


def test_many_cells_of_noise_are_not_called_different() -> None:
    """Five draws of pure noise lie beyond two standard errors in one cell of nine."""
    rng = np.random.default_rng(3)
    claimed, here, beyond = [], [], 0
    for number in range(200):
        draws = rng.normal(50, 2, 5)
        moved = draws + rng.normal(0, 0.3, 5)
        gaps = moved - draws
        beyond += abs(gaps.mean()) > 2 * gaps.std(ddof=1) / np.sqrt(5)
        claimed.append(method(cell(draws.tolist()), name=f"m{number}"))
        here.append(method(cell(moved.tolist()), name=f"m{number}"))
    found = compare(card(*claimed), card(*here))
    assert 10 < beyond < 40
    assert found.count(NOISE) == 200


def test_a_small_shift_that_all_pairs_share_is_found_in_the_mean() -> None:
    claimed = [CLAIMED] * 3
    # in each pair the gaps look like chance; their mean over the pairs hardly varies
    gaps = [[2.0, -1.0, 0.5, 0.5, 0.5], [-1.0, 2.0, 0.5, 0.6, 0.5], [0.4, 0.6, 0.6, 0.5, 0.6]]
    here = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(claimed, gaps, strict=True)]
    found = compare(card(method(*map(cell, claimed))), card(method(*map(cell, here))))
    assert [item.pair for item in found.cells] == ["B→C", "B→R", "B→O", "mean"]
    assert verdicts(found)[:2] == [NOISE, NOISE]
    assert found.cells[-1].verdict == DIFFERENT
    assert found.cells[-1].shift == pytest.approx(np.mean(gaps))


def test_holes_agree_by_their_status() -> None:
    none = [None, None]
    failed, unfit = (cell(none, status=s, reason="why") for s in ("failed", "not_applicable"))
    good = cell([30, 31])
    pairs = [(failed, failed), (failed, unfit), (good, failed)]
    for (claimed, here), verdict in zip(pairs, [IDENTICAL, DIFFERENT, DIFFERENT], strict=True):
        (only,) = compare(card(method(claimed)), card(method(here))).cells
        assert only.verdict == verdict
    assert only.reason == "ok in the card, failed here: why"


def test_what_was_not_made_here_is_different() -> None:
    claimed = card(method(cell([30, 31])), method(cell([30, 31]), name="dann"))
    found = compare(claimed, card(method(cell([30, 31]))))
    assert verdicts(found) == [IDENTICAL, DIFFERENT]
    assert found.cells[1].reason == "not made here"


def test_other_draws_are_not_compared() -> None:
    here = method(cell([30, 31, 32]), seeds=(0, 1, 7))
    (only,) = compare(card(method(cell([30, 31, 32]))), card(here)).cells
    assert (only.verdict, only.reason) == (DIFFERENT, "only one of both has draws 2, 7")


def test_a_mean_that_does_not_follow_from_its_draws_is_different() -> None:
    good = cell([30, 32])
    for change in ({"mean": 33.0}, {"n": 3}):
        claimed = card(method(good.model_copy(update=change)))
        (only,) = compare(claimed, card(method(good))).cells
        assert only.reason == "the card's mean does not follow from its draws"
        assert only.verdict == DIFFERENT


def test_other_audio_is_named_by_corpus() -> None:
    rows = method(cell([30]), cell([30]), cell([30]))
    assert compare(card(rows), card(rows, keys="BCxO")).corpora == ("R",)
    assert compare(card(rows), card(rows, keys="xCRO")).corpora == ("B",)


def test_other_versions_and_hyper_parameters_are_named() -> None:
    cells = (cell([30]), cell([30]))
    claimed = method(*cells, parameters={"a": 1}, of_pairs={"B→C": {"b": 1.0}, "B→R": {"b": 2.0}})
    alike = method(*cells, of_pairs={"B→C": {"a": 1, "b": 1.0}, "B→R": {"a": 1, "b": 2.0}})
    other = method(*cells, version=2, parameters={"a": 1, "b": 1.0})
    assert compare(card(claimed), card(alike)).changes == ()
    assert compare(card(claimed), card(other)).changes == (
        "sere: version 1 in the card, 2 here",
        "sere: other hyper-parameters here for B→R",
    )


def test_other_software_is_named() -> None:
    assert list(other_software(SOFTWARE, SOFTWARE)) == []
    here = SOFTWARE.model_copy(
        update={"commit": "", "modified": None, "packages": {"numpy": "2.1", "ray": "2"}}
    )
    assert list(other_software(SOFTWARE, here)) == [
        "commit: ab in the card, none here",
        "numpy: 2.0 in the card, 2.1 here",
    ]
    changed = SOFTWARE.model_copy(update={"modified": True})
    assert list(other_software(SOFTWARE, changed)) == [
        "code with changes of its own, in no commit: that of this one"
    ]
