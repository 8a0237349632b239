"""`list` and `show`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clser_bench import registry
from clser_bench.cli import options
from clser_bench.cli.output import print_rows
from clser_bench.corpora.definitions import definitions
from clser_bench.errors import SpecError
from clser_bench.features.encoders.names import known_encoders
from clser_bench.scoring import within_target
from clser_bench.scoring.within_target import ROUTINES

if TYPE_CHECKING:
    from clser_bench.hyperparameters import Range


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
    {
        "methods": _methods_by_kind if by else _methods,
        "corpora": _corpora,
        "suites": _suites,
        "features": _features,
    }[what]()


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
    typer.echo(f"\n{_docstring(found.file).strip()}\n")
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


def _docstring(file: Path) -> str:
    """Of the file, else of the method's class."""
    tree = ast.parse(file.read_bytes())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.decorator_list]
    return ast.get_docstring(tree) or next(filter(None, map(ast.get_docstring, classes)), "")


def allowed(span: Range) -> str:
    """The values that a hyper-parameter may have, in words."""
    if span.choices is not None:
        return ", ".join(map(str, span.choices))
    low = "any" if span.low is None else f"{span.low:g}"
    high = "any" if span.high is None else f"{span.high:g}"
    return f"{low} to {high}" + (" (log)" if span.log else "")


def _methods() -> None:
    rows = [(e.name, e.version, e.summary) for e in registry.entries().values()]
    rows += [(r.name, r.version, r.about) for r in ROUTINES.values()]
    print_rows(("method", "version", "about"), rows)


def _methods_by_kind() -> None:
    """Competitors, variants that take one apart, bounds and routines, each with its data."""
    from clser_bench.report.render import USES
    from clser_bench.run.plan import read_methods

    about = {e.name: e.summary for e in registry.entries().values()}
    about |= {r.name: r.about for r in ROUTINES.values()}
    groups: dict[str, list[tuple[object, ...]]] = {
        name: [] for name in ("fitted", "trained", "ablation", "bound", "routine")
    }
    for info in read_methods([(name, {}) for name in about]):
        kind = info.role if info.role == "bound" else info.kind
        if info.name not in ROUTINES and registry.entry(info.name).ablation:
            kind = "ablation"
        prior = {"uniform": "P", "estimated": "p"}.get(info.assumes_prior, "")
        marks = "".join(USES[part] for part in info.uses) + prior
        groups[kind].append((kind, info.name, marks, about[info.name]))
    rows = [row for members in groups.values() for row in members]
    print_rows(("kind", "method", "uses", "about"), rows)


def _corpora() -> None:
    rows = []
    for spec in definitions().corpora.values():
        emotions = " ".join(emotion[:3] for emotion in spec.emotions)
        about = (emotions, spec.licence, "yes" if spec.verified else "no")
        rows.append((spec.code, spec.name, spec.title, spec.language, *about))
    names = ("code", "name", "title", "language", "emotions", "licence", "checked")
    print_rows(names, rows)


def _suites() -> None:
    rows = [
        (s.name, " ".join(s.corpora) or "all at hand", len(s.pairs()) or "-", s.use)
        for s in definitions().suites.values()
    ]
    print_rows(("suite", "corpora", "pairs", "use"), rows)


def _features() -> None:
    from clser_bench.features.languages import language_sets
    from clser_bench.features.sets import FEATURE_SETS, feature_set, installed_sets

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
    print_rows(("features", "version", "d", "f", "about"), [*acoustic, *encoders, *sets])
