"""`list` and `show`; `doctor`, `corpus check`, `check-method`, `audit` and `new`."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clser_bench import __version__, registry
from clser_bench.cli import options
from clser_bench.cli.output import FAULTY, Bars, complain, print_rows
from clser_bench.errors import ClserError, CorpusError, SpecError, counted, printable
from clser_bench.files import cache_folder, shipped, write_whole
from clser_bench.protocol import DEFAULT_FEATURES
from clser_bench.scoring import within_target
from clser_bench.scoring.within_target import ROUTINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clser_bench.corpora.figures import Check
    from clser_bench.corpora.model import Corpus
    from clser_bench.registry import Range
    from clser_bench.run.request import Request

_SHOWN = 5  # names of recordings in a line
_EXTRAS = (
    ("demo corpora", "espeakng_loader", "demo"),
    ("eGeMAPS features", "opensmile", "opensmile"),
    ("joules of trials", "codecarbon", "energy"),
)

corpus_app = options.group(help="Check corpora.")
new_app = options.group(help="Write a first version of something.")

Out = Annotated[Path, options.option("out_folder", "--out")]


@options.examples(
    "clser-bench list methods",
    "clser-bench list methods --by kind",
    "clser-bench list methods | cut -f1",
)
def list_(
    what: Annotated[
        Literal["methods", "corpora", "suites", "features"], options.argument("listed")
    ],
    *,
    by: str = "",
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    plugin: options.Plugin = None,  # noqa: ARG001 (likewise)
) -> None:
    """List methods, corpora, suites or features.

    In a pipe, plain lines with tabs.

    Options:
        by kind: Methods in groups, with what each uses: L labelled source, S unlabelled source, T
            unlabelled target, P a uniform class prior of the target, p an estimated one (speaker
            identities are used by normalisation, not by methods).
    """
    if by and (by != "kind" or what != "methods"):
        raise SpecError(f"--by '{by}': only methods are listed by kind")
    names: tuple[str, ...]
    rows: list[tuple[object, ...]]
    if by:
        names, rows = ("kind", "method", "uses", "about"), _methods_by_kind()
    elif what == "methods":
        names = ("method", "version", "about")
        rows = [(e.name, e.version, e.summary) for e in registry.entries().values()]
        rows += [(r.name, r.version, r.about) for r in ROUTINES.values()]
    elif what == "corpora":
        names = ("code", "name", "title", "language", "emotions", "licence", "checked")
        rows = []
        for spec in options.defined("corpora").values():
            emotions = " ".join(emotion[:3] for emotion in spec.emotions)
            about = (emotions, spec.licence, "yes" if spec.verified else "no")
            rows.append((spec.code, spec.name, spec.title, spec.language, *about))
    elif what == "suites":
        names = ("suite", "corpora", "pairs", "use")
        rows = [
            (s.name, " ".join(s.corpora) or "all at hand", len(s.pairs()) or "-", s.use)
            for s in options.defined("suites").values()
        ]
    else:
        names, rows = ("features", "version", "d", "f", "about"), _features()
    print_rows(names, rows)


def _methods_by_kind() -> list[tuple[object, ...]]:
    """Competitors, variants that take one apart, bounds and routines, each with its data."""
    from clser_bench.report.render import USES
    from clser_bench.run.plan import read_methods

    about = {e.name: e.summary for e in registry.entries().values()}
    about |= {r.name: r.about for r in ROUTINES.values()}
    kinds = ("fitted", "trained", "ablation", "bound", "routine")
    rows: list[tuple[object, ...]] = []
    for info in read_methods([(name, {}) for name in about]):
        kind = info.role if info.role == "bound" else info.kind
        if info.name not in ROUTINES and registry.entry(info.name).ablation:
            kind = "ablation"
        prior = {"uniform": "P", "estimated": "p"}.get(info.assumes_prior, "")
        marks = "".join(USES[part] for part in info.uses) + prior
        rows.append((kind, info.name, marks, about[info.name]))
    return sorted(rows, key=lambda row: kinds.index(str(row[0])))


def _features() -> list[tuple[object, ...]]:
    from clser_bench.features.encoders.models import known_encoders
    from clser_bench.features.sets import FEATURE_SETS, feature_set, installed_sets, language_sets

    acoustic = [
        (s.name, s.version, len(s.instants), len(s.summary), s.about)
        for s in map(feature_set, (*FEATURE_SETS, *installed_sets()))
    ]
    # Sizes of encoders stand in their files, which need not be here.
    encoders = [
        (name, "", "", "", f"hf:{one.model}, layer {one.layer} ({one.layer_source})")
        for name, one in known_encoders().items()
    ]
    sets = [(f"set:{name}", "", "", "", one.about) for name, one in language_sets().items()]
    return [*acoustic, *encoders, *sets]


@options.examples(
    "clser-bench show sere",
)
def show(
    method: Annotated[str, options.argument("method", autocompletion=options.METHOD_NAMES)],
    *,
    plugin: options.Plugin = None,  # noqa: ARG001 (its callback sets it)
) -> None:
    """Show a method and its hyper-parameters."""
    from clser_bench.run.plan import check_method, read_methods
    from clser_bench.run.space import all_spaces

    check_method(method)
    if method in ROUTINES:
        routine = ROUTINES[method]
        typer.echo(f"{routine.name}: version {routine.version}, routine, reference")
        typer.echo(f"\n{(within_target.__doc__ or '').strip()}\n")
        typer.echo(f"Note: {routine.note}")
        typer.echo("\nHyper-parameters:\nnone")
        return
    found = registry.entry(method)
    (info,) = read_methods([(method, {})])
    typer.echo(f"{method}: version {found.version}, {info.kind}, {info.role}")
    if found.base != method:
        typer.echo(f"Preset of {found.base}: {found.summary}")
    tree = ast.parse(found.file.read_bytes())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.decorator_list]
    text = ast.get_docstring(tree) or next(filter(None, map(ast.get_docstring, classes)), "")
    typer.echo(f"\n{text.strip()}\n")
    typer.echo(f"Assumes of the target's class prior: {info.assumes_prior}")
    if info.note:
        typer.echo(f"Note: {info.note}")
    presets = [entry.name for entry in registry.entries().values() if entry.base == found.base]
    if others := [name for name in presets if name != method]:
        typer.echo(f"Of the same file: {', '.join(others)}")
    typer.echo("\nHyper-parameters:")
    if not info.ranges:
        typer.echo("none")
        return
    print_rows(
        ("name", "value", "allowed", "about"),
        [
            (name, dict(info.parameters)[name], allowed(span), span.about)
            for name, span in info.ranges.items()
        ],
    )
    spaces = {name: texts for name, texts in all_spaces(info).items() if name != "all"}
    rows = [(space, *entry) for space, texts in spaces.items() for entry in texts.items()]
    if rows:
        typer.echo("\nSpaces of `clser-bench sweep --space NAME`:")
        print_rows(("space", "name", "values"), rows)


def allowed(span: Range) -> str:
    """The values that a hyper-parameter may have, in words."""
    if span.choices is not None:
        return ", ".join(map(str, span.choices))
    low = "any" if span.low is None else f"{span.low:g}"
    high = "any" if span.high is None else f"{span.high:g}"
    return f"{low} to {high}" + (" (log)" if span.log else "")


@corpus_app.command("check")
@options.examples(
    "clser-bench corpus check ~/corpora",
    "clser-bench corpus check my_recordings.csv",
)
def check(
    place: Annotated[Path, options.argument("place")],
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    workers: options.Workers = None,
) -> None:
    """Check the corpora of a folder or a manifest.

    Decodes every recording and prints counts, durations, and what is odd. Ends with 1 if a
    recording or a corpus cannot be used.
    """
    from clser_bench.corpora import outside
    from clser_bench.corpora.assemble import shared_recordings
    from clser_bench.corpora.figures import check as figures_of
    from clser_bench.corpora.locate import load_corpora, locate

    if not place.exists():
        raise CorpusError(f"{place}: there is no such file or folder")
    one = place.is_file() or outside.recognised(place)
    located = locate(manifests=[place]) if one else locate(place)
    bad = bool(located.conflicts)
    codes = tuple(located.listings) if located.conflicts else None
    how: dict[str, Any] = {"skip_bad": True, "keep_empty": True, "recall": False}
    with Bars() as bars:
        how |= {"workers": workers, "progress": bars}
        corpora = load_corpora(place, codes=codes, located=located, **how)
        bars.stop()
        for corpus in corpora.values():
            for line in _lines(corpus, figures_of(corpus)):
                typer.echo(printable(line))
            bad = bad or bool(corpus.skipped)
    pairs = itertools.combinations(corpora.values(), 2)
    both = [found for one, other in pairs for found in shared_recordings(one, other)]
    found = (finding.sentence for finding in (*both, *located.findings))
    for line in (*located.conflicts.values(), *found):
        typer.echo(printable(line))
    if bad:
        raise typer.Exit(FAULTY)


def _lines(corpus: Corpus, figures: Check) -> Iterator[str]:
    from clser_bench.corpora.assemble import reasons

    yield f"{corpus.spec.title} ({corpus.spec.code}) in {corpus.root}"
    yield (
        f"  {counted(len(corpus.utterances), 'utterance')}, {figures.seconds / 60:.1f} minutes "
        f"({figures.shortest:.2f} to {figures.longest:.2f} s), "
        f"{counted(len(figures.speakers), 'speaker')}"
    )
    yield "  emotions: " + ", ".join(f"{name} {count}" for name, count in figures.emotions)
    yield "  rates: " + ", ".join(f"{rate} Hz {count}" for rate, count in figures.rates)
    empty = sum(not count for _, _, count in figures.cells)
    if empty:
        yield f"  {empty} of {len(figures.cells)} combinations of speaker and emotion are empty"
    for what, names in (("silent", figures.silent), ("clipped", figures.clipped)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"  {what}: {len(names)}: {', '.join(names[:_SHOWN])}{more}"
    for reason, count in corpus.left_out:
        yield f"  left out on purpose: {count} ({reason})"
    for finding in corpus.findings:
        yield f"  {finding.sentence}"
    if corpus.skipped:
        yield f"  {counted(len(corpus.skipped), 'recording')} cannot be used:"
        yield from (f"  {line}" for line in reasons(corpus.skipped))
    yield "  see above" if corpus.skipped or corpus.findings else "  complete"


@options.examples(
    "clser-bench doctor",
    "clser-bench doctor --corpora ~/corpora",
)
def doctor(corpora: options.Corpora = None, results: options.Results = options.RESULTS) -> None:
    """Show what is installed and found on this machine.

    Versions, cores, extras, corpora, cache, results and documents.
    """
    import torch

    from clser_bench.features.cache import cache_size
    from clser_bench.run import provenance

    here, packages = provenance.hardware(), provenance.code()["packages"]
    memory, gpu = here["memory_gib"], "none (none is needed)"
    lines = {"clser-bench": __version__, "python": platform.python_version()}
    for name in provenance.PACKAGES:
        if name in packages or name not in provenance.OF_EXTRAS:
            lines[name] = packages.get(name, "missing: reinstall clser-bench")
    lines["cores"] = here["cores"]
    lines["memory"] = "unknown" if memory is None else f"{memory:.1f} GiB"
    lines["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else gpu
    lines |= {"methods run": here["methods"], "torchaudio works": _torchaudio()}
    for what, module, extra in _EXTRAS:
        there = importlib.util.find_spec(module) is not None
        lines[what] = "installed" if there else f"missing: pip install 'clser-bench[{extra}]'"
    states: dict[str, Callable[[], str]] = {
        "corpora": lambda: _corpora(corpora),
        "cache": lambda: f"{cache_folder()} ({cache_size(cache_folder()) / 2**20:.0f} MiB)",
        "results": lambda: _results(results),
    }
    for what, state in states.items():
        try:
            lines[what] = state()
        except ClserError as error:
            lines[what] = str(error)
    lines["documents"] = str(shipped("docs"))
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:<{width}}  {value}")


def _torchaudio() -> str:
    from clser_bench.features.sets import feature_set

    try:
        feature_set(DEFAULT_FEATURES).check()
    except ClserError as error:
        return f"no: {error}"
    module = sys.modules.get("torchaudio._extension")
    stubbed = module is not None and getattr(module, "__file__", None) is None
    return "yes, without its compiled extension, which is not needed" if stubbed else "yes"


def _corpora(folder: Path | None) -> str:
    from clser_bench.corpora.locate import locate

    if folder is None:
        return "none named (--corpora or CLSER_CORPORA); the demo corpora are made when needed"
    located = locate(folder)
    lines = [f"{code} in {listing.root}" for code, listing in located.listings.items()]
    return ", ".join([*lines, *located.conflicts.values()]) or f"none recognised below {folder}"


def _results(file: Path) -> str:
    from clser_bench.store.sqlite import Store

    if not file.exists():
        return f"{file} (none yet)"
    with Store(file, create=False, read_only=True) as store:
        tally = store.progress()
    return f"{file} ({tally.planned} trials planned, {tally.ok} ok, {tally.failed} failed)"


@new_app.command("method")
@options.examples(
    "clser-bench new method my-method",
    "clser-bench new method my-method --kind trained --out methods",
)
def method(
    name: Annotated[str, options.argument("new_method")],
    *,
    kind: Literal["fitted", "trained"] = "fitted",
    out: Out = Path(),
) -> None:
    """Write the file of a method: it passes `check-method` and runs as it is.

    Options:
        kind: fitted: scores in one call; trained: a loss in PyTorch.
    """
    file = out / f"{name.replace('-', '_')}.py"
    _write(file, registry.template(name, kind))
    complain(f"Check it: clser-bench check-method {file}")
    complain(f"Run it:   clser-bench run --plugin {file} --methods {name},logistic")


@new_app.command("corpus")
@options.examples("clser-bench new corpus mine --out tasks")
def corpus(
    name: Annotated[str, options.argument("new_corpus")],
    *,
    out: Out = Path("tasks"),
) -> None:
    """Write the definition of a corpus: layout, labels, language, licence.

    Recordings without a definition need none: a CSV with the columns path, speaker, emotion and
    language is read by --manifest.
    """
    from clser_bench.corpora.definitions import definitions, template

    file = out / f"{name}.toml"
    _write(file, template(name))
    found = definitions([out]).corpora
    code = next(one.code for one in found.values() if one.name == name)
    complain(f"Edit it, then check it: clser-bench corpus check DIR --tasks {out}")
    complain(f"Its code in pairs and tables is {code}.")


@options.examples("clser-bench check-method my_method.py")
def check_method(
    file: Annotated[Path, options.argument("method_file")],
) -> None:
    """Check a method against the contract, in seconds.

    Prints what is wrong, a sentence each, and ends with 1; the problems are small and made of
    random numbers.
    """
    from clser_bench.train.check import check_method as findings_of

    found = findings_of(file)
    print_rows(("method", "check", "problem"), [(f.name, f.check, f.text) for f in found])
    if found:
        complain(f"{file}: {len(found)} findings.")
        raise typer.Exit(FAULTY)
    complain(f"{file}: passes every check.")


@options.examples(
    "clser-bench audit my_method.py",
    "clser-bench audit sere --corpora ~/corpora --suite bcro --seeds 2",
)
@options.request_options(
    without=("methods", "plugins", "corruptions", "skip_bad", "results", *options.MEANS),
    rules=options.RULES_OF_DATA,
    seeds=3,
)
def audit(
    method: Annotated[str, options.argument("method_or_file", autocompletion=options.METHOD_NAMES)],
    *,
    request: Request,
) -> None:
    """Check that a method's scores follow from the features that it is given alone.

    Runs it as usual, and on a copy with renamed recordings and speakers, another order of rows, and
    a process for every trial. The mean UARs must agree: within half a percent, or four standard
    errors where the method draws random numbers. Exits with 1 where they do not.
    """
    from clser_bench import registry
    from clser_bench.run.inspection import audit as run_audit
    from clser_bench.run.process import confinement

    name = registry.add_plugin(method) if method.endswith(".py") else method
    asked = request.replace(methods=(name,), shots=request.shots[:1], scheduler="local")
    with Bars() as bars:
        found = run_audit(asked, progress=bars, say=complain)
    complain(f"methods run {confinement()}")
    rows = []
    for one in found:
        numbers = f"{one.plain:.1f}", f"{one.copied:.1f}", f"{one.copied - one.plain:+.1f}"
        differs = "" if one.agrees else "differs"
        rows.append((one.pair or "mean", *numbers, f"{one.allowed:.1f}", differs))
    print_rows(("pair", "UAR", "in the copy", "difference", "allowed", ""), rows)
    if not found[-1].agrees:
        complain(f"{name}: its scores do not follow from the features alone")
        raise typer.Exit(FAULTY)


def _write(file: Path, text: str) -> None:
    if file.exists():
        raise SpecError(f"{file}: is there already; name another folder with --out")
    write_whole(file, text, error=SpecError)
    typer.echo(str(file))
