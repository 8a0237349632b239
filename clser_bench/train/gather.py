"""Rows of feature tables as tensors: shared by all trials of a process, gathered per step."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clser_bench.problem import Rows, Table
from clser_bench.train.contract import View


@dataclass(frozen=True, eq=False)
class Bank:
    """A table's arrays as float32 tensors over the same memory, with the pooled instants.

    Attributes:
        instants: [n, t, d].
        pooled: [n, d].
        summary: [n, f].
    """

    instants: Tensor
    pooled: Tensor
    summary: Tensor


@functools.lru_cache(maxsize=32)
def bank_of(table: Table, device: str = "cpu") -> Bank:
    """Wrap a table; it is pooled, and copied to a device, once per process.

    Args:
        table: the table.
        device: where the tensors shall lie; on the CPU they share the table's memory.
    """
    if device != "cpu":
        host = bank_of(table)
        return Bank(*(part.to(device) for part in (host.instants, host.pooled, host.summary)))
    pooled = np.asarray(table.instants).mean(axis=1, dtype=np.float64).astype(np.float32)
    return Bank(_shared(table.instants), torch.from_numpy(pooled), _shared(table.summary))


def gather(
    tables: Sequence[Table],
    rows: Sequence[Rows],
    *,
    instants: bool,
    dtype: torch.dtype,
    device: str = "cpu",
) -> View:
    """Stack the given rows of each trial's table.

    Neighbouring trials that share a table are gathered in one call.

    Args:
        tables: k tables of equal feature sizes.
        rows: k arrays of b rows.
        instants: whether instants are wanted.
        dtype: of the result.
        device: of the result.

    Returns:
        A view with [k, b, t, d], [k, b, d], [k, b, f].
    """
    pieces: list[tuple[Tensor, Tensor, Tensor]] = []
    start = 0
    while start < len(tables):
        stop = start
        while stop < len(tables) and tables[stop] is tables[start]:
            stop += 1
        pieces.append(
            _rows_of(bank_of(tables[start], device), np.stack(rows[start:stop]), instants=instants)
        )
        start = stop
    joined = [
        torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True)
    ]
    return View(*(part.to(dtype) for part in joined))


def rows_view(
    table: Table, rows: Rows, *, instants: bool, dtype: torch.dtype, device: str = "cpu"
) -> View:
    """Some rows of one table, without the trial axis.

    Args:
        table: the table.
        rows: int64 [b].
        instants: whether instants are wanted.
        dtype: of the result.
        device: of the result.
    """
    view = gather([table], [rows], instants=instants, dtype=dtype, device=device)
    return View(*(part[0] for part in view))


def no_rows(view: View) -> View:
    """The same view with no utterances, for parts that a phase does not see."""
    return View(*(part[:, :0] for part in view))


def _rows_of(bank: Bank, rows: Rows, *, instants: bool) -> tuple[Tensor, Tensor, Tensor]:
    index = torch.from_numpy(rows.reshape(-1)).to(bank.summary.device)
    shape = rows.shape
    if instants:
        moments = bank.instants.index_select(0, index)
    else:
        moments = bank.instants.new_zeros((len(index), 0, bank.instants.shape[2]))
    return (
        moments.reshape(*shape, *moments.shape[1:]),
        bank.pooled.index_select(0, index).reshape(*shape, bank.pooled.shape[1]),
        bank.summary.index_select(0, index).reshape(*shape, bank.summary.shape[1]),
    )


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        # Tables are read-only and stay so: nothing here writes into them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))
