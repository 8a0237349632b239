"""A sweep as one page of HTML that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from clser_bench.report.drawing import render
from clser_bench.report.formats import one_line
from clser_bench.report.importance import importances
from clser_bench.report.sweep_text import lay_out
from clser_bench.report.sweep_words import findings, header, warnings
from clser_bench.sweeps import SweepResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTIONS = {
    "parallel-coordinates": "All points: a line each through its values, ending at its objective.",
    "parameters": "The objective of all points against each hyper-parameter.",
}

_STYLE = """\
:root {
  color-scheme: light dark;
  --ground: light-dark(#ffffff, #14181d);
  --raised: light-dark(#f3f5f8, #1d232a);
  --text: light-dark(#1b2127, #e6eaee);
  --quiet: light-dark(#515b66, #a7b1bc);
  --line: light-dark(#d5dbe2, #353e48);
  --mark: light-dark(#126b35, #7fd69d);
  --worse: light-dark(#a33a0a, #f5ad85);
  --warning: light-dark(#fff3d1, #3d3210);
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.25rem; max-width: 80rem;
  background: var(--ground); color: var(--text);
  font: 0.95rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 1.5rem 0 0.5rem; }
p, li { max-width: 90ch; }
.quiet, figcaption { color: var(--quiet); font-size: 0.85rem; }
.warning {
  background: var(--warning); border-left: 4px solid var(--worse); padding: 0.4rem 0.8rem;
}
code { font: 0.85em ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; }
figure { margin: 1rem 0; }
img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 0.35rem; }
.scroll {
  overflow: auto; max-height: 85vh; width: fit-content; max-width: 100%;
  border: 1px solid var(--line); border-radius: 0.35rem;
}
table {
  border-collapse: separate; border-spacing: 0; font-size: 0.82rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal;
}
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--raised); vertical-align: bottom; }
th { font-weight: 500; max-width: 14rem; overflow-wrap: anywhere; }
th:first-child { text-align: left; }
.best > * { font-weight: 700; color: var(--mark); }
.aside > * { font-style: italic; color: var(--quiet); }
"""

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>clser-bench: {{ layout.title }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>{{ layout.title }}</h1>
{% for line in header[:-1] %}
<p class="quiet">{{ line }}</p>
{% endfor %}
<p class="quiet"><code>{{ header[-1] }}</code></p>
{% for line in warnings %}
<p class="warning"><strong>Warning:</strong> {{ line }}.</p>
{% endfor %}
</header>
<main>
<h2>What was found</h2>
<ul>
{% for line in findings %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% for image in images %}
<figure>
<img src="{{ image.data }}" alt="{{ image.caption }}"
width="{{ image.width }}" height="{{ image.height }}">
<figcaption>{{ image.caption }}</figcaption>
</figure>
{% endfor %}
{% if important %}
<h2>Importance of hyper-parameters</h2>
<p class="quiet">Fall of a random forest's out-of-bag R2
({{ "%.2f" | format(important[0].r2) }}) when a hyper-parameter is shuffled among the
{{ important[0].points }} points, mean ± sd over shuffles.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Importance of hyper-parameters">
<table>
<thead><tr><th scope="col">hyper-parameter</th>
<th scope="col">fall</th><th scope="col">share</th></tr></thead>
<tbody>
{% for item in important %}
<tr><th scope="row">{{ item.name }}</th><td>{{ "%.2f" | format(item.mean) }} ±
{{ "%.2f" | format(item.std) }}</td><td>{{ "%.0f" | format(100 * item.share) }} %</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<h2>All points</h2>
<p class="quiet">The highest objective first; italic points were not run to the end, and their means
are not comparable.</p>
<div class="scroll" tabindex="0" role="region" aria-label="All points">
<table>
<thead><tr>{% for name in layout.names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in layout.cells %}
<tr class="{{ 'aside' if layout.aside[loop.index0] else 'best' if loop.index0 == best }}">
{%- for cell in row %}
{% if loop.first %}<th scope="row">{{ cell }}</th>{% else %}<td>{{ cell }}</td>{% endif %}
{%- endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% for note in layout.footnotes %}
<p class="quiet">[{{ loop.index }}] {{ note }}</p>
{% endfor %}
</main>
<footer>
<p class="quiet">Made by clser-bench. This page loads nothing and sends nothing.</p>
</footer>
</body>
</html>
"""


def page(swept: SweepResult, figures: Mapping[str, Figure]) -> str:
    """Write a sweep as HTML that loads nothing.

    All texts are escaped, so a name is shown as it is, whatever is in it. The security policy
    forbids scripts and requests, and any style other than the page's own.

    Args:
        swept: the sweep.
        figures: by caption; `parallel-coordinates` and `parameters` have captions of their own.
    """
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(_STYLE)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    layout = lay_out(swept)
    important = [item for item in importances(swept) if not item.reason]
    return _template().render(
        layout=layout,
        header=[one_line(line) for line in header(swept)],
        warnings=warnings(swept),
        findings=findings(swept),
        important=sorted(important, key=lambda item: -(item.mean or 0.0)),
        images=[_image(name, figure) for name, figure in figures.items()],
        best=_best(swept, layout.cells),
        style=Markup(_STYLE),  # noqa: S704 (this file's own)
        policy=policy,
    )


def _image(name: str, figure: Figure) -> dict[str, str]:
    """A figure as the template takes it: glyphs are paths, so it looks alike everywhere."""
    width, height = figure.get_size_inches()
    data = base64.b64encode(render(figure, "svg")).decode("ascii")
    return {
        "caption": _CAPTIONS.get(name, one_line(name)),
        "data": f"data:image/svg+xml;base64,{data}",
        "width": f"{130 * width:.0f}",
        "height": f"{130 * height:.0f}",
    }


def _best(swept: SweepResult, cells: tuple[tuple[str, ...], ...]) -> int:
    """The row of the best point; -1 where there is none."""
    numbers = [row[0].partition(" ")[0] for row in cells]
    wanted = str(swept.best)
    return numbers.index(wanted) if wanted in numbers else -1


@functools.cache
def _template() -> Template:
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return made.from_string(_PAGE)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
