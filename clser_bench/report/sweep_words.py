"""What a sweep says, in lines of plain text that every format shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clser_bench.problem import Value
from clser_bench.report.formats import one_line
from clser_bench.report.importance import Importance, importances
from clser_bench.report.sweep_choice import Measured, Unflattered, finished, weigh
from clser_bench.sweeps import Configuration, SweepResult

ORACLE = "chosen with target labels: a reference, not a result"
SYNTHETIC = "the speech is synthetic: these numbers say nothing about real speech"


def findings(swept: SweepResult) -> tuple[str, ...]:
    """The lines of a summary, without its warnings; each is one line of plain text.

    Args:
        swept: the sweep.
    """
    return tuple(one_line(line) for line in (*_found(swept), *_important(importances(swept))))


def warnings(swept: SweepResult) -> tuple[str, ...]:
    """What must be said beside the numbers of a sweep.

    Args:
        swept: the sweep.
    """
    told = []
    if swept.oracle:
        told.append(ORACLE)
    elif any(point.uars and point.uars == point.draws for point in swept.configurations):
        told.append("labels of these targets decided: judge the point on other corpora")
    if swept.search.startswith("optuna"):
        told.append(
            "optuna placed its points by all draws: what is read on other draws flatters a little"
        )
    return (*told, SYNTHETIC) if swept.synthetic else tuple(told)


def warned(swept: SweepResult) -> tuple[str, ...]:
    """The warnings as lines."""
    return tuple(f"warning: {line}" for line in warnings(swept))


def header(swept: SweepResult) -> Iterator[str]:
    """How a sweep was made, in lines.

    Args:
        swept: the sweep.
    """
    yield (
        f"suite {swept.suite} ({plural(swept.pairs, 'pair')}) · features {swept.features} · "
        f"normalisation {swept.normalisation} · shots {swept.shots} · "
        f"n = {plural(swept.seeds, 'draw')}"
    )
    yield (
        f"objective {swept.objective} ({swept.unit}, larger is better) · search {swept.search} · "
        f"{_counts(swept)}"
    )
    yield f"command: {swept.command}"


def name(swept: SweepResult, point: Configuration) -> str:
    """What a point is beside its number: ` (best, shipped)`, or nothing."""
    told = ["best"] if point.number == swept.best and point.draws else []
    told += ["shipped"] if point.number == 0 else []
    return f" ({', '.join(told)})" if told else ""


def shown(value: Value) -> str:
    """A value as the command line takes it, in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value))


def plural(count: int, what: str) -> str:
    """A number of things, such as `1 draw`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def amount(swept: SweepResult, value: float, *, signed: bool = False) -> str:
    """A value of the objective, without its unit."""
    digits = 2 if swept.unit == "points of UAR" else 4
    found = f"{value:{'+' if signed else ''}.{digits}f}"
    return found.lstrip("+-") if float(found) == 0 else found


def _counts(swept: SweepResult) -> str:
    whole = len(finished(swept))
    none = sum(bool(point.reason) for point in swept.configurations)
    early = len(swept.configurations) - whole - none
    told = [f"{plural(len(swept.configurations), 'point')}, {whole} run to the end"]
    told += [f"{early} given up early"] if early else []
    told += [f"{none} with a hole"] if none else []
    return ", ".join(told)


def _found(swept: SweepResult) -> Iterator[str]:
    """The best point, its objective, its gain, and what is left of these on other draws."""
    chosen = weigh(swept)
    yield f"{swept.method} on {swept.suite}: {_counts(swept)}; n = {plural(swept.seeds, 'draw')}"
    if chosen.best is None or chosen.objective is None:
        yield chosen.reason
        return
    pairs = zip(swept.dimensions, chosen.best.values, strict=True)
    values = ", ".join(f"{item.name}={shown(value)}" for item, value in pairs)
    best = "the shipped one" if chosen.best.number == 0 else f"point {chosen.best.number}"
    yield f"best point by {swept.objective}: {best} ({values})"
    among = len(finished(swept))
    flattered = f"; the best of {among}, flattered by the choice" if among > 1 else ""
    yield f"its {swept.objective}: {_interval(swept, chosen.objective)}{flattered}"
    if chosen.gain is not None:
        yield f"gain over the shipped point: {_interval(swept, chosen.gain, signed=True)}, paired"
    if chosen.unflattered is not None:
        yield _apart(swept, chosen.unflattered)
    if chosen.reason:
        yield f"not told: {chosen.reason}"


def _apart(swept: SweepResult, found: Unflattered) -> str:
    halves = "half of the draws" if sum(found.read) == swept.seeds else "some draws"
    gain = (
        ""
        if found.gain is None
        else f"; gain over the shipped point {amount(swept, found.gain, signed=True)}"
    )
    return (
        f"chosen on {halves}, read on the others: {amount(swept, found.value)} {swept.unit}{gain} "
        f"(n = {' + '.join(map(str, found.read))} draws read, "
        f"point{'s' * (len(set(found.chosen)) > 1)} "
        f"{' and '.join(map(str, dict.fromkeys(found.chosen)))} chosen)"
    )


def _interval(swept: SweepResult, found: Measured, *, signed: bool = False) -> str:
    told = f"{amount(swept, found.mean, signed=signed)} {swept.unit}"
    if found.low is None or found.high is None:
        return f"{told} (n = {found.n} draw, no interval)"
    low, high = (amount(swept, end, signed=signed) for end in (found.low, found.high))
    return f"{told} [{low}, {high}] (95 %, t over n = {found.n} draws, given these corpora)"


def _important(found: Iterable[Importance]) -> Iterator[str]:
    """One line on importances, the largest first; or why there are none."""
    items = sorted(found, key=lambda item: -(item.mean or 0.0))
    if not items:
        return
    if items[0].reason:
        yield f"importance of hyper-parameters: cannot be told ({items[0].reason})"
        return
    each = ", ".join(
        f"{item.name} {round(item.mean or 0.0, 2) + 0.0:.2f} ± {item.std or 0.0:.2f} "
        f"({100 * (item.share or 0.0):.0f} %)"
        for item in items
    )
    yield (
        f"importance (fall of a random forest's out-of-bag R2 of {items[0].r2:.2f} when shuffled, "
        f"± sd of shuffles; {plural(items[0].points, 'point')}): {each}"
    )
