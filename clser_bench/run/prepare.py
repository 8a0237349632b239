"""What a run needs before any method is named: corpora, features, normalised tables, problems."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clser_bench.corpora.assemble import shared_recordings
from clser_bench.corpora.corrupt import Corruption
from clser_bench.corpora.definitions import classes_of
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.model import Corpus, rows_of_part
from clser_bench.errors import CorpusError, SpecError
from clser_bench.features.align import ANCHORS, aligned, refuse_alike, shares_names
from clser_bench.features.cache import concatenated
from clser_bench.features.extract import Extracted, extract_tables
from clser_bench.features.normalise import VOICES, normalised
from clser_bench.features.sets import FeatureAssignment, feature_set
from clser_bench.files import cache_folder
from clser_bench.hashing import digest
from clser_bench.problem import Finding, Rows, SkippedFile, Table, Trial
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import Condition, Pair, Shots, base_code
from clser_bench.run.choice import Choice, Say, choose
from clser_bench.run.request import Request
from clser_bench.run.selection import OTHER_PAIRS, check_other_pairs
from clser_bench.splits import Fold, Side, build, joins_target, sides

Folds = Callable[[Trial], tuple[Fold, ...]]


@dataclass(frozen=True, kw_only=True)
class PairFacts:
    """What the trials of one pair share."""

    pair: Pair
    classes: tuple[str, ...]
    source_key: str  # of the source's table and labels
    target_key: str  # of the target's
    synthetic: bool
    # by the part of the data that they join, `source` or `target`, what `Trial.added` has of
    # added corpora
    added: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """Corpora with features under some rules."""

    request: Request
    condition: Condition  # the rules with nothing left open but the number of shots
    table: tuple[Pair, ...]  # all ordered pairs of the suite
    corpora: Mapping[str, Corpus]
    facts: tuple[PairFacts, ...]  # what the trials of each pair share
    folds: Folds  # problems and answers of a trial, built when asked for
    skipped: tuple[SkippedFile, ...]  # files left out by `--skip-bad`
    findings: tuple[Finding, ...]  # what is odd about the corpora, and belongs below tables


def prepare(
    request: Request,
    condition: Condition,
    *,
    corruption: Corruption | None = None,
    copy: Path | None = None,
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Prepared:
    """Read corpora and extract features; both come from the cache where they are in it.

    Args:
        condition: the rules; its suite, features and alignment as the user wrote them.
        corruption: of the target, adaptation data and scored data alike; None for none. The source
            stays clean.
        copy: an empty folder: recordings are put there under names that mean nothing, with a cache
            of their own, speakers are renamed, and rows are in other orders; what follows from
            features alone stays the same. None to take everything as it is.
    """
    cache = cache_folder()
    choice = choose(request, cache=cache, progress=progress, say=say)
    if condition.selection == OTHER_PAIRS:
        check_other_pairs(choice.suite, choice.table, asked=request.pairs)
    closed, assigned = choice.resolved(condition)
    _check_added(choice, assigned)
    corpora, findings = _read(choice, request, cache=cache, progress=progress, say=say)
    if copy is not None:
        _link(cache / "shards", copy / "cache" / "shards")  # by content; an index of names is not
        cache = copy / "cache"
        keep = condition.setting == "inductive"  # speakers' names decide its halves
        corpora = {code: _copied(one, copy, speakers=not keep) for code, one in corpora.items()}

    kinds = {"features": ""}
    if condition.alignment == "anchors" and not assigned.one:
        kinds["anchors"] = ANCHORS
    if condition.normalisation == "estimated-speakers":
        kinds["voices"] = VOICES
    targets = {base_code(pair.target) for pair in choice.pairs}
    sets = {base_code(code): one for code, one in assigned.sets.items()}
    whole = {
        code: extract_tables(
            corpus,
            [feature_set(name) if name else sets[code] for name in kinds.values()],
            cache=cache,
            corruption=corruption if code in targets else None,
            skip_bad=request.skip_bad,
            workers=request.workers,
            devices=request.devices,
            progress=progress,
        )
        for code, corpus in corpora.items()
    }
    extracted = {code: _part(whole[base_code(code)], code) for code in choice.codes}
    corpora = {code: one.corpus for code, one in extracted.items()}
    tables = NormalisedTables(
        extracted=extracted, kinds=tuple(kinds), assigned=assigned, condition=condition, cache=cache
    )
    return Prepared(
        request=request,
        condition=closed.replace(corruption="" if corruption is None else corruption.name),
        table=choice.table,
        corpora=corpora,
        facts=tuple(_facts(pair, corpora, condition, tables) for pair in choice.pairs),
        folds=_folds(corpora, condition, tables, order="rows" if copy is None else "copied rows"),
        skipped=tuple(item for corpus in corpora.values() for item in corpus.skipped),
        findings=findings,
    )


def _read(
    choice: Choice, request: Request, *, cache: Path, progress: Progress, say: Say
) -> tuple[dict[str, Corpus], tuple[Finding, ...]]:
    corpora = load_corpora(
        codes=tuple(dict.fromkeys(map(base_code, choice.codes))),
        located=choice.located,
        cache=cache,
        skip_bad=request.skip_bad,
        workers=request.workers,
        progress=progress,
        say=say,
    )
    based = dict.fromkeys((base_code(p.source), base_code(p.target)) for p in choice.pairs)
    shared = [
        finding
        for source, target in based
        if source != target  # else both are parts of one corpus
        for finding in shared_recordings(corpora[source], corpora[target])
    ]
    for finding in shared:
        say(finding.sentence)
    paired = sorted({code for pair in based for code in pair})
    for added, code in itertools.product(choice.added, paired):
        common = int(np.isin(corpora[added].contents, corpora[code].contents).sum())
        if added != code and common:
            say(f"{added}: {common} recording(s) are in {code} too and add nothing to its pairs")
    own = [finding for corpus in corpora.values() for finding in corpus.findings]
    every = (*choice.located.findings, *own, *shared)
    return corpora, tuple(finding for finding in every if finding.kind != "index")


def _check_added(choice: Choice, assigned: FeatureAssignment) -> None:
    """Refuse an added corpus whose features are not those of the side that it joins."""
    for pair in choice.pairs:
        for code in choice.added:
            joins = joins_target(*map(choice.located.spec, (code, pair.source, pair.target)))
            own = pair.target if joins else pair.source
            if assigned.sets[code].key != assigned.sets[own].key:
                raise SpecError(
                    f"--unlabelled {code}: it has features {assigned.sets[code].name}, and joins "
                    f"{own} in {pair}, which has {assigned.sets[own].name}; take one set for both"
                )


def _part(whole: Extracted, code: str) -> Extracted:
    """A part of a corpus, with its rows of the tables."""
    corpus = whole.corpus
    if code == corpus.spec.code:
        return whole
    rows = rows_of_part(corpus.utterances, code)
    if not len(rows):
        raise CorpusError(f"{corpus.spec.title} in {corpus.root} has no utterance of part {code}")

    def part(table: Table) -> Table:
        key = digest([table.key, rows.tolist()])
        return Table(key, np.asarray(table.instants[rows]), np.asarray(table.summary[rows]))

    spec = corpus.spec.model_copy(update={"code": code})
    utterances = tuple(corpus.utterances[row] for row in rows)
    return Extracted(
        corpus=dataclasses.replace(corpus, spec=spec, utterances=utterances),
        tables=tuple(map(part, whole.tables)),
        corrupted=tuple(map(part, whole.corrupted)),
    )


def _facts(
    pair: Pair, corpora: Mapping[str, Corpus], condition: Condition, tables: NormalisedTables
) -> PairFacts:
    source, target = corpora[pair.source], corpora[pair.target]
    keys: list[str] = []
    for corpus, table in zip((source, target), tables(source, target), strict=True):
        facts = [table.key, corpus.emotions.tolist(), corpus.speakers.tolist()]
        if condition.setting == "inductive":
            facts.append(corpus.genders.tolist())  # they decide the halves of the speakers
        keys.append(digest(facts))
    added: dict[str, list[str]] = {"source": [], "target": []}
    for code in condition.unlabelled:
        if code not in (pair.source, pair.target):
            joins = joins_target(corpora[code].spec, source.spec, target.spec)
            key = tables.key_of(corpora[code], source, target)
            added["target" if joins else "source"].append(f"{code}:{key}")
    return PairFacts(
        pair=pair,
        classes=classes_of(source.spec, target.spec, classes=condition.classes),
        source_key=keys[0],
        target_key=keys[1],
        synthetic=source.spec.synthetic or target.spec.synthetic,
        added={side: tuple(items) for side, items in added.items()},
    )


def _copied(corpus: Corpus, folder: Path, *, speakers: bool) -> Corpus:
    """A corpus whose recordings and, if asked for, speakers have random names."""
    files = {u.path: folder / "corpora" / secrets.token_hex(8) for u in corpus.utterances}
    for path, place in files.items():
        files[path] = place.with_suffix(path.suffix)
        _link(path, files[path])
    people = {u.speaker: secrets.token_hex(4) if speakers else u.speaker for u in corpus.utterances}
    utterances = [
        dataclasses.replace(
            u, name=f"{files[u.path].name}#{n}", path=files[u.path], speaker=people[u.speaker]
        )
        for n, u in enumerate(corpus.utterances)
    ]
    return dataclasses.replace(corpus, root=folder / "corpora", utterances=tuple(utterances))


def _link(path: Path, place: Path) -> None:
    """Link a file, or the files of a folder; copy them to another disk."""
    if path.is_dir():
        for each in path.iterdir():
            _link(each, place / each.name)
    elif path.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.hardlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, place)


def _folds(
    corpora: Mapping[str, Corpus], condition: Condition, tables: NormalisedTables, *, order: str
) -> Folds:
    @functools.cache
    def built(
        pair: Pair, classes: tuple[str, ...], shots: Shots, seed: int, added: tuple[str, ...]
    ) -> tuple[Fold, ...]:
        return build(
            corpora[pair.source],
            corpora[pair.target],
            classes=classes,
            shots=shots,
            seed=seed,
            condition=condition,
            tables=tables,
            order=order,
            added=[corpora[item.partition(":")[0]] for item in added],
        )

    return lambda t: built(t.pair, t.classes, t.shots, t.seed, t.added)


@dataclass(eq=False, kw_only=True)
class NormalisedTables:
    """Gives the tables of both sides of a pair: normalised, and in one space where they differ.

    Each is made once and kept in the cache. A corrupted target is z-scored by its own, corrupted
    statistics (or the clean source's), and its anchors come from corrupted speech as well.
    """

    # by corpus code; its tables are of `kinds`, `corrupted` those of targets
    extracted: Mapping[str, Extracted]
    # `features`, then `anchors` where the alignment needs tables of the set `align.ANCHORS`,
    # and `voices` where the normalisation needs those of `normalise.VOICES`
    kinds: tuple[str, ...]
    assigned: FeatureAssignment
    # its normalisation and alignment are used; in the setting `held-out` the source's rows
    # stand below those of the target
    condition: Condition
    cache: Path
    _single: dict[tuple[str, str, bytes], Table] = field(default_factory=dict)
    _aligned: dict[tuple[str, str, bytes], tuple[Table, Table]] = field(default_factory=dict)

    def __call__(
        self, source: Corpus, target: Corpus, rows: Rows | None = None, added: Sequence[Corpus] = ()
    ) -> tuple[Table, Table]:
        """The tables of both sides."""
        both, own = sides(source, target, added), (source, target)
        one = self._one_set(source, target)
        first, second = self._stacked("features", both, own, rows, shared=one)
        if not one:
            first, second = self._in_one_space((first, second), both, own, rows)
        if self.condition.setting == "held-out":
            return first, concatenated(second, first, cache=self.cache)
        return first, second

    def key_of(self, added: Corpus, source: Corpus, target: Corpus) -> str:
        """The hash of an added corpus's table in a pair, and of the side that it joins."""
        joins = joins_target(added.spec, source.spec, target.spec)
        own_columns = joins and not self._one_set(source, target)
        by = None if own_columns else self._raw("features", source)
        return digest([joins, self._normalised("features", added, None, by).key])

    def _raw(self, kind: str, corpus: Corpus, *, target: bool = False) -> Table:
        """The table of a corpus before normalisation."""
        found = self.extracted[corpus.spec.code]
        return (found.corrupted if target else found.tables)[self.kinds.index(kind)]

    def _one_set(self, source: Corpus, target: Corpus) -> bool:
        first, second = (self.assigned.sets[corpus.spec.code] for corpus in (source, target))
        return first.key == second.key

    def _in_one_space(
        self,
        tables: tuple[Table, Table],
        both: tuple[Side, Side],
        own: tuple[Corpus, Corpus],
        rows: Rows | None,
    ) -> tuple[Table, Table]:
        """Tables of two sets, aligned as the rules say."""
        sets = self.assigned.sets[own[0].spec.code], self.assigned.sets[own[1].spec.code]
        how = self.condition.alignment
        if how == "none" or (how == "names" and not shares_names(*sets)):
            refuse_alike(tables, sets, how)
            return tables
        second, seen = both[1], rows
        if rows is not None and len(second.corpora) > 1:
            seen = np.sort(np.concatenate([second.start + rows, second.added]))
        key = (tables[0].key, tables[1].key, b"" if seen is None else seen.tobytes())
        if key not in self._aligned:
            anchors = None
            if "anchors" in self.kinds:
                anchors = self._stacked("anchors", both, own, rows, shared=True)
            self._aligned[key] = aligned(
                *tables, sets=sets, how=how, rows=seen, cache=self.cache, anchors=anchors
            )
        return self._aligned[key]

    def _stacked(
        self,
        kind: str,
        both: tuple[Side, Side],
        own: tuple[Corpus, Corpus],
        rows: Rows | None,
        *,
        shared: bool,
    ) -> tuple[Table, Table]:
        """The z-scored tables of each side's corpora, one below the other.

        `rows` of the target are those whose statistics may be used; None for all. Sides with other
        columns (not `shared`) have their own statistics: those of the source mean nothing there.
        """
        by = self._raw(kind, own[0])
        made = []
        for side, pair_s, target in zip(both, own, (False, True), strict=True):
            reference = None if target and not shared else by
            parts = [
                self._normalised(kind, corpus, rows, reference, target=True)
                if target and corpus is pair_s
                else self._normalised(kind, corpus, None, reference)
                for corpus in side.corpora
            ]
            made.append(concatenated(*parts, cache=self.cache))
        return made[0], made[1]

    def _normalised(
        self,
        kind: str,
        corpus: Corpus,
        rows: Rows | None,
        reference: Table | None,
        *,
        target: bool = False,
    ) -> Table:
        """The z-scored table of a corpus."""
        raw, how = self._raw(kind, corpus, target=target), self.condition.normalisation
        by = (reference or raw) if how == "source" else None
        voices = self._raw("voices", corpus, target=target) if "voices" in self.kinds else None
        others = "".join(table.key for table in (by, voices) if table)
        key = (raw.key, others, b"" if rows is None else rows.tobytes())
        if key not in self._single:
            self._single[key] = normalised(
                raw,
                how=how,
                speakers=corpus.speakers,
                cache=self.cache,
                reference=by,
                voices=voices,
                rows=rows,
            )
        return self._single[key]
