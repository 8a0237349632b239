"""The tables of both sides of a pair: normalised, and in a common space where they differ."""

from __future__ import annotations

from collections.abc import Mapping

from clser_bench.features.aligned import aligned, refuse_alike, shares_names
from clser_bench.features.joined import joined
from clser_bench.features.normalise import normalised
from clser_bench.run.corpora import Read
from clser_bench.spec import Protocol
from clser_bench.trial import Corpus, Rows, Table


class Sides:
    """Gives the tables of a pair; each is made once, and kept in the cache.

    Args:
        have: the corpora with their features.
        protocol: its normalisation is used; in the setting `held-out` the source's rows stand
            below those of the target.
        align: how feature sets that differ are aligned; `none` leaves them as they are.
    """

    def __init__(self, have: Read, protocol: Protocol, *, align: str) -> None:
        self._have, self._how, self._align = have, protocol.normalisation, align
        self._joins = protocol.setting == "held-out"
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
            return first, joined(second, first, cache=self._have.cache)
        return first, second

    def _sides(self, source: Corpus, target: Corpus, rows: Rows | None) -> tuple[Table, Table]:
        codes = source.spec.code, target.spec.code
        first, second = (self._have.heard.sets[code] for code in codes)
        if first.key == second.key:
            return self._table(source, source, None), self._table(target, source, rows)
        if self._align == "none" or (self._align == "names" and not shares_names(first, second)):
            sides = self._table(source, source, None), self._table(target, target, rows)
            refuse_alike(sides, (first, second), self._align)
            return sides
        key = (*codes, b"" if rows is None else rows.tobytes())
        if key not in self._pairs:
            # Each with its own statistics: those of the source mean nothing to other columns.
            self._pairs[key] = aligned(
                self._table(source, source, None),
                self._table(target, target, rows),
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
        if not self._have.anchors:
            return None
        return self._normalised(self._have.anchors, source, source, None), self._normalised(
            self._have.anchors, target, source, rows
        )

    def _table(self, corpus: Corpus, source: Corpus, rows: Rows | None) -> Table:
        return self._normalised(self._have.tables, corpus, source, rows)

    def _normalised(
        self, tables: Mapping[str, Table], corpus: Corpus, source: Corpus, rows: Rows | None
    ) -> Table:
        by = source.spec.code if self._how == "source" else ""
        raw = tables[corpus.spec.code]
        key = (raw.key, by, b"" if rows is None else rows.tobytes())
        if key not in self._made:
            self._made[key] = normalised(
                raw,
                how=self._how,
                speakers=corpus.speakers,
                cache=self._have.cache,
                reference=tables[by] if by else None,
                rows=rows,
            )
        return self._made[key]
