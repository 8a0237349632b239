"""The page: content put into a template; scripts and styles are allowed by their hash only."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from clser_bench.report.layout import Layout
from clser_bench.report.site.cards import MethodCard
from clser_bench.report.site.content import Section
from clser_bench.report.site.details import Json
from clser_bench.report.site.heat import FULL_GAP, LEVELS

_PACKAGE = "clser_bench.report.site"


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page shows.

    Attributes:
        sections: the tables.
        cards: the methods.
        details: what the dialogs show.
        comparisons: of each table further tables, as text cells; empty for none.
        data: name of the file beside the page that holds its numbers.
    """

    sections: tuple[Section, ...]
    cards: tuple[MethodCard, ...]
    details: Json
    comparisons: Sequence[Sequence[Layout]] = ()
    data: str

    @property
    def synthetic(self) -> bool:
        """Whether any speech is synthetic."""
        return any(section.synthetic for section in self.sections)

    def values(self, name: str) -> tuple[str, ...]:
        """The values that a rule has in the tables of the page."""
        found = (dict(section.rules)[name] for section in self.sections)
        return tuple(dict.fromkeys(found))


def write_page(page: Page) -> str:
    """Write the page as HTML that loads nothing.

    All texts are escaped, so a name is shown as it is, whatever is in it. The security policy
    forbids requests, and any script or style other than the two that are part of the page.

    Args:
        page: what it shows.
    """
    style, script = (_asset(name) for name in ("site.css", "site.js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return (
        _templates()
        .get_template("index.html.jinja")
        .render(
            page=page,
            numbers={card.name: card.number for card in page.cards},
            style=Markup(style),  # noqa: S704 (the project's own file)
            script=Markup(script),  # noqa: S704 (the project's own file)
            policy=policy,
            levels=LEVELS,
            full_gap=f"{FULL_GAP:.0f}",
        )
    )


@functools.cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader(_PACKAGE, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["coded"] = _coded
    made.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "ensure_ascii": False,
        "allow_nan": False,
    }
    return made


def _coded(text: str) -> Markup:
    """Text with what stands between backticks as code; all of it is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


@functools.cache
def _asset(name: str) -> str:
    return (files(_PACKAGE) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
