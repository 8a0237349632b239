"""The report of a sweep: its best configuration, how sure that is, importances, text and pictures.

Importances are Optuna's fANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014), the pictures Optuna's.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
import re
import warnings as python_warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clser_bench.errors import SpecError, counted
from clser_bench.problem import Value
from clser_bench.report import formats
from clser_bench.report.formats import MISSING, Footnotes, Row, TextTable, one_line
from clser_bench.sweeps import (
    Configuration,
    Dimension,
    Measured,
    SweepResult,
    choose,
    distributions,
    finished,
    measured,
)

if TYPE_CHECKING:
    from optuna import Study

FEWEST = 8
"""With fewer configurations no importance is given."""

SHUFFLED = 19
"""Forests fitted to shuffled objectives: noise passes once in `SHUFFLED` + 1 times."""


@functools.lru_cache(maxsize=4)
def importances(result: SweepResult) -> tuple[dict[str, float], str]:
    """The share of the objective's variance that each hyper-parameter explains (fANOVA).

    Returns:
        Shares by name, the largest first, and an empty text; or nothing and why: few
        configurations, equal objectives, or a forest that predicts those it was not fitted to (out
        of the bag) no better than their mean, or no better than it does for shuffled objectives.
    """
    import optuna  # noqa: PLC0415 (slow to import)
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415 (slow to import)

    study = _study(result, [item.name for item in result.dimensions])
    y = np.array([trial.value for trial in study.trials])
    if len(y) < FEWEST:
        return {}, f"configurations with an objective: {len(y)}; {FEWEST} are needed"
    if np.ptp(y) <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return {}, "the objective is the same for all configurations"
    rows = [
        [d.to_internal_repr(trial.params[name]) for name, d in trial.distributions.items()]
        for trial in study.trials
    ]

    def out_of_bag(objectives: np.ndarray[Any, Any]) -> float:
        forest = RandomForestRegressor(100, oob_score=True, random_state=0)
        return float(forest.fit(rows, objectives).oob_score_)

    r2 = out_of_bag(y)
    if r2 <= 0:
        return {}, f"the forest has no out-of-bag predictive power (R2 = {r2:.2f})"
    rng = np.random.default_rng(1)
    as_good = sum(out_of_bag(rng.permutation(y)) >= r2 for _ in range(SHUFFLED))
    if as_good:
        often = f"in {as_good} of {SHUFFLED} shuffles (out-of-bag R2 {r2:.2f})"
        return {}, f"the forest predicts shuffled objectives as well {often}"
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator), ""


def figures(result: SweepResult) -> dict[str, bytes]:
    """Optuna's pictures of a sweep as PNG files by name.

    Configurations that stopped early are drawn at their mean, corrected for the draws they had.
    """
    import matplotlib.pyplot as plt  # noqa: PLC0415 (slow to import)
    from optuna.visualization import matplotlib as draw  # noqa: PLC0415

    from clser_bench.report.drawing import COLUMN, in_style, plain  # noqa: PLC0415

    study = _study(result, [plain(item.name) for item in result.dimensions])
    objective = plain(f"{result.objective} ({result.unit})", longest=48)
    count, made = len(result.dimensions), {}
    for name, plot, width in (
        ("parallel-coordinates.png", draw.plot_parallel_coordinate, 1.2 * count),
        ("parameters.png", draw.plot_slice, 2.4 * count),
    ):
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # experimental, and tight layouts
            axes = np.ravel(np.asarray(in_style(plot)(study, target_name=objective)))
        figure = axes[0].figure
        figure.set_size_inches(max(2 * COLUMN, width), 1.3 * COLUMN)
        title = "; ".join([f"Sweep of {result.method}", *warnings(result)])
        figure.suptitle(plain(title, longest=120), fontsize=9)
        axes[0].set_title("")
        for axis in axes:
            axis.tick_params(axis="x", labelrotation=30, labelsize=6)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=200, bbox_inches="tight")
        made[name] = stream.getvalue()
        plt.close(figure)
    return made


def summary(result: SweepResult) -> str:
    """The findings of a sweep, in a few lines."""
    warned = (f"warning: {line}" for line in warnings(result))
    return "\n".join([*_findings(result), *warned]) + "\n"


def markdown(result: SweepResult, *, pictures: Iterable[str] = ()) -> str:
    """Write a sweep as Markdown: how it was made, all configurations, what was found.

    Configurations that stopped early, and those with a missing result, come after those that were
    run to the end: a mean over fewer draws is not comparable.

    Args:
        pictures: files beside this one that it shows.
    """
    uars = any(one.uars and one.uars != one.draws for one in result.configurations)
    whole, notes = finished(result), Footnotes()
    rows, aside = [], []

    def place(one: Configuration) -> tuple[bool, float, int]:
        mean = measured(one.draws).mean if one.draws else -math.inf
        return len(one.draws) < result.seeds, -mean, one.number

    for one in sorted(result.configurations, key=place):
        mean = measured(one.draws) if one.draws else None
        labels = ["best"] * (one.number == result.best and mean is not None)
        labels += ["default"] * (one.number == 0)
        name = f"{one.number} ({', '.join(labels)})" if labels else str(one.number)
        cells = [f"{name}{notes.mark(one.reason)}", MISSING, MISSING, "0"]
        if mean is not None:
            spread = MISSING if mean.std is None else _amount(result, mean.std)
            cells[1:] = [_amount(result, mean.mean), spread, str(mean.n)]
        if uars:
            cells.append(f"{measured(one.uars).mean:.1f}" if one.uars else MISSING)
        rows.append((*cells, *map(_shown, one.values)))
        aside.append(one not in whole)
    uar = "UAR (%)" if result.oracle else "UAR (%), not used by the choice"
    names = ["configuration", f"mean {result.objective} ({result.unit})", "sd", "n"]
    names += [uar] if uars else []
    table = TextTable(
        title=f"Sweep of {result.method}",
        header=_header(result),
        names=(*names, *(item.name for item in result.dimensions)),
        cells=tuple(rows),
        aside=tuple(aside),
        below=tuple(_findings(result)),
        footnotes=tuple(notes.texts),
    )
    shown = "".join(f"\n![{name.rpartition('.')[0]}]({name})\n" for name in pictures)
    return formats.markdown(table) + shown


def as_csv(result: SweepResult) -> str:
    """Write all configurations as CSV, a row each in the order of their numbers.

    Hyper-parameters are in columns `parameter.NAME`, draws in `draw_0`, `draw_1`, …
    """
    most = max((len(one.draws) for one in result.configurations), default=0)
    rows = []
    for one in result.configurations:
        row = _row(result, one)
        values, draws = row.pop("values"), row.pop("draws")
        row |= {f"parameter.{name}": value for name, value in values.items()}
        rows.append(row | {f"draw_{at}": dict(enumerate(draws)).get(at) for at in range(most)})
    return formats.csv_of(rows)


def as_json(result: SweepResult) -> str:
    """Write a sweep as one JSON object: how it was made, configurations, the best, importances."""
    chosen = choose(result)
    shares, reason = importances(result)
    made: Row = {
        **{f.name: getattr(result, f.name) for f in dataclasses.fields(result)},
        "warnings": list(warnings(result)),
        "objective_of_best": chosen.objective and dataclasses.asdict(chosen.objective),
        "gain_over_default": chosen.gain and dataclasses.asdict(chosen.gain),
        "choice_on_other_draws": chosen.apart and dataclasses.asdict(chosen.apart),
        "missing": chosen.reason,
        "importances": shares,
        "importances_missing": reason,
        "dimensions": list(map(dataclasses.asdict, result.dimensions)),
        "configurations": [_row(result, one) for one in result.configurations],
    }
    return json.dumps(_plain(made), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def params_toml(result: SweepResult, *, fixed: Iterable[tuple[str, Value]] = ()) -> str:
    """Write the best configuration for `run --params FILE`; raises SpecError for none."""
    chosen = choose(result)
    if chosen.best is None:
        raise SpecError(f"sweep of {result.method}: {chosen.reason}; there is no best one")
    number, count = chosen.best.number, len(result.configurations)
    first = f"Best of {count} configurations of {result.method}: number {number}."
    names = [item.name for item in result.dimensions]
    values = {**dict(fixed), **dict(zip(names, chosen.best.values, strict=True))}
    lines = [f"# {one_line(line)}" for line in (first, *_header(result))]
    bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch
    keys = [key if bare(key) else _toml(key) for key in (result.method, *values)]
    lines += ["", f"[{keys[0]}]"]
    lines += [f"{k} = {_toml(value)}" for k, value in zip(keys[1:], values.values(), strict=True)]
    return "\n".join(lines) + "\n"


def warnings(result: SweepResult) -> tuple[str, ...]:
    """Caveats that belong to the numbers of a sweep."""
    lines = []
    if result.oracle:
        lines.append("chosen with target labels: a reference, not a result")
    elif any(one.uars and one.uars == one.draws for one in result.configurations):
        lines.append("labels of these targets decided: judge the configuration on other corpora")
    if result.search == "tpe":
        lines.append("tpe placed its configurations by all draws: other draws are not independent")
    if result.synthetic:
        lines.append("the speech is synthetic: these numbers say nothing about real speech")
    return tuple(lines)


def _study(result: SweepResult, names: Sequence[str]) -> Study:
    """The configurations with an objective as a study of Optuna.

    An objective is the mean of x[p, s] - c[s] over the draws of p, plus the mean of c, where c[s]
    is the mean of draw s over the configurations with the most draws: who stopped early is not
    judged by an easy draw.
    """
    import optuna  # noqa: PLC0415 (slow to import)

    points = [one for one in result.configurations if one.draws]
    most = max((len(one.draws) for one in points), default=0)
    full = np.array([one.draws for one in points if len(one.draws) == most])
    centre = full.mean(axis=0) if most else full
    spaces = distributions(
        _widened(item, name, [one.values[at] for one in points])
        for at, (name, item) in enumerate(zip(names, result.dimensions, strict=True))
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else each study is announced
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        optuna.create_trial(
            params=dict(zip(names, one.values, strict=True)),
            distributions=spaces,
            value=float(np.mean(np.subtract(one.draws, centre[: len(one.draws)])) + centre.mean()),
        )
        for one in points
    )
    return study


def _widened(dimension: Dimension, name: str, values: Sequence[Value]) -> Dimension:
    """A dimension that takes in the default too, which need not be in the space."""
    if dimension.choices:
        kinds = list(dict.fromkeys([*dimension.choices, *values]))
        if not any(isinstance(kind, str) for kind in kinds):
            kinds.sort()
        return Dimension(name=name, choices=tuple(kinds))
    numbers = list(map(float, values))
    low, high = min([dimension.low, *numbers]), max([dimension.high, *numbers])
    log = dimension.log and low > 0
    return dataclasses.replace(dimension, name=name, low=low, high=high, log=log)


def _findings(result: SweepResult) -> list[str]:
    """The best configuration, its objective and gain, the estimate on other draws, importances."""
    chosen, better = choose(result), result.objective
    draws = counted(result.seeds, "draw")
    lines = [f"{result.method} on {result.suite}: {_counts(result)}; n = {draws}"]
    if chosen.best is None or chosen.objective is None:
        lines.append(chosen.reason)
    else:
        pairs = zip(result.dimensions, chosen.best.values, strict=True)
        values = ", ".join(f"{item.name}={_shown(value)}" for item, value in pairs)
        number = chosen.best.number or "the default"
        lines.append(f"best configuration by {better}: {number} ({values})")
        among = len(finished(result))
        biased = f"; the best of {among}, biased upwards by the choice" if among > 1 else ""
        lines.append(f"its {better}: {_interval(result, chosen.objective)}{biased}")
        if chosen.gain is not None:
            gain = _interval(result, chosen.gain, signed=True)
            lines.append(f"gain over the default: {gain}, paired")
        if chosen.apart is not None:
            found = chosen.apart
            halves = "half of the draws" if sum(found.read) == result.seeds else "some draws"
            line = f"chosen on {halves}, read on the others: {_amount(result, found.value)}"
            line += f" {result.unit}"
            if found.gain is not None:
                line += f"; gain over the default {_amount(result, found.gain, signed=True)}"
            read, numbers = " + ".join(map(str, found.read)), dict.fromkeys(found.chosen)
            named = " and ".join(map(str, numbers))
            lines.append(f"{line} (n = {read} draws read; chosen: {named})")
        if chosen.reason:
            lines.append(f"not given: {chosen.reason}")
    shares, reason = importances(result)
    listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    importance = listed or f"not given ({reason})"
    return list(map(one_line, [*lines, f"importance of hyper-parameters (fANOVA): {importance}"]))


def _interval(result: SweepResult, found: Measured, *, signed: bool = False) -> str:
    mean = f"{_amount(result, found.mean, signed=signed)} {result.unit}"
    if found.low is None or found.high is None:
        return f"{mean} (n = {found.n} draw, no interval)"
    low, high = (_amount(result, end, signed=signed) for end in (found.low, found.high))
    return f"{mean} [{low}, {high}] (95 %, t over n = {found.n} draws, given these corpora)"


def _header(result: SweepResult) -> tuple[str, ...]:
    rules = (
        f"suite {result.suite} ({counted(result.pairs, 'pair')})",
        *(f"{name} {getattr(result, name)}" for name in ("features", "normalisation", "shots")),
        f"n = {counted(result.seeds, 'draw')}",
    )
    objective = f"objective {result.objective} ({result.unit}, larger is better)"
    how = objective, f"search {result.search}", _counts(result)
    warned = (f"warning: {line}" for line in warnings(result))
    return " · ".join(rules), " · ".join(how), f"command: {result.command}", *warned


def _counts(result: SweepResult) -> str:
    whole = len(finished(result))
    missing = sum(bool(one.reason) for one in result.configurations)
    early = len(result.configurations) - whole - missing
    parts = [f"{counted(len(result.configurations), 'configuration')}, {whole} run to the end"]
    parts += [f"{early} stopped early"] if early else []
    parts += [f"{missing} with a missing result"] if missing else []
    return ", ".join(parts)


def _shown(value: Value) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _amount(result: SweepResult, value: float, *, signed: bool = False) -> str:
    """A value of the objective, without its unit."""
    digits = 2 if result.unit == "points of UAR" else 4
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text


def _row(result: SweepResult, one: Configuration) -> Row:
    mean = measured(one.draws) if one.draws else None
    names = [item.name for item in result.dimensions]
    row: Row = {
        "number": one.number,
        "default": one.number == 0,
        "best": one.number == result.best and mean is not None,
        "finished": one in finished(result),
        "n": len(one.draws),
        "mean": mean and mean.mean,
        "std": mean and mean.std,
        "uar_mean": measured(one.uars).mean if one.uars else None,
        "reason": one.reason,
        "values": dict(zip(names, one.values, strict=True)),
        "draws": one.draws,
    }
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """What JSON has, numbers to nine digits: the last bits of a sum never show."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if not isinstance(value, float):
        return value
    return float(f"{value:.9g}") + 0.0 if math.isfinite(value) else str(value)


def _toml(value: Value) -> str:
    """A value as TOML 1.0 writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # as in JSON, but delete must be escaped and other characters may stand as they are
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(float(value)) if isinstance(value, float) else str(int(value))
