"""The card of a registered policy: Markdown with the metadata block that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from markupsafe import Markup

from lens_core.evaluation.metrics import METRICS, METRICS_BY_K
from lens_core.evaluation.passk import FEW_NOTE
from lens_core.evaluation.records import PassKReport
from lens_core.report.markdown import markdown


def model_card(
    registered: str, report: PassKReport, policy: Path, weights: str, licence: str | None, facts: Mapping[str, str]
) -> str:
    """The card's text.

    Args:
        registered: name in the model registry.
        weights: `reference` or `upload`; decides how the policy is loaded.
        licence: an SPDX identifier; None: not known.
        facts: `base`, `config`, `method`, `data` and `gain` over the champion before, in words.
    """
    return markdown(
        "model_card.md.j2",
        metadata=Markup(_metadata(registered, report, licence).to_yaml()),
        registered=registered,
        report=report,
        metrics=METRICS,
        others_by_k=METRICS_BY_K[1:],
        few_note=FEW_NOTE,
        folder=_python_literal(policy.absolute()),
        champion=_python_literal(f"models:/{registered}@champion"),
        weights=weights,
        licence=licence,
        **facts,
    )


def _python_literal(value: object) -> Markup:
    """A string's literal, on one line of a block of code."""
    return Markup(json.dumps(str(value), ensure_ascii=False).encode("utf-8", "backslashreplace").decode())


def _metadata(registered: str, report: PassKReport, licence: str | None) -> ModelCardData:
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="problems",
            dataset_name=f"{report.problems} test problems, SHA-256 {report.data_digest[:12]}",
            metric_type=f"pass@{k}",
            metric_value=round(estimate.estimate, 4),
        )
        for k, estimate in report.overall.items()
    ]
    return ModelCardData(
        license=licence,
        model_name=registered,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["lens-grpo", "reinforcement-learning", report.model],
        eval_results=results,
    )
