"""A run in MLflow, and what can be said in it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_core.config import flattened
from lens_core.credentials import masked

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MAX_PARAM_CHARACTERS = 6000
_MAX_DIGEST_CHARACTERS = 36

Status = Literal["FINISHED", "FAILED", "KILLED"]


class StageRun:
    """A run, of a stage or of a whole pipeline."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    @cached_property
    def _info(self) -> Any:
        return self.client.get_run(self.run_id).info

    @property
    def experiment_id(self) -> str:
        return str(self._info.experiment_id)

    @property
    def started_s(self) -> float:
        """Seconds since 1970."""
        return float(self._info.start_time) / 1000

    def params(self, values: Mapping[str, Any]) -> None:
        """Log a nested mapping as flat parameters, `train.steps` and so on.

        MLflow never changes a parameter: what a resumed run has otherwise becomes a tag, `resumed.train.steps`.
        """
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        flat = {key: masked(str(value))[:_MAX_PARAM_CHARACTERS] for key, value in flattened(values).items()}
        new = [Param(key, value) for key, value in flat.items() if key not in known]
        for start in range(0, len(new), 100):  # the server takes at most 100 at once
            self.client.log_batch(self.run_id, params=new[start : start + 100])
        changed = {f"resumed.{key}": value for key, value in flat.items() if known.get(key, value) != value}
        if changed:
            self.tags(changed)

    def metrics(
        self, values: Mapping[str, float], step: int = 0, model: str | None = None, *, at_s: float | None = None
    ) -> None:
        """Log the finite numbers; NaN says that there was nothing to measure, and MLflow's stores distort it.

        Args:
            model: id of the logged model that the numbers are about.
            at_s: when they were measured, in seconds since 1970; None: now. The same numbers with the same time are
                logged once, however often they are sent.
        """
        from mlflow.entities import Metric

        at_ms = int((time.time() if at_s is None else at_s) * 1000)
        finite = [
            Metric(key, value, at_ms, step, model_id=model) for key, value in values.items() if math.isfinite(value)
        ]
        self.client.log_batch(self.run_id, metrics=finite)

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, masked(value)) for key, value in values.items()])

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file, or a folder with what is in it."""
        upload = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        upload(self.run_id, str(path), folder)

    def dataset(self, path: Path, sha256: str, context: str, rows: int | None = None) -> None:
        """Record a data set that the stage made or read; `sha256` in full is a tag, for MLflow's own field is short."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": path.absolute().as_uri()})
        profile = None if rows is None else json.dumps({"num_rows": rows})
        entity = Dataset(path.name, sha256[:_MAX_DIGEST_CHARACTERS], "local", source, profile=profile)
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])
        self.tags({f"data.{context}.sha256": sha256})

    def end(self, status: Status) -> None:
        self.client.set_terminated(self.run_id, status)
