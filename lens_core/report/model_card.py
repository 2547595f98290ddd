"""The card of a registered policy: Markdown with the metadata block that the Hugging Face hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from lens_core.evaluation.metrics import METRICS, METRICS_BY_K
from lens_core.evaluation.passk import FEW_NOTE
from lens_core.evaluation.records import PassKReport


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
    template = Environment(
        loader=PackageLoader("lens_core.report", "."), undefined=StrictUndefined, trim_blocks=True, finalize=_escaped
    )
    template.filters["python"] = _python_literal
    return template.get_template("model_card.md.j2").render(
        metadata=Markup(_metadata(registered, report, licence).to_yaml()),
        registered=registered,
        report=report,
        metrics=METRICS,
        others_by_k=METRICS_BY_K[1:],
        few_note=FEW_NOTE,
        policy=policy.absolute(),
        weights=weights,
        licence=licence,
        **facts,
    )


_MARKUP = re.compile(r"([\\`*_\[\]|#~$])")


def _escaped(value: Any) -> Any:
    """`value` as Markdown that shows it: no HTML, no emphasis, no link, no further cell or line."""
    if isinstance(value, Markup):
        return value
    return _MARKUP.sub(r"\\\1", str(escape(" ".join(str(value).split()))))


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
