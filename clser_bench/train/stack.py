"""k networks as one: parameters flat per part, called under vmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clser_bench.problem import Problem
from clser_bench.train.contract import Shape, State, Trained
from clser_bench.train.sampling import initial_seed


def new_network(method: Trained, problem: Problem, *, seed: int, dtype: torch.dtype) -> nn.Module:
    """Build a trial's network from its own seed; the global random state is left as it was.

    Args:
        method: builds it.
        problem: gives the sizes, and the features that a method may start from.
        seed: of the trial.
        dtype: of the parameters; drawn in float32 whatever it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed(seed))
        network = method.network(Shape.of(problem))
        with torch.no_grad():
            method.start(network, problem)
        return network.to(dtype)


class Caller(nn.Module):
    """Calls any function of a network under `functional_call`, so that parts can be used freely."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(network, *arguments)` with the parameters that are in force."""
        return function(self.network, *arguments)


class Stack:
    """The networks of k trials.

    Parameters are kept flat, [k, p] for each part (top-level child module or parameter): the
    optimiser then works on one tensor a part instead of many.

    Args:
        networks: k networks of the same structure.
        device: where the stacked parameters shall lie.
    """

    def __init__(self, networks: Sequence[nn.Module], *, device: str = "cpu") -> None:
        self.caller = Caller(networks[0])
        self.k = len(networks)
        self._layout: dict[str, list[tuple[str, torch.Size]]] = {}
        self.flat: dict[str, Tensor] = {}
        for name, value in networks[0].named_parameters():
            self._layout.setdefault(name.partition(".")[0], []).append((name, value.shape))
        values = [dict(network.named_parameters()) for network in networks]
        for part, names in self._layout.items():
            rows = [torch.cat([v[name].detach().reshape(-1) for name, _ in names]) for v in values]
            self.flat[part] = torch.stack(rows).to(device)
        buffers = [dict(network.named_buffers()) for network in networks]
        self.buffers = {
            name: torch.stack([b[name] for b in buffers]).to(device) for name in buffers[0]
        }

    def parameters(self) -> dict[str, Tensor]:
        """Views [k, ...] into the flat tensors, by the names that `functional_call` wants."""
        views = {f"network.{name}": value for name, value in self.buffers.items()}
        for part, names in self._layout.items():
            sizes = [shape.numel() for _, shape in names]
            for (name, shape), piece in zip(
                names, torch.split(self.flat[part], sizes, dim=1), strict=True
            ):
                views[f"network.{name}"] = piece.reshape(self.k, *shape)
        return views

    def call(
        self, function: Callable[..., Any], parameters: dict[str, Tensor], *arguments: Any
    ) -> Any:
        """Call `function(network, *arguments)` with one trial's parameters."""
        return functional_call(self.caller, parameters, (function, *arguments))

    def one(self, index: int) -> dict[str, Tensor]:
        """One trial's parameters, detached.

        Args:
            index: which.
        """
        return {name: value[index].detach() for name, value in self.parameters().items()}


def stack_states(states: Sequence[State]) -> State:
    """Stack k carries name by name."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}
