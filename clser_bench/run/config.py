"""What a run was asked for, as one value that can be stored and repeated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clser_bench.corpora import corruptions
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.features.align import DEFAULT_ALIGNMENT, check_alignment
from clser_bench.features.languages import rooted
from clser_bench.files import read_toml
from clser_bench.problem import Value
from clser_bench.protocol import Condition, Pair, Shots
from clser_bench.run.select import SELECTIONS

Scheduler = Literal["ray", "local"]
Settings = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]
"""Method to hyper-parameters that are set by the user, both sorted by name."""

DEFAULT_METHODS = ("chance", "logistic", "source-only", "dann", "sere")
DEFAULT_RESULTS = Path("results/clser.sqlite")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does.

    Attributes:
        suite: name of the suite; None chooses one from the corpora that are there.
        pairs: only these pairs; empty for all of the suite.
        corpora: folder that holds corpora at any depth; None for none.
        manifests: tables of the user's own recordings.
        methods: names of methods and routines; `all` for every one, but ablations.
        shots: labelled utterances per class, one or several.
        seeds: number of draws.
        condition: the rules that all methods share; its selection is one of `SELECTIONS`.
        settings: hyper-parameters set by the user.
        results: the results file.
        scheduler: `ray` (worker processes), or `local` (this process, for debugging).
        workers: processes; None for one a core.
        skip_bad: leave unreadable files out and say so, instead of stopping.
        align: how feature sets of different encoders are aligned; one of `features.aligned.HOW`.
        devices: where encoders run; empty for the first GPU, else the CPU.
        ray_address: of a Ray cluster to join; `auto` for the one of this machine; empty to start
            one.
        gpus_per_pack: share of a GPU that a pack trains on; 0 for the CPU.
        corruptions: of the target, as `data.corruptions.parse` reads them; the clean condition and
            each of these are run.
        energy: measure the joules of what is trained.
    """

    suite: str | None = None
    pairs: tuple[Pair, ...] = ()
    corpora: Path | None = None
    manifests: tuple[Path, ...] = ()
    methods: tuple[str, ...] = DEFAULT_METHODS
    shots: tuple[Shots, ...] = (5,)
    seeds: int = 5
    condition: Condition = dataclasses.field(default_factory=Condition)
    settings: Settings = ()
    results: Path = DEFAULT_RESULTS
    scheduler: Scheduler = "ray"
    workers: int | None = None
    skip_bad: bool = False
    align: str = DEFAULT_ALIGNMENT
    devices: tuple[str, ...] = ()
    ray_address: str = ""
    gpus_per_pack: float = 0.0
    corruptions: tuple[str, ...] = ()
    energy: bool = False

    def __post_init__(self) -> None:
        if self.scheduler not in ("ray", "local"):
            known = did_you_mean(self.scheduler, ("ray", "local"))
            raise SpecError(f"scheduler '{self.scheduler}' is unknown{known}")
        selection = self.condition.selection
        if selection not in SELECTIONS:
            known = did_you_mean(selection, SELECTIONS)
            raise SpecError(f"selection '{selection}' is unknown{known}")
        for name, value in (("seeds", self.seeds), ("workers", self.workers)):
            if value is not None and value < 1:
                raise SpecError(f"{name} {value}: a positive number is needed")
        if not 0 <= self.gpus_per_pack < math.inf:
            raise SpecError(f"gpus-per-pack {self.gpus_per_pack}: 0 or more is needed")
        if self.ray_address and self.scheduler != "ray":
            raise SpecError(f"--ray-address {self.ray_address} needs --scheduler ray")
        check_alignment(self.align)
        found = corruptions.parse(*self.corruptions)
        # one way to write it, so that equal requests compare equal
        object.__setattr__(self, "corruptions", tuple(item.name for item in found))
        if not self.methods or not self.shots:
            raise SpecError("name at least one method and one number of shots")

    def as_json(self) -> dict[str, Any]:
        """The options as JSON values, with absolute paths, to be stored with the run."""
        return {
            "suite": self.suite,
            "pairs": [[pair.source, pair.target] for pair in self.pairs],
            "corpora": None if self.corpora is None else str(self.corpora.absolute()),
            "manifests": [str(path.absolute()) for path in self.manifests],
            "methods": list(self.methods),
            "shots": list(self.shots),
            "seeds": self.seeds,
            "condition": {
                **dataclasses.asdict(self.condition),
                "unlabelled": list(self.condition.unlabelled),
                "features": rooted(self.condition.features),
            },
            "settings": {name: dict(values) for name, values in self.settings},
            "scheduler": self.scheduler,
            "workers": self.workers,
            "skip_bad": self.skip_bad,
            "align": self.align,
            "devices": list(self.devices),
            "ray_address": self.ray_address,
            "gpus_per_pack": self.gpus_per_pack,
            "corruptions": list(self.corruptions),
            "energy": self.energy,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], *, results: Path) -> RunConfig:
        """Rebuild what `as_json` wrote.

        Args:
            stored: the options.
            results: the file they were stored in.

        Raises:
            SpecError: they are of another version of clser-bench.
        """
        try:
            return cls(
                suite=stored["suite"],
                pairs=tuple(Pair(source, target) for source, target in stored["pairs"]),
                corpora=None if stored["corpora"] is None else Path(stored["corpora"]),
                manifests=tuple(map(Path, stored["manifests"])),
                methods=tuple(stored["methods"]),
                shots=tuple(stored["shots"]),
                seeds=stored["seeds"],
                condition=_condition(stored),
                settings=as_settings(stored["settings"]),
                results=results,
                scheduler=stored["scheduler"],
                workers=stored["workers"],
                skip_bad=stored["skip_bad"],
                align=stored.get("align", DEFAULT_ALIGNMENT),
                devices=tuple(stored.get("devices", ())),
                ray_address=stored.get("ray_address", ""),
                gpus_per_pack=stored.get("gpus_per_pack", 0.0),
                corruptions=tuple(stored.get("corruptions", ())),
                energy=stored.get("energy", False),
            )
        except (KeyError, TypeError) as error:
            raise SpecError(
                f"{results}: the last run's options cannot be read ({error!r}); repeat its command"
            ) from error


def _condition(stored: Mapping[str, Any]) -> Condition:
    """The rules of a stored request, as this version or an earlier one wrote them."""
    values = dict(stored["condition"] if "condition" in stored else stored["protocol"])
    if values.pop("fixed4", False):
        values["classes"] = "fixed4"
    values["unlabelled"] = tuple(values.get("unlabelled", ()))
    return Condition(**values)


def as_settings(values: Mapping[str, Mapping[str, Value]]) -> Settings:
    """Sort hyper-parameters by method and name, so that equal ones compare equal."""
    return tuple((name, tuple(sorted(inner.items()))) for name, inner in sorted(values.items()))


def parse_settings(assignments: Iterable[str], file: Path | None = None) -> Settings:
    """Read hyper-parameters from `--params FILE` and `--set METHOD.NAME=VALUE`; the latter win.

    Args:
        assignments: such as `dann.weight=0.5`.
        file: TOML with one table a method.

    Raises:
        SpecError: an assignment or the file is not of that form.
    """
    values = {} if file is None else _read_settings(file)
    for text in assignments:
        place, equals, value = text.partition("=")
        method, dot, name = place.strip().partition(".")
        if not (equals and dot and method and name):
            raise SpecError(f"--set {text!r}: write METHOD.NAME=VALUE, such as dann.steps=400")
        values.setdefault(method, {})[name] = _parse_value(value.strip())
    return as_settings(values)


def _read_settings(file: Path) -> dict[str, dict[str, Value]]:
    tables: dict[str, dict[str, Value]] = read_toml(file)
    for method, values in tables.items():
        if not isinstance(values, dict):
            raise SpecError(f"{file}: '{method}' stands outside a table; write it below [METHOD]")
        for name, value in values.items():
            if not isinstance(value, int | float | bool | str):
                raise SpecError(
                    f"{file}: [{method}] {name} must be a number, a boolean or a string"
                )
    return tables


def _parse_value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
