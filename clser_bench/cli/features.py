"""`features extract`, `list`, `verify`, `prune`, `probe` and `plot`."""

from __future__ import annotations

import fnmatch
import math
import re
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clser_bench.cli import options
from clser_bench.cli.figures import plot
from clser_bench.cli.output import FAULTY, Bars, complain, print_rows
from clser_bench.errors import FeatureError, SpecError, counted, did_you_mean
from clser_bench.files import cache_folder
from clser_bench.protocol import DEFAULT_FEATURES, Normalisation, Pair, Shots

if TYPE_CHECKING:
    from pathlib import Path

    from clser_bench.features.inventory import Inventory, Item, StoredSet
    from clser_bench.problem import SkippedFile
    from clser_bench.run.inspection import Probed

_TABLES = "(tables)"

features_app = options.group(help="Extract, draw and check features; manage their cache.")
Cached = Annotated[str | None, options.option("cached", "--features")]


@features_app.command("extract")
@options.examples(
    "clser-bench features extract --corpora ~/corpora",
    "clser-bench features extract --manifest my_recordings.csv --features egemaps",
    "clser-bench features extract --features hf:facebook/hubert-large-ll60k:layer=all",
    "clser-bench features extract --features set:heterogeneous --devices cuda:0,cuda:1",
)
def extract(
    *,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    manifest: options.Manifest = None,
    features: options.Features = DEFAULT_FEATURES,
    devices: options.Devices = "",
    workers: options.Workers = None,
    skip_bad: options.SkipBad = False,
) -> None:
    """Extract features into the cache.

    A later run then starts at once. Of an encoder, layer=all keeps every layer, and any of them can
    be asked for later without the encoder.
    """
    from clser_bench.corpora.locate import load_corpora
    from clser_bench.features.extract import extract_tables
    from clser_bench.features.sets import feature_set, is_set, resolve_feature_sets

    if not is_set(features):
        feature_set(features).check()  # before corpora are read
    places = [*([corpora] if corpora else []), *(manifest or [])]
    if not places:
        raise SpecError("name a folder with --corpora (or CLSER_CORPORA), or a --manifest")
    rows: list[tuple[object, ...]] = []
    skipped: list[SkippedFile] = []
    with Bars() as bars:
        work: dict[str, Any] = {"skip_bad": skip_bad, "workers": workers, "progress": bars}
        own: dict[str, Any] = {"cache": cache_folder(), "devices": options.words(devices)}
        for place in places:
            where = (place, ()) if place.is_dir() else (None, (place,))
            for code, corpus in load_corpora(*where, **work).items():
                chosen = resolve_feature_sets(features, {code: corpus.spec}).sets[code]
                extracted = extract_tables(corpus, (chosen,), **own, **work)
                skipped += extracted.corpus.skipped[len(corpus.skipped) :]
                table = extracted.tables[0]
                about = (len(table), table.key[:12], chosen.name)
                rows.append((code, corpus.spec.title, *about))
    print_rows(("code", "corpus", "utterances", "key", "features"), rows)
    for item in skipped:
        complain(f"{item.corpus} {item.name} is left out: {item.reason}")


features_app.command("plot")(plot)


@features_app.command("probe")
@options.examples(
    "clser-bench features probe hf:./my-encoder --corpora ~/corpora",
    "clser-bench features probe whisper-base --corpora ~/corpora --normalise speaker --seeds 10",
)
def probe(
    encoder: Annotated[
        str, typer.Argument(help="A short name, hf:REPOSITORY or hf:./FOLDER; no layer.")
    ],
    *,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    manifest: options.Manifest = None,
    suite: str = "wide",
    normalise: Normalisation = "corpus",
    seeds: Annotated[int, typer.Option(min=1)] = 2,
    devices: options.Devices = "",
    workers: options.Workers = None,
    skip_bad: options.SkipBad = False,
) -> None:
    """Compare the layers and pools of an encoder.

    One pass keeps every layer; then logistic regression on principal axes, on the pairs of a suite
    for choosing. With a manifest, all pairs of its corpora. UAR in percent, mean over pairs, best
    first by the mean of 5 shots and all labels, each with its difference to the recommended layer
    and its 95 % interval.

    Options:
        suite: Pairs among the corpora at hand that belong to this suite.
        normalise: Whose statistics the z-scores use.
        seeds N: Draws with 5 shots.
    """
    from clser_bench.corpora.definitions import definitions
    from clser_bench.corpora.locate import load_corpora, locate
    from clser_bench.features.sets import feature_set
    from clser_bench.run.inspection import layer_sets
    from clser_bench.run.inspection import probe as run_probe

    layer_sets(encoder)  # before corpora are read
    suites = definitions().suites
    if suite not in suites:
        raise SpecError(f"suite '{suite}' is unknown{did_you_mean(suite, suites)}")
    located = locate(corpora, tuple(manifest or ()))
    codes = list(located.listings)
    if manifest:
        pairs = tuple(Pair(one, other) for one in codes for other in codes if one != other)
    else:
        wanted = suites[suite].pairs(normalise)
        pairs = tuple(pair for pair in wanted if {pair.source, pair.target} <= set(codes))
        codes = list(dict.fromkeys(code for p in pairs for code in (p.source, p.target)))
    if not pairs:
        raise SpecError(
            f"no pair of suite '{suite}' is at hand; name the folder of its corpora "
            f"({' '.join(suites[suite].corpora)}) with --corpora, or your own with --manifest"
        )
    with Bars() as bars:
        probed = run_probe(
            load_corpora(located=located, codes=codes, skip_bad=skip_bad, progress=bars),
            pairs,
            encoder,
            seeds=seeds,
            normalisation=normalise,
            skip_bad=skip_bad,
            workers=workers,
            devices=options.words(devices),
            progress=bars,
        )
    (recommended, *_) = feature_set(encoder).sources
    number = recommended.layer.number if recommended.layer else 0
    names = ("layer", "pool", "5 shots", "difference", "all labels", "difference")
    print_rows(names, _lines(probed, f"{number} mean"))
    complain(
        f"UAR of logistic regression, {len(pairs)} pairs, {normalise} normalisation; differences "
        f"to layer {number}, pool mean, with 95 % intervals."
    )


def _lines(probed: Sequence[Probed], reference: str) -> list[list[str]]:
    """Layer, pool, and for each number of shots UAR and difference to the reference; best first."""
    from clser_bench.report.statistics import Counts, spread

    counts: dict[Shots, dict[str, list[Counts]]] = {}
    for one in probed:
        seeds = tuple(range(one.total.shape[2]))
        item = Counts(one.pair, seeds, one.speakers, one.correct, one.total)
        of_shots = counts.setdefault(one.shots, {})
        of_shots.setdefault(f"{one.layer} {one.pool}", []).append(item)
    drawn = {shots: () if shots == "all" else ("source",) for shots in counts}
    spreads = [spread(found, drawn=drawn[shots]) for shots, found in counts.items()]
    names = spreads[0].methods
    lines = {name: name.split(" ") for name in names}
    for whole in spreads:
        gaps = whole.differences([(name, reference) for name in names])
        for name, mean, gap in zip(names, whole.estimates, gaps, strict=True):
            ends = "" if gap.low is None else f" [{gap.low:+.1f}, {gap.high:+.1f}]"
            lines[name] += [f"{mean:.1f}", f"{gap.estimate:+.1f}{ends}"]
    best = sorted(range(len(names)), key=lambda at: -sum(whole.estimates[at] for whole in spreads))
    return [lines[names[place]] for place in best]


@features_app.command("list")
@options.examples(
    "clser-bench features list",
    "clser-bench features list | cut -f 1,6",
)
def list_() -> None:
    """List the features in the cache.

    A line for each feature set: how many shards (files of some utterances each) and utterances,
    d features of an instant, f of a summary, size, when it was last written, and the start of its
    key (two keys of one name are two versions). Tables are made from shards, for each corpus and
    normalisation. In a pipe: tabs, sizes in bytes.
    """
    cache, found = _look()
    rows: list[tuple[object, ...]] = []
    for stored in found.sets:
        counts = len(stored.shards), stored.utterances, *(stored.columns or ("-", "-"))
        rows.append((stored.name, *counts, *_size_and_time(stored.shards), stored.key[:12]))
    for name, items in ((_TABLES, found.tables), ("(audio index)", found.indices)):
        rows.append((name, *"----", *_size_and_time(items), "-"))
    names = "features", "shards", "utterances", "d", "f", "size", "last written", "key"
    print_rows(names, rows)
    size = human_size(_bytes([*_shards(found.sets), *found.tables, *found.indices]))
    sets = counted(len(found.sets), "feature set")
    complain(f"{size} in {cache}: {sets}, {counted(len(found.tables), 'table')}.")
    bad = sum(stored.unreadable for stored in found.sets)
    if bad:
        shards = counted(bad, "shard")
        complain(f"{shards} cannot be used: `clser-bench features verify` names each.")


@features_app.command("verify")
@options.examples(
    "clser-bench features verify",
    "clser-bench features verify --features acoustic --remove",
)
def verify(
    features: Cached = None,
    remove: bool = False,
) -> None:
    """Check the cache and name damaged files.

    Every shard and table is read wholly and compared with its checksum (with --features only
    shards). A line for each damaged file: the file, a tab, the fault. Ends with 1 if there is any.

    Options:
        remove: Delete damaged files; the next run makes them again.
    """
    from clser_bench.features import inventory

    cache, found = _look()
    shards = _shards(found.sets if features is None else _choose(cache, found, features))
    tables = found.tables if features is None else ()
    damaged, removed = [], 0
    with Bars() as bars:
        for damage in inventory.find_damage([*shards, *tables], bars):
            damaged.append(damage)
            if remove and damage.broken:
                # At once: later, a file that another process has made again might lie there.
                inventory.remove(cache, [damage.path])
                removed += 1
    print_rows(("file", "why"), [(damage.path, damage.why) for damage in damaged])
    checked = f"{counted(len(shards), 'shard')} and {counted(len(tables), 'table')} checked"
    if not damaged:
        complain(f"{checked}: none is damaged.")
        return
    fate = f"{removed} removed" if remove else "--remove deletes them"
    complain(f"{checked}: {len(damaged)} damaged; {fate}, and the next run makes them again.")
    if not all(damage.broken for damage in damaged):
        complain("What could not be read at all is kept: see to its permissions, or to the disk.")
    raise typer.Exit(FAULTY)


@features_app.command("prune")
@options.examples(
    "clser-bench features prune --tables",
    "clser-bench features prune --features egemaps --yes",
    "clser-bench features prune --older-than 90 --yes",
)
def prune(
    features: Cached = None,
    tables: bool = False,
    older_than: Annotated[float | None, typer.Option(min=0)] = None,
    yes: bool = False,
) -> None:
    """Make room in the cache.

    Everything can be made again: tables from shards at once, shards from the audio in the time
    that extraction takes. Best while no run goes on: one that needs what is gone makes it again,
    or stops with an error. Damaged files are for `features verify --remove`.

    Options:
        tables: All tables; the next run makes them from shards.
        older_than DAYS: Only what was written longer ago; alone: of all shards and tables.
        yes: Delete; without it only what would go is shown.
    """
    from clser_bench.features.inventory import remove

    if features is None and not tables and older_than is None:
        raise SpecError(
            "say what to remove: --features NAME (`clser-bench features list` shows what is "
            "there), --tables, or --older-than DAYS; nothing is deleted without --yes"
        )
    cache, found = _look()
    sets: Sequence[StoredSet] = () if tables else found.sets
    if features is not None:
        sets = _choose(cache, found, features)
    heaps = {f"{stored.name} {stored.key[:12]}": stored.shards for stored in sets}
    if tables or features is None:
        heaps[_TABLES] = found.tables
    latest = math.inf if older_than is None else time.time() - 86400 * older_than
    old = {name: [one for one in items if one.written < latest] for name, items in heaps.items()}
    rows = [(name, len(items), _size_and_time(items)[0]) for name, items in old.items() if items]
    print_rows(("what", "count", "size"), rows)
    gone = [item for items in old.values() for item in items]
    size = human_size(_bytes(gone))
    if not gone:
        complain(f"There is nothing of this in {cache}.")
    elif yes:
        remove(cache, [item.path for item in gone])
        complain(f"Removed {size} from {cache}.")
    else:
        complain(f"This would remove {size} from {cache}. Nothing is deleted without --yes.")


def human_size(count: int) -> str:
    """Write a number of bytes for people: `1.5 GiB`."""
    power = min(4, max(0, count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {'KMGT'[power - 1]}iB" if power else f"{count} B"


def _look() -> tuple[Path, Inventory]:
    from clser_bench.features.inventory import take_inventory
    from clser_bench.features.sets import FEATURE_SETS, feature_set

    cache = cache_folder()
    found = take_inventory(cache, {feature_set(name).key: name for name in FEATURE_SETS})
    for link in found.links:
        complain(f"{link}: a symbolic link; it is not followed, counted or removed.")
    return cache, found


def _choose(cache: Path, found: Inventory, wanted: str) -> tuple[StoredSet, ...]:
    start = wanted if re.fullmatch("[0-9a-f]{8,64}", wanted) else None
    chosen = tuple(
        stored
        for stored in found.sets
        if fnmatch.fnmatchcase(stored.name, wanted) or (start and stored.key.startswith(start))
    )
    if not chosen:
        known = {stored.name for stored in found.sets}
        raise FeatureError(
            f"{cache / 'shards'}: there are no shards of feature set '{wanted}' (a set made of "
            f"others, such as mel of acoustic, has only tables){did_you_mean(wanted, known)}"
        )
    return chosen


def _shards(sets: Iterable[StoredSet]) -> list[Item]:
    return [item for stored in sets for item in stored.shards]


def _bytes(items: Iterable[Item]) -> int:
    return sum(item.size for item in items)


def _size_and_time(items: Sequence[Item]) -> tuple[str, str]:
    """Size of files together and when the last was written; for people on a terminal."""
    shown, size = sys.stdout.isatty(), _bytes(items)
    when = "-"
    if items:
        last = datetime.fromtimestamp(max(item.written for item in items), UTC).astimezone()
        when = f"{last:%Y-%m-%d %H:%M}" if shown else last.isoformat(timespec="seconds")
    return human_size(size) if shown else str(size), when
