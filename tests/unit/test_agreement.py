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


def cell(uars: Draws, *, status: Any = "ok", reason: str = "") -> CardCell:
    have = [uar for uar in uars if uar is not None]
    whole = status == "ok"
    mean = float(np.mean(have)) if whole else None
    sd = float(np.std(have, ddof=1)) if whole and len(have) > 1 else None
    return CardCell(
        mean=mean, sd=sd, n=len(have), uars=tuple(uars), status=status, reason=reason
    )  # fmt: skip


def method(*cells: CardCell, name: str = "sere", **more: Any) -> CardMethod:
    values = {"version": 1, "engine_version": 1, "evaluations": 1, "parameters": {}, "of_pairs": {}}
    values["seeds"] = tuple(range(len(cells[0].uars)))
    return CardMethod(method=name, role="ranked", cells=cells, **{**values, **more})


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


def agreed(claimed: CardMethod, here: CardMethod, **more: Any) -> Agreement:
    return compare(card(claimed), card(here, **more))


def of_draws(claimed: Draws, here: Draws) -> Agreement:
    return agreed(method(cell(claimed)), method(cell(here)))


CLAIMED = [30.0, 34.0, 38.0, 31.0, 36.0]
SD = float(np.std(CLAIMED, ddof=1))


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
        # one changed draw of n gives t = 1 however large the change is; the card is what was
        # changed, and its own spread must not widen what is let through
        pytest.param(
            [*CLAIMED[:4], CLAIMED[4] - 1.9 * SD], CLAIMED, NOISE, "", id="a draw off by 1.9 sd"
        ),
        pytest.param(
            [*CLAIMED[:4], CLAIMED[4] - 2.1 * SD],
            *(CLAIMED, DIFFERENT, "a draw is off by more than 2 sd"),
            id="a draw off by 2.1 sd",
        ),
    ],
)
def test_a_cell_by_its_draws(claimed: Draws, here: Draws, verdict: str, reason: str) -> None:
    found = of_draws(claimed, here)
    (only,) = found.cells
    assert (only.verdict, only.n, only.reason) == (verdict, len(claimed), reason)
    assert not reason or only.p is None
    assert (found.corpora, found.changes) == ((), ())


def test_small_differences_both_ways_are_noise() -> None:
    here = [30.5, 33.5, 38.4, 30.8, 36.0]
    (only,) = of_draws(CLAIMED, here).cells
    assert only.verdict == NOISE
    assert only.shift == pytest.approx((0.5 - 0.5 + 0.4 - 0.2) / 5)
    assert only.largest == pytest.approx(0.5)
    assert only.p == pytest.approx(stats.ttest_rel(here, CLAIMED).pvalue, rel=1e-9)


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
    assert 10 < beyond < 40
    assert compare(card(*claimed), card(*here)).count(NOISE) == 200


def test_a_small_shift_that_all_pairs_share_is_found_in_the_mean() -> None:
    # in each pair the gaps look like chance; their mean over the pairs hardly varies
    gaps = [[2.0, -1.0, 0.5, 0.5, 0.5], [-1.0, 2.0, 0.5, 0.6, 0.5], [0.4, 0.6, 0.6, 0.5, 0.6]]
    here = [cell([a + b for a, b in zip(CLAIMED, pair, strict=True)]) for pair in gaps]
    found = agreed(method(*[cell(CLAIMED)] * 3), method(*here)).cells
    assert [item.pair for item in found] == ["B→C", "B→R", "B→O", "mean"]
    assert [found[place].verdict for place in (0, 1, 3)] == [NOISE, NOISE, DIFFERENT]
    assert found[-1].shift == pytest.approx(np.mean(gaps))


GOOD, FAILED = method(cell([30, 32])), method(cell([None, None], status="failed", reason="why"))
UNFIT = method(cell([None, None], status="not_applicable", reason="why"))
FALSE = "the card's mean does not follow from its draws"


@pytest.mark.parametrize(
    ("claimed", "here", "verdict", "reason"),
    [
        (FAILED, FAILED, IDENTICAL, "no result in either"),
        (FAILED, UNFIT, DIFFERENT, "failed in the card, not_applicable here: why"),
        (GOOD, FAILED, DIFFERENT, "ok in the card, failed here: why"),
        (GOOD, method(cell([30, 32]), name="dann"), DIFFERENT, "not made here"),
        (GOOD, method(cell([30, 32]), seeds=(0, 7)), DIFFERENT, "only one of both has draws 1, 7"),
        (method(GOOD.cells[0].model_copy(update={"mean": 33.0})), GOOD, DIFFERENT, FALSE),
        (method(GOOD.cells[0].model_copy(update={"n": 3})), GOOD, DIFFERENT, FALSE),
    ],
)
def test_cells_that_have_not_the_same_draws(claimed, here, verdict, reason) -> None:
    (only,) = agreed(claimed, here).cells
    assert (only.verdict, only.reason) == (verdict, reason)


def test_other_audio_is_named_by_corpus() -> None:
    rows = method(*[cell([30])] * 3)
    assert agreed(rows, rows, keys="BCxO").corpora == ("R",)
    assert agreed(rows, rows, keys="xCRO").corpora == ("B",)


def test_other_versions_and_hyper_parameters_are_named() -> None:
    cells = (cell([30]), cell([30]))
    claimed = method(*cells, parameters={"a": 1}, of_pairs={"B→C": {"b": 1.0}, "B→R": {"b": 2.0}})
    alike = method(*cells, of_pairs={"B→C": {"a": 1, "b": 1.0}, "B→R": {"a": 1, "b": 2.0}})
    other = method(*cells, version=2, parameters={"a": 1, "b": 1.0})
    assert agreed(claimed, alike).changes == ()
    assert agreed(claimed, other).changes == (
        "sere: version 1 in the card, 2 here",
        "sere: other hyper-parameters here for B→R",
    )


def test_other_software_is_named() -> None:
    assert list(other_software(SOFTWARE, SOFTWARE)) == []
    packages = {"numpy": "2.1", "ray": "2"}
    here = SOFTWARE.model_copy(update={"commit": "", "modified": None, "packages": packages})
    assert list(other_software(SOFTWARE, here)) == [
        "commit: ab in the card, none here",
        "numpy: 2.0 in the card, 2.1 here",
    ]
    changed = SOFTWARE.model_copy(update={"modified": True})
    assert list(other_software(SOFTWARE, changed)) == [
        "code with changes of its own, in no commit: that of this one"
    ]
