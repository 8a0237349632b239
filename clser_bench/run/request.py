"""What a command was asked to run: arguments, the JSON of a card and a shell command in one."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from clser_bench.corpora import corrupt as corruptions
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.features.align import DEFAULT_ALIGNMENT, check_alignment
from clser_bench.features.sets import is_set, portable, rooted
from clser_bench.files import cores, read_toml
from clser_bench.problem import Value
from clser_bench.protocol import PROTOCOL_VERSION, Condition, Pair, Shots
from clser_bench.run.choice import is_custom
from clser_bench.run.selection import OTHER_PAIRS, SELECTIONS
from clser_bench.run.worker import PATIENCE, Means

DEFAULT_METHODS = ("chance", "logistic", "source-only", "dann", "sere")
DEFAULT_RESULTS = Path("results/clser.sqlite")

Settings = dict[str, dict[str, Value]]
"""Method to hyper-parameters that are set by the user."""

MOST_SEEDS = 10_000
"""Draws that a run may have; a card holds no more."""

_PlainPair = Annotated[
    Pair,
    BeforeValidator(lambda value: Pair.parse(value) if isinstance(value, str) else value),
    PlainSerializer(lambda pair: f"{pair.source}->{pair.target}"),
]

_HERE = (
    *("results", "scheduler", "workers", "devices", "ray_address", "gpus_per_pack", "energy"),
    *("patience", "corpora", "manifests", "tasks", "plugins", "confirms"),
)
"""Fields that belong to a machine and not to what is measured."""

DEFAULT = Condition(alignment=DEFAULT_ALIGNMENT)
"""The rules where a command names none."""

_FLAGS = {"alignment": "--align", "normalisation": "--normalise", "prior": "--target-prior"}
"""Options of rules whose names differ from those of the fields."""

_LOCAL = re.compile(r"(?:^|[:=+,])[./~\\]|\.toml$")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Request:
    """Everything that decides what a run does.

    Attributes:
        condition: the rules that all trials share, with an empty suite where one is to be chosen
            from the corpora that are there, and without shots and corruption: these are several.
        pairs: only these pairs; empty for all of the suite.
        corpora: folder that holds corpora at any depth; None for none.
        manifests: tables of the user's own recordings.
        tasks: folders of the user's own definitions, for `resume`; `CLSER_TASKS` has them too.
        plugins: files of the user's own methods, likewise.
        methods: names of methods and routines; `all` for every one, but ablations.
        shots: labelled utterances of each class, one number or several.
        seeds: number of draws.
        corruptions: of the target, as `corruptions.parse` reads them; clean speech and each of
            these are run.
        settings: hyper-parameters set by the user.
        skip_bad: leave unreadable files out and list them, instead of stopping.
        results: the results file.
        scheduler: `ray` (worker processes on all cores), or `local` (one after the other).
        workers: processes; None for one a core.
        devices: where encoders run; empty for the first GPU, else the CPU.
        ray_address: of a Ray cluster to join; `auto` for the one of this machine; empty to start
            one.
        gpus_per_pack: share of a GPU that a pack trains on; 0 for the CPU.
        energy: measure the joules of what is trained.
        patience: seconds that a trial may take.
        confirms: digest of the card that froze methods and values before the run; empty for an
            exploratory one (`run.provenance`).
    """

    condition: Condition = dataclasses.field(default_factory=lambda: DEFAULT)
    pairs: tuple[_PlainPair, ...] = ()
    corpora: Path | None = None
    manifests: tuple[Path, ...] = ()
    tasks: tuple[Path, ...] = ()
    plugins: tuple[Path, ...] = ()
    methods: tuple[str, ...] = DEFAULT_METHODS
    shots: tuple[Shots, ...] = (5,)
    seeds: int = 5
    corruptions: tuple[str, ...] = ()
    settings: Settings = dataclasses.field(default_factory=dict)
    skip_bad: bool = False
    results: Path = DEFAULT_RESULTS
    scheduler: str = "ray"
    workers: int | None = None
    devices: tuple[str, ...] = ()
    ray_address: str = ""
    gpus_per_pack: float = 0.0
    energy: bool = False
    patience: float = PATIENCE
    confirms: str = ""

    def __post_init__(self) -> None:
        for what, value, known in (
            ("scheduler", self.scheduler, ("ray", "local")),
            ("selection", self.condition.selection, SELECTIONS),
        ):
            if value not in known:
                raise SpecError(f"{what} '{value}' is unknown{did_you_mean(value, known)}")
        for name, count in (("seeds", self.seeds), ("workers", self.workers)):
            if count is not None and count < 1:
                raise SpecError(f"{name} {count}: a positive number is needed")
        if self.seeds > MOST_SEEDS:
            raise SpecError(f"seeds {self.seeds}: at most {MOST_SEEDS} draws are run")
        if not 0 <= self.gpus_per_pack < math.inf:
            raise SpecError(f"gpus-per-pack {self.gpus_per_pack}: 0 or more is needed")
        if not 0 < self.patience < math.inf:
            raise SpecError(f"patience {self.patience:g}: a positive number of seconds is needed")
        for device in self.devices:
            if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", device):
                raise SpecError(f"device '{device}': write cpu, or cuda:0 and the like")
        if self.ray_address and self.scheduler != "ray":
            raise SpecError(f"--ray-address {self.ray_address} needs --scheduler ray")
        if not self.methods or not self.shots:
            raise SpecError("name at least one method and one number of shots")
        # One way to write a request, so that equal ones compare equal.
        alignment = self.condition.alignment or DEFAULT_ALIGNMENT
        check_alignment(alignment)
        plain = self.condition.replace(
            alignment=alignment,
            shots=self.shots[0],
            corruption="",
            protocol_version=PROTOCOL_VERSION,
        )
        names = tuple(item.name for item in corruptions.parse(*self.corruptions))
        settings = {method: dict(sorted(own.items())) for method, own in self.settings.items()}
        object.__setattr__(self, "condition", plain)
        object.__setattr__(self, "corruptions", names)
        object.__setattr__(self, "settings", dict(sorted(settings.items())))

    @property
    def means(self) -> Means:
        """What packs are run with."""
        device = "cuda" if self.gpus_per_pack else "cpu"
        return Means(device=device, energy=self.energy, patience=self.patience)

    def slots(self, packs: int) -> int:
        """How many packs run at once, 0 for as many as fit; SpecError where a GPU is missing."""
        if self.gpus_per_pack and not self.ray_address and packs:
            import torch  # noqa: PLC0415 (a second)

            if not torch.cuda.is_available():
                raise SpecError(
                    f"--gpus-per-pack {self.gpus_per_pack:g}: torch finds no GPU on this machine "
                    "(see `clser-bench doctor`); leave the option out to train on the CPU"
                )
        workers = self.workers or (0 if self.ray_address else cores())
        return min(workers, packs)

    def replace(self, **changes: Any) -> Request:
        """The same request with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def json(self) -> dict[str, Any]:
        """The request as JSON values with absolute paths, to be stored with the run."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json", exclude={"results"})
        if self.corpora is not None:
            values["corpora"] = os.path.abspath(self.corpora)  # noqa: PTH100 (links stay)
        for name in ("manifests", "tasks", "plugins"):
            values[name] = [os.path.abspath(path) for path in getattr(self, name)]  # noqa: PTH100
        values["condition"]["features"] = rooted(self.condition.features)
        return values

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], *, results: Path) -> Request:
        """Rebuild what `json` gave; SpecError for what another version of clser-bench wrote."""
        try:
            return cls(**{**stored, "results": results})
        except (ValidationError, TypeError) as error:
            line = str(error).splitlines()[0]
            raise SpecError(
                f"{results}: the last run's options cannot be read ({line}); repeat its command"
            ) from error

    def command(self, *, folder: bool = False, manifests: int = 0) -> str:
        """The shell command of the request; `DIR` and `FILE` stand for the reader's own places."""
        return shlex.join(("clser-bench", "run", *self._options(folder, manifests)))

    def _options(self, folder: bool, manifests: int) -> Iterator[str]:
        rules = dataclasses.asdict(self.condition.replace(shots=DEFAULT.shots))
        usual = dataclasses.asdict(DEFAULT)
        for name, value in rules.items():
            flag = _FLAGS.get(name, f"--{name}")
            if value != usual[name]:
                texts = ",".join(value) if isinstance(value, tuple) else str(value)
                yield from (flag, texts)
        yield from ("--corpora", "DIR") if folder else ()
        yield from ("--manifest", "FILE") * manifests
        if self.pairs:
            yield from ("--pairs", ",".join(f"{p.source}->{p.target}" for p in self.pairs))
        yield from ("--methods", ",".join(self.methods))
        yield from ("--shots", ",".join(map(str, self.shots)), "--seeds", str(self.seeds))
        yield from ("--corruption", ",".join(self.corruptions)) if self.corruptions else ()
        yield from ("--skip-bad",) if self.skip_bad else ()
        for method, own in self.settings.items():
            for name, setting in own.items():
                text = str(setting).lower() if isinstance(setting, bool) else str(setting)
                yield from ("--set", f"{method}.{name}={text}")

    def narrowed(
        self,
        *,
        suite: str,
        pairs: tuple[Pair, ...],
        features: str,
        methods: Collection[str],
        shots: Shots,
        corruption: str = "",
    ) -> Request:
        """What the request asked for one table, without any place on this machine.

        What was left to be chosen from the corpora at hand is named, so that others get the same.

        Args:
            features: the name that the table has, with nothing left open.
            methods: names that the table shows of it.
            corruption: of the table's target, `noise:10`; empty for clean speech. Of a run's
                corruptions only this one is asked for, and clean speech comes with it.
        """
        # others may have more corpora than those that made a custom suite
        open_pairs = is_custom(suite) and self.condition.selection != OTHER_PAIRS
        # manifests stand alone where no suite is named, even if a folder of corpora is known
        alone = is_custom(suite) and not self.condition.suite and bool(self.manifests)
        stored = self.condition.features
        if is_set(stored) or is_local(stored):
            features = portable(stored)
        usual = Request()
        return self.replace(
            **{name: getattr(usual, name) for name in _HERE},
            condition=self.condition.replace(suite="" if alone else suite, features=features),
            pairs=self.pairs or (pairs if open_pairs else ()),
            # a method that is set must be among the methods, and without it the selection had
            # another name
            methods=tuple(dict.fromkeys((*methods, *self.settings))),
            shots=(shots,),
            corruptions=(corruption,) if corruption else (),
        )


_ADAPTER = TypeAdapter(Request)


def parse_settings(assignments: Iterable[str], file: Path | None = None) -> Settings:
    """Read `--params FILE` and `--set METHOD.NAME=VALUE`, which win; SpecError for another form."""
    values: Settings = {} if file is None else read_toml(file)
    for method, table in values.items():
        if not isinstance(table, dict):
            raise SpecError(f"{file}: '{method}' stands outside a table; write it below [METHOD]")
        for name, value in table.items():
            if not isinstance(value, int | float | bool | str):
                raise SpecError(
                    f"{file}: [{method}] {name} must be a number, a boolean or a string"
                )
    for text in assignments:
        place, equals, written = text.partition("=")
        method, dot, name = place.strip().partition(".")
        if not (equals and dot and method and name):
            raise SpecError(f"--set {text!r}: write METHOD.NAME=VALUE, such as dann.steps=400")
        values.setdefault(method, {})[name] = _parse_value(written.strip())
    return values


def _parse_value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def is_local(features: str) -> bool:
    """Whether the name of features leads to a folder or a file of the machine it was written on."""
    return bool(_LOCAL.search(features))
