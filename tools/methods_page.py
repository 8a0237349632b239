"""Write the page `methods.md` of the documentation from the docstrings of the method files.

Run by mkdocs (plugin gen-files) while it builds the site; imports no method.
"""

from __future__ import annotations

import ast

import mkdocs_gen_files

from clser_bench import registry


def document(name: str) -> str:
    """The docstring of a method's file, each paragraph as a line."""
    text = ast.get_docstring(ast.parse(registry.entry(name).file.read_text("utf-8"))) or ""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


with mkdocs_gen_files.open("methods.md", "w") as page:
    page.write("# Methods\n\nOne file each; `clser-bench show NAME` adds the hyper-parameters.\n")
    for name, entry in registry.entries().items():
        if entry.base == name:
            variants = [other.name for other in registry.entries().values() if other.base == name]
            page.write(f"\n## {name}\n\n{document(name)}\n")
            if len(variants) > 1:
                page.write(f"\nVariants: {', '.join(f'`{v}`' for v in variants if v != name)}.\n")
