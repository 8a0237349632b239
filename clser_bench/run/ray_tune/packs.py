"""Run packs by Ray Tune: one Tune trial is one pack, and actors are used again.

Ray only schedules. What is finished goes to the caller at once, who stores it; Tune's own
checkpoints and logs are off. On a cluster a pack whose node dies runs again elsewhere; the same
pack gives the same bytes. Measured on two cores: 7 s from the import to the first result, then
0.01 s an empty pack, and 1.4 s to shut down. To be imported inside `quiet.ray_environment`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler

from clser_bench import __version__
from clser_bench.errors import ClserError
from clser_bench.run.local import Done, attempt, failures
from clser_bench.run.packs import Pack
from clser_bench.run.ray_tune.session import folder, session, silence
from clser_bench.run.ray_tune.shipping import Cargo, Unloader, load
from clser_bench.run.where import Where
from clser_bench.train import ENGINE_VERSION

_RETRIES = 3
"""How often a pack is begun again on a cluster when its node or process dies."""

_VERSIONS = (__version__, ENGINE_VERSION)


class PackActor(tune.Trainable):  # type: ignore[misc]
    """A worker process: runs one pack after another."""

    def setup(
        self,
        config: Mapping[str, Any],
        cargo: Cargo | None = None,
        device: str = "cpu",
        versions: tuple[str, int] = _VERSIONS,
        energy: bool = False,
    ) -> None:
        """Take the first pack.

        Args:
            config: `pack` is its number.
            cargo: all packs.
            device: what packs train on.
            versions: of the code that asks; a node with others would give other numbers.
            energy: measure joules.
        """
        if versions != _VERSIONS:
            node = ray.util.get_node_ip_address()
            raise RuntimeError(
                f"node {node} has clser-bench {_VERSIONS[0]} with engine {_VERSIONS[1]}, and the "
                f"run is of {versions[0]} with engine {versions[1]}: install the same on all nodes"
            )
        if cargo is None:
            raise ValueError("an actor needs packs")
        self._unloader = Unloader(cargo)
        self._device = device
        self._energy = energy
        self._number: int = config["pack"]

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Take the next pack, in the same process."""
        self._number = new_config["pack"]
        return True

    def step(self) -> dict[str, Any]:
        """Run the pack; one step is the whole of it."""
        jobs = self._unloader.jobs(self._number)
        return {"outcomes": attempt(jobs, device=self._device, energy=self._energy), "done": True}


class _Relay(tune.Callback):  # type: ignore[misc]
    """Hands each pack's outcomes over in the driver, the moment they arrive."""

    def __init__(self, packs: Sequence[Pack], done: Done) -> None:
        self._packs = packs
        self._done = done
        self.error: ClserError | None = None

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        # Taken out, so that Tune does not keep the predictions of every pack to the end.
        self._hand_over(trial, result.pop("outcomes"))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        jobs = self._packs[trial.config["pack"]].jobs
        reason = f"the process that ran this pack died: {trial.get_error()}"
        self._hand_over(trial, failures(jobs, reason))

    def _hand_over(self, trial: Any, outcomes: Sequence[Any]) -> None:
        try:
            self._done(self._packs[trial.config["pack"]], outcomes)
        except ClserError as error:
            self.error = error  # Tune would turn it into an error of its own
            raise


class _InOrder(FIFOScheduler):  # type: ignore[misc]
    """Starts trials in their order.

    Tune's own FIFO hands a free actor to the oldest waiting trial even while that trial's own
    actor is starting, which it then kills: with short packs one worker did all the work.
    """

    def choose_trial_to_run(self, *_: Any, **__: Any) -> None:
        """Leave the choice to the controller: first come, first served."""


def run_packs(packs: Sequence[Pack], *, where: Where, done: Done) -> None:
    """Run packs in worker processes and hand over what came of each as soon as it arrives.

    Args:
        packs: in the order in which they are started.
        where: this machine or a cluster.
        done: called in this process after each pack.

    Raises:
        SpecError: the cluster is not there, or has not what packs need.
        ClserError: as `done` raised it.
    """
    relay = _Relay(packs, done)
    with silence(), folder() as place, session(where, place) as slots:
        cargo = load(packs, cluster=bool(where.address))
        try:
            tune.run(
                tune.with_parameters(
                    PackActor,
                    cargo=cargo,
                    device=where.device,
                    versions=_VERSIONS,
                    energy=where.energy,
                ),
                name="packs",
                config={"pack": tune.grid_search(list(range(len(packs))))},
                resources_per_trial={"cpu": 1, "gpu": where.gpus},
                max_concurrent_trials=slots,
                max_failures=_RETRIES if where.address else 0,
                scheduler=_InOrder(),
                callbacks=[relay],
                reuse_actors=True,
                raise_on_failed_trial=False,
                storage_path=place,
                verbose=0,
            )
        except TuneError:
            if relay.error is not None:
                raise relay.error from None
            raise
