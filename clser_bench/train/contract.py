"""The plugin contract: the declarations of a method and the data that the engine hands it.

A *fitted* method implements `fit_predict`. A *trained* method is plain one-trial PyTorch; the
engine trains many trials of it at once. docs/own-method.md says what works under vmap.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clser_bench.errors import SpecError
from clser_bench.nn.backbone import SharedClassifier
from clser_bench.problem import Problem, Value
from clser_bench.registry import Range, hyper

Part = Literal["labelled", "source", "target"]
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes that a network is built for."""

    c: int  # classes
    t: int  # instants of an utterance
    d: int  # values of an instant of the source
    f: int  # values of a summary of the source
    d_target: int  # values of an instant of the target; equal to `d` unless encoders differ
    f_target: int  # values of a summary of the target

    @classmethod
    def of(cls, problem: Problem) -> Shape:
        """The sizes of a problem."""
        t, d, f = problem.source.sizes
        _, d_target, f_target = problem.target.sizes
        return cls(c=len(problem.classes), t=t, d=d, f=f, d_target=d_target, f_target=f_target)

    @property
    def equal(self) -> bool:
        """Whether source and target have the same sizes."""
        return (self.d, self.f) == (self.d_target, self.f_target)


class View(NamedTuple):
    """Features of some utterances of one side."""

    instants: Tensor  # [b, t, d]; t is 0 unless the method asks for instants
    # [b, d + f], the mean over instants beside the summary: they lie in memory as a network wants
    # them, since a copy costs a wide pack as much as a layer
    values: Tensor

    @property
    def pooled(self) -> Tensor:
        """[b, d], the mean over instants."""
        return self.values[..., : self.instants.shape[-1]]

    @property
    def summary(self) -> Tensor:
        """[b, f]."""
        return self.values[..., self.instants.shape[-1] :]


def join(*views: View) -> View:
    """Views of one trial as one, so that a network is called once for all of them."""
    return View(*map(torch.cat, zip(*views, strict=True)))


class Batch(NamedTuple):
    """The data of one step of one trial. Parts that a phase does not use have no rows.

    `update_carry` is given the parts that the method uses.
    """

    labelled: View  # class-balanced labelled source utterances
    y: Tensor  # [m], their classes
    source: View  # source utterances, labels withheld
    target: View  # target utterances
    weak: View  # the same with a little noise; no rows unless the method asks for views
    strong: View  # the same with much noise and erased spans; likewise
    state: State  # what `update_pseudo_labels` returned, at the rows of `target`
    noise: Tensor  # [s] standard normal numbers, s as `noise_size` asked
    progress: float = 0.0  # share of training done, 0 to below 1
    # what `initial_carry` and `update_carry` returned
    carry: State = {}  # noqa: RUF012 (never written to)


class Support(NamedTuple):
    """The labelled utterances of a trial, which an embedding may depend on, and the carry."""

    view: View  # every labelled utterance
    y: Tensor  # [m], their classes
    carry: State  # as in a batch


class Embedded(NamedTuple):
    """Embeddings and scores of some utterances."""

    embedding: Tensor  # [n, e]
    scores: Tensor  # [n, c], larger is likelier


class Snapshot(NamedTuple):
    """All labelled and all target utterances as the network embeds them at one step."""

    labelled: Embedded  # every labelled row
    y: Tensor  # [m], their classes
    target: Embedded  # every row to adapt to
    progress: float  # share of training done; 1 at the end
    rng: np.random.Generator  # the trial's own generator


@dataclass(frozen=True)
class Phase:
    """One optimiser step that is repeated over a stretch of training."""

    loss: str = "loss"  # name of the method's function `(network, batch) -> scalar`
    # the network's top-level parts (child modules or parameters) that are stepped; empty for all.
    # Each part has its own step counter
    trains: tuple[str, ...] = ()
    repeat: int = 1  # how many times in a row on the same batch
    start: float = 0.0  # share of training at which it begins
    stop: float = 1.0  # share of training at which it ends
    reset_optimiser: bool = False  # forget the moments of its parts when it begins
    # whether the L2 penalty acts. In a step whose loss is small it would be nearly all of the
    # gradient, and Adam would take it at full size
    penalised: bool = True
    # the parts of the batch that it is given; empty for all that the method uses
    uses: tuple[Part, ...] = ()

    def active(self, step: int, steps: int) -> bool:
        """Whether it runs at a step."""
        return self.first(steps) <= step < round(self.stop * steps)

    def first(self, steps: int) -> int:
        """The step at which it begins."""
        return round(self.start * steps)


POINTS = 12  # the most points of a selection, for every method the same (docs/protocol.md)
Prior = Literal["none", "uniform", "estimated"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """The declarations of a method. Fields are hyper-parameters, made with `hyper`.

    `uses` and `assumes_prior` are class attributes, or properties where they depend on fields.
    """

    kind: ClassVar[Literal["fitted", "trained"]]  # `fitted` or `trained`
    title: ClassVar[str] = ""  # its name in tables where that is not the registered one
    # what of the paper is kept, in one sentence, where that is less than the method
    keeps: ClassVar[str] = ""
    registered_name: ClassVar[str]
    version: ClassVar[int]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    # whether the same labelled rows always give the same scores
    deterministic: ClassVar[bool] = False
    # `ranked`, or `bound` for rows that are no competitors
    role: ClassVar[Literal["ranked", "bound"]] = "ranked"
    note: ClassVar[str] = ""  # printed under every table the method stands in
    unequal_sizes: ClassVar[bool] = False  # whether source and target features may differ in size
    # whether it needs instants; otherwise it is given pooled ones only
    inputs_instants: ClassVar[bool] = False
    # what `clser-bench sweep --space NAME` varies: for each hyper-parameter a text such as
    # `0.1:0.9`, `log:0.01:1` or `5,10,20` (the grammar of `run/space.py`)
    spaces: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            name, value = f"{type(self).__name__}.{field.name}", getattr(self, field.name)
            field.metadata["range"].check(name, value)
            if isinstance(field.default, bool) and not isinstance(value, bool):
                raise SpecError(f"{name}={value!r}: write true or false")
            if isinstance(field.default, int) and isinstance(value, float):
                raise SpecError(f"{name}={value!r}: a whole number is needed")

    @property
    def uses(self) -> tuple[Part, ...]:
        """The data it uses: labelled source, unlabelled source, unlabelled target."""
        return ("labelled", "source", "target")

    @property
    def assumes_prior(self) -> Prior:
        """The assumption about the target's class shares."""
        return "none"

    @classmethod
    def ranges(cls) -> dict[str, Range]:
        """The hyper-parameters with their ranges, in the order of declaration."""
        return {field.name: field.metadata["range"] for field in dataclasses.fields(cls)}

    @classmethod
    def real(cls) -> tuple[str, ...]:
        """Names of the real-valued hyper-parameters, which may differ within a pack."""
        return tuple(f.name for f in dataclasses.fields(cls) if isinstance(f.default, float))

    @classmethod
    def grid(cls) -> dict[str, tuple[Value, ...]]:
        """The values that a selection tries, the default among them; at most `POINTS` together."""
        return {name: span.grid for name, span in cls.ranges().items() if span.grid}

    def parameters(self) -> tuple[tuple[str, Value], ...]:
        """Hyper-parameters sorted by name; real ones as floats."""
        real = self.real()
        values = {name: getattr(self, name) for name in self.ranges()}
        return tuple((k, float(v) if k in real else v) for k, v in sorted(values.items()))

    @classmethod
    def points(
        cls, preset: Mapping[str, Value] | None = None, *, fixed: Collection[str] = ()
    ) -> tuple[dict[str, Value], ...]:
        """What a selection chooses from: the shipped point (empty) first, then the grid's others.

        Each is the hyper-parameters to set; `preset` are those that a preset sets, and `fixed` the
        names that the user set, which leave the grid.
        """
        shipped = {
            name: (preset or {}).get(name, getattr(cls, name))
            for name in cls.grid()
            if name not in fixed
        }
        values = itertools.product(*(cls.grid()[name] for name in shipped))
        points = [dict(zip(shipped, chosen, strict=True)) for chosen in values]
        return ({}, *(point for point in points if point != shipped))

    def not_applicable(self, problem: Problem) -> str:
        """The reason why the method does not apply to a problem; empty where it does."""
        if not self.unequal_sizes and not Shape.of(problem).equal:
            return (
                "needs source and target features of the same size, and the alignment (--align) "
                "has not brought them together"
            )
        return ""


@dataclass(frozen=True, kw_only=True)
class Fitted(Method):
    """A method in closed form or from a library."""

    kind: ClassVar[Literal["fitted", "trained"]] = "fitted"
    front: ClassVar[Literal["none", "axes", "within", "axes-within"]] = "none"

    def fit_predict(self, problem: Problem, rng: np.random.Generator) -> Float[np.ndarray, "n c"]:
        """Score the problem's `scored` rows: larger is likelier, on any finite scale."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Trained(Method):
    """A method trained by gradient steps.

    Its fields here are the budget that all trained methods share.
    """

    kind: ClassVar[Literal["fitted", "trained"]] = "trained"
    # whether `vmap` can run its losses; otherwise its trials are trained one by one
    packable: ClassVar[bool] = True
    # values of hyper-parameters that switch the adaptation off, such as `{"adversary_weight":
    # 0.0}`: the method itself without what it adds to the source
    control: ClassVar[Mapping[str, Value]] = {}
    views: ClassVar[bool] = False  # whether batches hold noisy views of the target

    steps: int = hyper(100, low=1, high=100_000, about="optimiser steps (batches)")
    learning_rate: float = hyper(1e-3, low=1e-6, high=1.0, log=True, about="of Adam, at the start")
    weight_decay: float = hyper(0.03, low=0.0, high=10.0, about="L2 penalty, in the gradient")
    input_dropout: float = hyper(0.5, low=0.0, high=0.95, about="share of inputs set to zero")
    decay: str = hyper("cosine", choices=("none", "cosine"), about="of the learning rate, to zero")
    labelled_batch: int = hyper(8, low=1, high=4096, about="labelled utterances per class, at most")
    source_batch: int = hyper(64, low=1, high=65536, about="source utterances without labels")
    target_batch: int = hyper(64, low=1, high=65536, about="target utterances")

    @property
    def refresh_every(self) -> int:
        """Steps between two calls of `update_pseudo_labels`; 0 for never."""
        return 0

    def network(self, shape: Shape) -> nn.Module:
        """Build one trial's network; parameters drawn from torch's default generator.

        Default: the shared backbone with a linear head.
        """
        return SharedClassifier(shape.d, shape.f, shape.c)

    def start(self, network: Any, problem: Problem) -> None:
        """Set the network's parameters (float32) from the features, in place; once, at first.

        The problem's labels are not to be used: a start is for geometry.
        """

    def phases(self) -> tuple[Phase, ...]:
        """The optimiser steps of a training step, in order."""
        return (Phase(),)

    def loss(self, network: Any, batch: Batch) -> Float[Tensor, ""]:
        """The loss of one trial on one batch."""
        raise NotImplementedError

    def initial_carry(self, network: Any) -> State:
        """Tensors kept between steps outside the optimiser (moving averages, teachers)."""
        return {}

    def update_carry(self, network: Any, batch: Batch) -> State:
        """The carry after a step; pure."""
        return batch.carry

    def update_pseudo_labels(self, snapshot: Snapshot) -> State:
        """Row-indexed tensors [n, ...] from the whole target, every `refresh_every` steps.

        Called per trial, outside vmap; later batches get the rows they need as `batch.state`.
        """
        return {}

    def embed(self, network: Any, view: View, support: Support, *, target: bool) -> Embedded:
        """Embeddings and scores of some utterances; the scores of the target are the result.

        Default: the network's `embed` and the network itself.

        `view` is a chunk of one side; `target` says which, where a network treats them differently.
        """
        return Embedded(network.embed(view), network(view))

    def predict(self, scored: Embedded, snapshot: Snapshot) -> Float[Tensor, "n c"]:
        """Scores from all of the target after training; called once per trial, outside vmap.

        Default: the scores that `embed` gave. A method that overrides this may use the rows to
        adapt to together; of `scored` it must treat each row by itself, for in the inductive
        setting these are other rows.

        `scored` is the same as `snapshot.target` in the transductive setting.
        """
        return scored.scores

    def plot_embedding(self, embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n e2"]:
        """The columns of an embedding that a picture shows; all of them."""
        return embedding

    def noise_size(self, shape: Shape) -> int:
        """How many normal numbers `batch.noise` shall hold."""
        return 0


@dataclass(frozen=True, kw_only=True)
class SourceFree(Trained):
    """The course that source-free methods share: a source model, then its features on the target.

    In the second part the head stays as the source left it and only the backbone is trained, on
    `target_loss`; its optimiser starts anew. Row-indexed states come from `update_pseudo_labels`.
    """

    uses: ClassVar[tuple[Part, ...]] = ("labelled", "target")

    source_percent: int = hyper(50, low=1, high=99, about="of the steps, on the source alone")
    update_every: int = hyper(20, low=1, high=100_000, about="steps between two target snapshots")

    @property
    def refresh_every(self) -> int:
        """Steps between two snapshots of the target."""
        return self.update_every

    def phases(self) -> tuple[Phase, ...]:
        """First the source without the target, then the target without the source."""
        change = self.source_percent / 100
        return (
            Phase(loss="source_loss", stop=change, uses=("labelled",)),
            Phase(
                loss="target_loss",
                trains=("backbone",),
                start=change,
                reset_optimiser=True,
                uses=("target",),
            ),
        )

    def source_loss(self, network: Any, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy of the labelled batch."""
        return cross_entropy(network(batch.labelled), batch.y)

    def target_loss(self, network: Any, batch: Batch) -> Float[Tensor, ""]:
        """The loss of the second part, on `batch.target` and `batch.state`."""
        raise NotImplementedError


def bind(method: Trained, values: Mapping[str, Tensor]) -> Trained:
    """A copy of a method whose real hyper-parameters are 0-d tensors, unchecked."""
    copy = object.__new__(type(method))
    for field in dataclasses.fields(method):
        object.__setattr__(copy, field.name, values.get(field.name, getattr(method, field.name)))
    return copy


def check_phases(method: Trained, network: nn.Module) -> tuple[Phase, ...]:
    """The method's phases, after a check of their names, each with the parts that it uses.

    SpecError where a phase names a loss or a part that does not exist, or uses what the method does
    not.
    """
    parts = {name.partition(".")[0] for name, _ in network.named_parameters()}
    for phase in method.phases():
        if not callable(getattr(method, phase.loss, None)):
            raise SpecError(
                f"{type(method).__name__}: phase names the loss '{phase.loss}', which it has not"
            )
        for part in phase.trains:
            if part not in parts:
                what = f"phase trains '{part}', but the network has {sorted(parts)}"
                raise SpecError(f"{type(method).__name__}: {what}")
        if not set(phase.uses) <= set(method.uses):
            raise SpecError(
                f"{type(method).__name__}: phase uses {phase.uses}, the method {method.uses}"
            )
    return tuple(
        dataclasses.replace(phase, uses=phase.uses or method.uses) for phase in method.phases()
    )
