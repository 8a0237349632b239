"""One HTML file from the data of tables: a template, a style sheet and a script that draws.

The page loads nothing: its Content-Security-Policy allows the style sheet and the script by their
hashes and no request at all. Texts of others reach it inside one JSON block and are set as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import string
from collections.abc import Mapping
from importlib import resources
from typing import Any

from clser_bench import __version__


def page(data: Mapping[str, Any], *, title: str = "clser-bench leaderboard") -> str:
    """Write a page.

    Args:
        data: `conditions` (a table each: key, title, rules, header, notes, pairs, classes,
            reference, warnings and methods with their cells), `methods` (what each is) and
            `labels` (of the rules).
        title: of the window.

    Returns:
        HTML; the same data give the same bytes.
    """
    files = resources.files(__package__ or "")
    style, script = ((files / name).read_text("utf-8") for name in ("page.css", "page.js"))
    allowed = {"style": style, "script": script}
    hashes = {kind: f"{kind}-src 'sha256-{_hash(text)}'" for kind, text in allowed.items()}
    policy = "; ".join(
        [
            "default-src 'none'",
            *hashes.values(),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    template = string.Template((files / "page.html").read_text("utf-8"))
    return template.substitute(
        policy=html.escape(policy),
        title=html.escape(title),
        style=style,
        script=script,
        version=html.escape(__version__),
        data=_embedded(data),
    )


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that no text in it can end: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
