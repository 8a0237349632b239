"""What `growth.py` found as Markdown tables and as JSON; no script."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence

from growth_cases import LEAST, SUBJECTS, Found, Results
from tabulate import tabulate


def slope(series: Mapping[int, Found], part: str) -> float | None:
    """The exponent with which a part grows between the two largest values that were measured."""
    points = [(value, getattr(one, part)) for value, one in series.items() if not one.note][-2:]
    if len(points) < 2 or min(y for _, y in points) < LEAST[part]:
        return None
    (less, before), (more, after) = points
    return round(math.log(after / before) / math.log(more / less), 2)


def as_text(results: Results) -> str:
    """Markdown tables: a line a case, exponents, and the stages that grow with utterances."""
    parts = ("seconds", "private")
    slopes = [(*key, *(slope(series, part) for part in parts)) for key, series in results.items()]
    return "\n\n".join(
        (
            _table(cases(results), "factor value subject seconds runs peak,MiB private,MiB stages"),
            "Exponents between the two largest values measured (1: in proportion; –: below 1 MiB):",
            _table(slopes, "factor subject seconds private,MiB"),
            "Seconds of the stages with the fewest and the most utterances that were affordable:",
            _table(
                ends(results), "subject stage fewest,utterances seconds most,utterances seconds"
            ),
            *(limit(*key, series) for key, series in results.items() if over(series)),
        )
    )


def _table(lines: Iterable[Sequence[object]], head: str) -> str:
    names = [name.replace(",", " ") for name in head.split()]
    return tabulate(lines, names, tablefmt="github", disable_numparse=True, missingval="–")


def over(series: Mapping[int, Found]) -> list[int]:
    """Values that were over their budget, or failed."""
    return [value for value, one in series.items() if one.note]


def cases(results: Results) -> Iterator[Sequence[object]]:
    """A line a case."""
    for (factor, subject), series in results.items():
        for value, one in series.items():
            large = [(name, t / one.seconds) for name, t in one.stages if t > 0.05 * one.seconds]
            stages = ", ".join(f"{name} {100 * share:.0f} %" for name, share in large)
            seconds = one.note or f"{one.seconds:.3g}"
            memory = f"{one.peak:.0f}", f"{one.private:.0f}"
            yield factor, value, subject, seconds, one.runs, *memory, stages


def ends(results: Results) -> Iterator[Sequence[object]]:
    """What each stage takes with the fewest and the most utterances."""
    for subject in SUBJECTS:
        measured = [(v, one) for v, one in results["rows", subject].items() if not one.note]
        for name, seconds in measured[-1][1].stages if measured else ():
            few, first = measured[0]
            before = dict(first.stages).get(name, 0.0)
            yield subject, name, few, f"{before:.3f}", measured[-1][0], f"{seconds:.3f}"


def limit(factor: str, subject: str, series: Mapping[int, Found]) -> str:
    """Where a subject stops being affordable."""
    fits = [f"{v} is affordable" for v, one in series.items() if not one.note][-1:] or ["none is"]
    (value,) = over(series)
    return f"{subject}, {factor}: {fits[0]}, {value} is not ({series[value].note})."


def as_json(results: Results) -> str:
    """All of it as one object in one line."""
    lines = [
        {"factor": f, "subject": s, "value": value, **_short(one)}
        for (f, s), series in results.items()
        for value, one in series.items()
    ]
    slopes = {" ".join(key): slope(series, "seconds") for key, series in results.items()}
    found = {"machine": machine(), "cases": lines, "slopes": slopes}
    return json.dumps(found, default=str, ensure_ascii=False)


def _short(one: Found) -> dict[str, object]:
    stages = {name: round(seconds, 4) for name, seconds in one.stages}
    sizes = {"peak": round(one.peak, 1), "private": round(one.private, 1)}
    return {"seconds": round(one.seconds, 4), **sizes, "runs": one.runs, "note": one.note} | stages


def machine() -> str:
    """What the figures were measured on."""
    import torch

    return f"{platform.machine()}, {os.cpu_count()} cores, one used, torch {torch.__version__}"
