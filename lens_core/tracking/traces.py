"""Answers as MLflow traces: a table of them in the UI, which can be filtered by verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lens_core.tracking.run import StageRun


@dataclass(frozen=True)
class AnswerTrace:
    """One answer to one problem."""

    prompt: str
    completion: str
    verdict: str
    """The table's column to filter by: correct, wrong or ungraded."""
    reason: str
    """Why it is that."""
    confidence: float
    tags: Mapping[str, str]
    """More to filter by: problem, level, source."""


def log_traces(run: StageRun, name: str, answers: Sequence[AnswerTrace], model: str | None) -> None:
    """Log `answers` as traces of `run` and of the logged model `model`; all have arrived when this returns."""
    import mlflow
    from mlflow.entities import SpanType
    from mlflow.entities.trace_location import MlflowExperimentLocation

    place = MlflowExperimentLocation(run.experiment_id)
    with _traced_to(run.client.tracking_uri):
        for answer in answers:
            with mlflow.start_span(name, SpanType.LLM, trace_destination=place, run_id=run.run_id) as span:
                span.set_inputs(answer.prompt)
                span.set_outputs(answer.completion)
                span.set_attributes({"verdict": answer.verdict, "confidence": answer.confidence, **answer.tags})
                mlflow.update_current_trace(
                    tags={"verdict": answer.verdict, "confidence": f"{answer.confidence:.4f}", **answer.tags},
                    request_preview=answer.prompt,
                    response_preview=answer.completion,
                    model_id=model,
                )
                _assess(span.trace_id, answer)
        mlflow.flush_trace_async_logging()


def _assess(trace_id: str, answer: AnswerTrace) -> None:
    """The verdict and the confidence as columns of the UI's table."""
    import mlflow
    from mlflow.entities import AssessmentSource

    source = AssessmentSource("CODE", "lens_core.verify")
    mlflow.log_feedback(
        trace_id=trace_id, name="verdict", value=answer.verdict, source=source, rationale=answer.reason or None
    )
    mlflow.log_feedback(trace_id=trace_id, name="confidence", value=round(answer.confidence, 4), source=source)


@contextmanager
def _traced_to(uri: str) -> Iterator[None]:
    """Tracing knows the process's tracking URI and no client's; both it and the environment are put back."""
    import mlflow

    before: Any = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
