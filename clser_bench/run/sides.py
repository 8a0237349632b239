"""The tables of both sides of a pair: normalised, and in a common space where they differ."""

from __future__ import annotations

from collections.abc import Mapping

from clser_bench.corpora.model import Corpus
from clser_bench.features.align import aligned, refuse_alike, shares_names
from clser_bench.features.cache import concatenated
from clser_bench.features.normalise import normalised
from clser_bench.problem import Rows, Table
from clser_bench.protocol import Condition
from clser_bench.run.corpora import Read


class Sides:
    """Gives the tables of a pair; each is made once, and kept in the cache.

    A target that is corrupted is z-scored by its own, corrupted statistics (or the clean source's),
    and its anchors come from corrupted speech as well.

    Args:
        have: the corpora with their features.
        condition: its normalisation is used; in the setting `held-out` the source's rows stand
            below those of the target.
        align: how feature sets that differ are aligned; `none` leaves them as they are.
    """

    def __init__(self, have: Read, condition: Condition, *, align: str) -> None:
        self._have, self._how, self._align = have, condition.normalisation, align
        self._joins = condition.setting == "held-out"
        self._made: dict[tuple[str, str, bytes], Table] = {}
        self._pairs: dict[tuple[str, str, bytes], tuple[Table, Table]] = {}

    def __call__(
        self, source: Corpus, target: Corpus, rows: Rows | None = None
    ) -> tuple[Table, Table]:
        """The tables of source and target.

        Args:
            source: the source.
            target: the target.
            rows: the target's rows whose statistics may be used; None for all.
        """
        first, second = self._sides(source, target, rows)
        if self._joins:
            return first, concatenated(second, first, cache=self._have.cache)
        return first, second

    def _sides(self, source: Corpus, target: Corpus, rows: Rows | None) -> tuple[Table, Table]:
        codes = source.spec.code, target.spec.code
        first, second = (self._have.heard.sets[code] for code in codes)
        tables, targets = self._have.tables, self._have.targets
        own = self._normalised(tables, source, None)
        if first.key == second.key:
            by = tables[source.spec.code]
            return own, self._normalised(targets, target, rows, reference=by)
        if self._align == "none" or (self._align == "names" and not shares_names(first, second)):
            sides = own, self._normalised(targets, target, rows)
            refuse_alike(sides, (first, second), self._align)
            return sides
        key = (*codes, b"" if rows is None else rows.tobytes())
        if key not in self._pairs:
            # Each with its own statistics: those of the source mean nothing to other columns.
            self._pairs[key] = aligned(
                own,
                self._normalised(targets, target, rows),
                sets=(first, second),
                how=self._align,
                rows=rows,
                cache=self._have.cache,
                anchors=self._anchors(source, target, rows),
            )
        return self._pairs[key]

    def _anchors(
        self, source: Corpus, target: Corpus, rows: Rows | None
    ) -> tuple[Table, Table] | None:
        anchors = self._have.anchors
        if not anchors:
            return None
        by = anchors[source.spec.code]
        second = self._normalised(self._have.target_anchors, target, rows, reference=by)
        return self._normalised(anchors, source, None), second

    def _normalised(
        self,
        tables: Mapping[str, Table],
        corpus: Corpus,
        rows: Rows | None,
        *,
        reference: Table | None = None,
    ) -> Table:
        """The z-scored table of a corpus.

        Args:
            tables: raw, by code.
            corpus: which of them.
            rows: whose statistics may be used; None for all.
            reference: whose statistics the normalisation `source` uses; None for its own.
        """
        raw = tables[corpus.spec.code]
        by = (reference or raw) if self._how == "source" else None
        key = (raw.key, by.key if by else "", b"" if rows is None else rows.tobytes())
        if key not in self._made:
            self._made[key] = normalised(
                raw,
                how=self._how,
                speakers=corpus.speakers,
                cache=self._have.cache,
                reference=by,
                rows=rows,
            )
        return self._made[key]
