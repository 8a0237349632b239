"""Which jobs may share a pack, and how many."""

from __future__ import annotations

from clser_bench.hashing import digest
from clser_bench.problem import Job
from clser_bench.registry import create
from clser_bench.train.contract import Shape, Trained
from clser_bench.train.sampling import per_class

FITTED_LIMIT = 64
"""Fitted jobs run one after the other; a pack of them only saves messages."""

TRAINED_LIMIT = 16
"""Measured by benchmarks/packing.py (results/speed/packing.md): on one core both a small network
(DANN) and one bound by arithmetic (SERE) are fastest near 16; beyond, batches leave the caches."""


def group_key(job: Job) -> str:
    """The group of a job: jobs of one group have tensors of the same shapes.

    Args:
        job: any job.

    Returns:
        A hash of the method, its structural hyper-parameters and all sizes.
    """
    method = create(job.method, dict(job.parameters))
    shape = Shape.of(job.problem)
    real = method.real()
    structure = [[name, value] for name, value in job.parameters if name not in real]
    sizes = [shape.c, shape.t, shape.d, shape.f, shape.d_target, shape.f_target]
    if isinstance(method, Trained):
        sizes.append(per_class(job.problem, method.labelled_batch))
    return digest([job.method, structure, sizes])


GPU_LIMIT = 1024
"""On a GPU a step costs the same for few trials as for many; what memory does not hold is halved
(`execute`)."""


def pack_limit(job: Job, *, gpu: bool = False) -> int:
    """The most jobs that a pack of this job's group should hold.

    Args:
        job: any job of the group.
        gpu: whether packs train on a GPU.
    """
    method = create(job.method, dict(job.parameters))
    if not isinstance(method, Trained):
        return FITTED_LIMIT
    if not method.packable:
        return 1
    return GPU_LIMIT if gpu else TRAINED_LIMIT
