"""Embeddings before and after adaptation are those of the trial that a run would store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.protocol import Pair
from clser_bench.run.execute import run
from clser_bench.run.inspection import embeddings
from clser_bench.run.request import Request
from clser_bench.train.engine import new_network
from tests.tiny import planned, stored


@pytest.fixture
def asked(config: Callable[..., Request]) -> Request:
    return config(
        methods=("source-only",),
        pairs=(Pair("X", "Y"),),
        seeds=1,
        settings={"source-only": {"steps": 4}},
    )


def test_before_is_the_new_network_and_after_is_what_scored(asked: Request) -> None:
    source, target = embeddings(asked, 0)
    plan = planned(asked)
    (job,) = plan.jobs(plan.trials[0])
    method = registry.create("source-only", {"steps": 4})
    network = new_network(method, job.problem, seed=job.seed, dtype=torch.float32)
    table, _ = job.problem.source.stored_rows(source.rows)
    pooled = torch.from_numpy(np.array(table.instants)).mean(dim=1)[source.rows]
    summary = torch.from_numpy(np.array(table.summary))[source.rows]
    assert isinstance(network.backbone, torch.nn.Module)
    with torch.no_grad():
        fresh = network.backbone(torch.cat([pooled, summary], dim=1))
    np.testing.assert_allclose(source.before, fresh.numpy(), rtol=1e-4, atol=1e-5)
    assert np.abs(source.after - source.before).max() > 1e-3
    # the trained head on the trained embedding gives the stored scores, up to the head's own map:
    run(asked)
    (record,) = stored(asked.results)
    after = np.column_stack([target.after, np.ones(len(target.after))])
    fitted, *_ = np.linalg.lstsq(after, record.scores, rcond=None)
    np.testing.assert_allclose(after @ fitted, record.scores, atol=1e-3)
    assert [target.corpus.utterances[row].name for row in target.rows] == list(record.names)


def test_only_networks_have_embeddings(asked: Request) -> None:
    with pytest.raises(SpecError, match="'logistic' has no network"):
        embeddings(asked.replace(methods=("logistic",), settings={}), 0)
    with pytest.raises(SpecError, match="of one method, got 2"):
        embeddings(asked.replace(methods=("dann", "mcc"), settings={}), 0)


def test_the_command_writes_both_pictures(
    asked: Request, call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorter(request: Request, *rest: Any, **more: Any) -> Any:
        return embeddings(request.replace(settings=asked.settings), *rest, **more)

    monkeypatch.setattr("clser_bench.run.inspection.embeddings", shorter)
    words = ["embeddings", "source-only", "--pair", "X->Y", "--shots", "1"]
    done = call(*words, "--manifest", str(asked.manifests[0]), "--out", str(tmp_path / "figures"))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "embeddings-source-only-X-Y-after.png",
        "embeddings-source-only-X-Y-before.png",
    ]
