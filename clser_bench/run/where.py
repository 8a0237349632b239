"""Where packs run."""

from __future__ import annotations

from dataclasses import dataclass

from clser_bench.errors import SpecError
from clser_bench.features.workers import cores
from clser_bench.run.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Where:
    """The means of a run.

    Attributes:
        workers: packs at once, at most; 0 for as many as a cluster has room for.
        address: of a Ray cluster to join; empty to start Ray on this machine.
        gpus: share of a GPU for each pack; 0 to train on the CPU.
        energy: whether packs are to measure joules.
    """

    workers: int
    address: str = ""
    gpus: float = 0.0
    energy: bool = False

    @property
    def device(self) -> str:
        """What packs train on."""
        return "cuda" if self.gpus else "cpu"


def where(config: RunConfig, packs: int) -> Where:
    """The means that a request names.

    Args:
        config: the request.
        packs: how many are to run.

    Raises:
        SpecError: packs are to train on GPUs, and this machine has none.
    """
    if config.gpus_per_pack and not config.ray_address and packs:
        import torch  # noqa: PLC0415 (a second)

        if not torch.cuda.is_available():
            raise SpecError(
                f"--gpus-per-pack {config.gpus_per_pack:g}: torch finds no GPU on this machine "
                "(see `clser-bench doctor`); leave the option out to train on the CPU"
            )
    own = 0 if config.ray_address else cores()
    workers = config.workers or own
    return Where(
        workers=min(workers, packs) if workers else 0,
        address=config.ray_address,
        gpus=config.gpus_per_pack,
        energy=config.energy,
    )
