"""Policies in MLflow: logged models that Pass@k is linked to, and the registry's champions."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lens_core.errors import LensError
from lens_core.files import read_json
from lens_core.tracking.store import equals

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from lens_core.tracking.run import StageRun

CHAMPION = "champion"
MODEL_CARD_FILE, COUNTS_FILE = "README.md", "counts.json"
WEIGHTS_TAG = "lens.weights"
_STEP_TAG = "lens.step"
_EVALUATION_TAG = "lens.evaluation_run"
Weights = Literal["reference", "upload"]


@dataclass(frozen=True)
class Champion:
    """The version that a registered model's alias `champion` stands for."""

    version: str
    data_digest: str
    """SHA-256 of the problems that it was evaluated on."""
    counts: Mapping[str, tuple[int, int]]
    """Problem -> (graded answers, right ones)."""


def log_policy(run: StageRun, name: str, policy: Path, step: int | None = None) -> str:
    """Log `policy` as a model that `run` has made, once, and return its id. The weights stay where they are.

    Args:
        step: of a checkpoint; None: the policy that the run ends with.
    """
    from mlflow.entities import LoggedModelOutput

    found = find_policy(run, run.run_id, step)
    if found is not None:
        return found
    tags = {WEIGHTS_TAG: policy.absolute().as_uri(), _STEP_TAG: _step(step)}
    model = run.client.create_logged_model(run.experiment_id, _title(name), run.run_id, tags, model_type="policy")
    for file in ("config.json", "generation_config.json"):
        if (policy / file).exists():
            run.client.log_model_artifact(model.model_id, str(policy / file))
    run.client.finalize_logged_model(model.model_id, "READY")
    run.client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, 0 if step is None else step)])
    return str(model.model_id)


def _title(name: str) -> str:
    """What MLflow takes for the name of a logged model, which is for people: policies are found by their run."""
    return re.sub(r"""[/:.%"']""", "-", name) or "policy"


def find_policy(run: StageRun, source_run: str, step: int | None = None) -> str | None:
    """Id of the model that `source_run` has made, in the store and experiment of `run`."""
    models = run.client.search_logged_models([run.experiment_id], equals("source_run_id", source_run))
    return next((str(model.model_id) for model in models if model.tags.get(_STEP_TAG) == _step(step)), None)


def use_policy(run: StageRun, name: str, policy: Path, source_run: str | None) -> str:
    """Id of the model that `source_run` made of `policy`, as an input of `run`; logged now where there is none."""
    from mlflow.entities import LoggedModelInput

    found = None if source_run is None else find_policy(run, source_run)
    if found is None:
        return log_policy(run, name, policy)
    run.client.log_inputs(run.run_id, models=[LoggedModelInput(found)])
    return found


def origin_of(run: StageRun, source_run: str | None) -> dict[str, str]:
    """Tags of the run that a policy was trained in; nothing where the store of `run` does not have it."""
    from mlflow.exceptions import MlflowException

    if source_run is None:
        return {}
    try:
        return dict(run.client.get_run(source_run).data.tags)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def _step(step: int | None) -> str:
    return "last" if step is None else str(step)


def champion_of(run: StageRun, name: str) -> Champion | None:
    """The champion of the registered model `name`; None where there is none yet.

    Raises:
        LensError: if it was registered by other means, so that nothing says how good it is.
    """
    version = _aliased(run, name)
    if version is None:
        return None
    evaluation = version.tags.get(_EVALUATION_TAG)
    if evaluation is None:
        raise LensError(
            f"version {version.version} of {name}, its champion, was not registered by lens, so that nothing says how "
            "good it is: give the folder of its evaluation as --against"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = run.client.download_artifacts(evaluation, COUNTS_FILE, folder)
        stored = read_json(Path(path))
    counts = {problem: (n, correct) for problem, (n, correct) in stored["counts"].items()}
    return Champion(str(version.version), stored["data_digest"], counts)


def _aliased(run: StageRun, name: str) -> ModelVersion | None:
    from mlflow.exceptions import MlflowException

    try:
        return run.client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no such model; no such alias
            return None
        raise


def log_counts(run: StageRun, data_digest: str, counts: Mapping[str, tuple[int, int]]) -> None:
    """What a later candidate is compared with, problem by problem."""
    run.client.log_dict(run.run_id, {"data_digest": data_digest, "counts": dict(counts)}, COUNTS_FILE)


def register_champion(
    run: StageRun, name: str, model: str, policy: Path, card: str, weights: Weights, tags: Mapping[str, str]
) -> str:
    """Register the logged model as the next version of `name`, alias `champion`, and return the version.

    Args:
        run: the run that `log_counts` was called for.
        card: the version's description and, as README.md, the first of its files.
        weights: `reference` notes where they lie, `upload` puts the policy's files into MLflow's artifact store.
    """
    client = run.client
    if weights == "upload":
        # Through a server's proxy too, a large file goes in parts; MLflow falls back where the store cannot do that.
        os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
        for file in policy_files(policy):
            client.log_model_artifact(model, str(file))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_CARD_FILE
        path.write_text(card, encoding="utf-8")
        client.log_model_artifact(model, str(path))
    if not client.search_registered_models(equals("name", name)):
        client.create_registered_model(name, description=f"Policies of {name}; the alias `{CHAMPION}` is the best.")
    logged = client.get_logged_model(model)
    version = client.create_model_version(
        name,
        logged.artifact_location,  # `models:/ID` would be looked up in the process's store and not in the client's
        run_id=logged.source_run_id,
        tags={**tags, _EVALUATION_TAG: run.run_id, WEIGHTS_TAG: _place(name, policy, weights)},
        description=_description(card),
        model_id=model,
    )
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return str(version.version)


def _description(card: str) -> str:
    """The card without its metadata, which the UI would print, and with room in tables, where the UI leaves none."""
    return card.split("---\n", 2)[-1].strip().replace(" | ", " | &ensp;")


def policy_files(policy: Path) -> list[Path]:
    """The files of a policy in Hugging Face format; checkpoints and data lie in folders below it."""
    return sorted(each for each in policy.iterdir() if each.is_file() and each.name != MODEL_CARD_FILE)


def _place(name: str, policy: Path, weights: Weights) -> str:
    return policy.absolute().as_uri() if weights == "reference" else f"models:/{name}@{CHAMPION}"
