"""An evaluation's folder: whose it is, and which problems are finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lens_core.config import EvaluationConfig, flattened
from lens_core.data.problem import Problem
from lens_core.errors import LensError
from lens_core.evaluation.files import EVALUATION_FILE, ROLLOUTS_FILE
from lens_core.evaluation.records import ProblemResult, parse_result
from lens_core.files import append_lines, require_regular, write_json

_FREE = {"ks", "batch_size", "traces"}
"""Settings that completions do not depend on."""


class Design(BaseModel):
    """All that an evaluation's completions depend on, as `evaluation.json` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Folder or hub name, as it was given."""
    model_identity: str
    """SHA-256 of the policy's files, or a hub's commit."""
    data: str
    """File of the problems."""
    data_digest: str
    """SHA-256 of it."""
    settings: dict[str, Any]
    """The `evaluation` section, with the engine that was chosen, without what completions do not depend on."""


def settings_of(config: EvaluationConfig, engine: str) -> dict[str, Any]:
    """What two evaluations must share to be of one kind; `ks` may differ, they only sum up."""
    return {**config.model_dump(mode="json", exclude=_FREE), "engine": engine}


def claim(output: Path, design: Design) -> None:
    """Write `evaluation.json` into `output`.

    Raises:
        LensError: if `output` holds completions of another model or other problems, or that were drawn otherwise.
    """
    path, rollouts = output / EVALUATION_FILE, output / ROLLOUTS_FILE
    if rollouts.exists() and rollouts.stat().st_size:
        difference = _difference(read_design(output), design)
        if difference:
            raise LensError(f"{output} holds the evaluation of {difference}: choose another folder, or delete this one")
    write_json(path, design.model_dump(mode="json"))


def read_design(folder: Path) -> Design:
    """The `evaluation.json` of a folder.

    Raises:
        LensError: if there is none, or it cannot be read.
    """
    path = folder / EVALUATION_FILE
    require_regular(path)
    try:
        return Design.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LensError(f"{folder} is no evaluation's folder: {path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise LensError(f"{path} does not describe an evaluation: choose another folder, or delete this one") from error


def finished(output: Path, problems: Sequence[Problem]) -> list[ProblemResult]:
    """The results that `output` holds, those of the first of `problems`; a torn last line is cut off its file.

    Raises:
        LensError: if they are not those of these problems.
    """
    path = output / ROLLOUTS_FILE
    if not path.exists():
        return []
    require_regular(path)
    results = []
    with path.open("rb+") as file:
        end = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            results.append(parse_result(line, f"{path}:{number}"))
            end += len(line)
        file.truncate(end)
    if [result.problem for result in results] != [problem.id for problem in problems[: len(results)]]:
        raise LensError(f"{path} does not hold the results of these problems in their order: delete it")
    return results


def append(output: Path, batches: Iterator[list[ProblemResult]]) -> Iterator[list[ProblemResult]]:
    """Write each batch of results to `output` and yield it: what was yielded is on disk, whole.

    Raises:
        LensError: if it cannot be written.
    """
    path = output / ROLLOUTS_FILE
    for batch in batches:
        # In one write: batches are whole after a kill, too, and what is left is decoded together as it would have been.
        try:
            append_lines(path, [result.model_dump_json() for result in batch])
        except OSError as error:
            raise LensError(
                f"{path} cannot be written ({error.strerror}): what is in it is kept, and the same command goes on"
            ) from error
        yield batch


def _difference(held: Design, wanted: Design) -> str:
    """What `held` is of, where it is of something else."""
    if held.model_identity != wanted.model_identity:
        return f"another model ({held.model})"
    if held.data_digest != wanted.data_digest:
        return f"other problems ({held.data})"
    others = differing_settings(held, wanted)
    return f"other settings ({', '.join(f'{name} {value}' for name, (value, _) in others.items())})" if others else ""


def differing_settings(one: Design, other: Design) -> dict[str, tuple[Any, Any]]:
    """The settings in which two evaluations differ: key path -> (one's, the other's).

    A setting that a design lacks, because an earlier release wrote it, counts as its default.
    """
    a, b = _whole_settings(one), _whole_settings(other)
    return {path: (a.get(path), b.get(path)) for path in {**a, **b} if a.get(path) != b.get(path)}


def _whole_settings(design: Design) -> dict[str, Any]:
    """By key path. Not validated: that would import a verifier which this machine may not have."""
    any_length = 1  # required, so that every design has its own
    defaults = EvaluationConfig(max_new_tokens=any_length).model_dump(mode="json", exclude=_FREE)
    return flattened(defaults) | flattened(design.settings)
