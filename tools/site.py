"""What mkdocs calls while it builds the site (`hooks` of mkdocs.yml): the page of all methods."""

from __future__ import annotations

import sys
from typing import Any

from mkdocs.structure.files import File, Files

from clser_bench import registry
from clser_bench.cli.inspect import allowed

PAGE = "methods.md"
INTRODUCTION = """# Methods

A method is one file. `clser-bench list methods` lists them, `clser-bench show NAME` prints a card
as below. *Data* are what a method uses: labelled source, unlabelled source, unlabelled target;
*prior* is what it assumes of the class shares of the target.
"""


def card(name: str) -> str:
    """A method as a section: docstring, data, prior, variants and hyper-parameters."""
    method: Any = registry.create(name)
    document = sys.modules[registry.entry(name).module].__doc__ or ""
    paragraphs = [" ".join(part.split()) for part in document.strip().split("\n\n")]
    facts = f"{method.kind}, {method.role}; version {registry.entry(name).version}; data: "
    facts += f"{', '.join(method.uses)}; prior: {method.assumes_prior}"
    variants = [e.name for e in registry.entries().values() if e.base == name and e.name != name]
    rows = [
        f"| `{key}` | {getattr(method, key)} | {allowed(span)} | {span.about} |"
        for key, span in method.ranges().items()
    ]
    head = ["| hyper-parameter | default | allowed | |", "|---|---|---|---|"]
    return "\n\n".join(
        [
            f"## {name}",
            *paragraphs,
            f"*{facts}*",
            *([f"Variants: {', '.join(f'`{v}`' for v in variants)}."] if variants else []),
            *(["\n".join([*head, *rows])] if rows else []),
        ]
    )


def on_files(files: Files, config: Any) -> Files:
    """Add the page of all methods."""
    names = [name for name, entry in registry.entries().items() if entry.base == name]
    text = "\n\n".join([INTRODUCTION, *map(card, names)])
    files.append(File.generated(config, PAGE, content=text + "\n"))
    return files
