"""Average ranks, Friedman's test and Nemenyi's difference against a published example."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, f

from clser_bench.report.ranking import cliques, critical_difference, iman_davenport, rank

# Demšar (2006), table 6: ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets
DEMSAR = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)
# ties: two of two in three rows, four in one; 1 - (3·6 + 60)/(14·(4³ - 4))
TIES = 1 - 78 / 840


def test_average_ranks_of_the_published_example():
    found = rank(100 - DEMSAR)
    assert [round(value, 3) for value in found.average] == [3.143, 2.000, 2.893, 1.964]


def test_friedman_of_the_published_example():
    """The paper gives 9.28 without a correction for ties; scipy's statistic has it."""
    found = rank(100 - DEMSAR).friedman
    assert found.chi2 * TIES == pytest.approx(9.28, abs=0.005)
    assert found.p == pytest.approx(chi2.sf(found.chi2, 3))
    assert iman_davenport(9.28, 4, 14) == pytest.approx(3.69, abs=0.005)


def test_iman_davenport_is_the_analysis_of_variance_of_the_ranks():
    found = rank(100 - DEMSAR).friedman
    centred = DEMSAR - DEMSAR.mean()
    between = 14 * (centred.mean(axis=0) ** 2).sum()
    left = (centred**2).sum() - between  # rows all have the same mean
    assert found.f == pytest.approx((between / 3) / (left / 39))
    assert found.f_p == pytest.approx(f.sf(found.f, 3, 39))


def test_nemenyi_of_published_examples():
    # section 3.2.2: 4 classifiers on 14 data sets
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, level=0.1) == pytest.approx(1.12, abs=0.005)


@pytest.mark.parametrize(
    ("methods", "quantile"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031),
     (9, 3.102), (10, 3.164)],
)  # fmt: skip
def test_quantiles_of_the_published_table(methods, quantile):
    """Table 5a of the paper: q/√2 at 0.05, cut off rather than rounded in places."""
    scale = np.sqrt(methods * (methods + 1) / 6)
    assert critical_difference(methods, 1) / scale == pytest.approx(quantile, abs=0.0011)


def test_cliques_of_the_published_example():
    # 3.143 - 1.964 = 1.18 is below 1.25: one group
    found = rank(100 - DEMSAR)
    assert found.cliques == ((3, 1, 2, 0),)
    # at 0.1 the ends are apart, each from the other only: 1.179 > 1.12 and 1.143 > 1.12
    assert cliques(found.average, 1.12) == ((3, 1, 2), (2, 0))


def test_cliques_by_hand():
    assert cliques([1.0, 2.0, 3.0, 4.0], 1.5) == ((0, 1), (1, 2), (2, 3))
    assert cliques([4.0, 1.0, 2.0], 1.5) == ((1, 2),)
    assert cliques([1.0, 3.0], 2.0) == ()  # differ by at least the critical difference
    assert cliques([2.0, 2.0, 2.0], 0.5) == ((0, 1, 2),)
    assert cliques([1.0], 5) == ()


def test_the_highest_score_has_rank_one_and_ties_share():
    found = rank(np.array([[50.0, 40, 30], [20, 30, 30]]))
    assert found.average == (2.0, 1.75, 2.25)
    # sums of the same recalls in another order are a tie
    assert rank(np.array([[0.1 + 0.2, 0.3]])).average == (1.5, 1.5)


def test_methods_that_all_pairs_rank_alike():
    found = rank(np.arange(4.0) * np.ones((12, 1)))
    assert found.average == (4, 3, 2, 1)
    assert found.friedman.chi2 == pytest.approx(12 * 3)
    assert (found.friedman.f, found.friedman.f_p) == (None, 0)


def test_what_cannot_be_tested_is_not():
    assert rank(np.ones((12, 4))).friedman is None
    assert rank(np.array([[1.0, 2, 3]])).friedman is None
    two = rank(np.array([[1.0, 2], [2, 1], [1, 2]]))
    assert two.friedman is None
    assert two.critical == pytest.approx(1.96 * np.sqrt(2 * 3 / (6 * 3)), abs=1e-3)
    one, none = rank(np.ones((12, 1))), rank(np.ones((12, 0)))
    assert (one.average, one.critical, one.cliques) == ((1,), None, ())
    assert (none.average, none.critical, none.cliques) == ((), None, ())
