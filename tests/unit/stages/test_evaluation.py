"""What of an evaluation goes to MLflow and KFP."""

from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.records import PassKReport
from lens_core.stages import evaluation_metrics

HALF, ALL = Estimate(0.5, 0.25, 0.75, 4), Estimate(1.0, 1.0, 1.0, 4)


def test_metrics_have_flat_names() -> None:
    report = PassKReport(
        model="m",
        data_digest="d",
        n=4,
        ks=(1, 4),
        problems=4,
        by_k={"pass_at": {1: HALF, 4: ALL}, "maj_at": {4: HALF}},
        values={"mean_tokens": 12.0, "truncated": 0.1, "ungraded": 0.0, "ece": None},
        levels={3: {4: HALF}},
    )
    assert evaluation_metrics(report) == {
        "pass_at_1": 0.5,
        "pass_at_1_low": 0.25,
        "pass_at_1_high": 0.75,
        "pass_at_4": 1.0,
        "pass_at_4_low": 1.0,
        "pass_at_4_high": 1.0,
        "maj_at_4": 0.5,
        "maj_at_4_low": 0.25,
        "maj_at_4_high": 0.75,
        "mean_tokens": 12.0,
        "truncated": 0.1,
        "ungraded": 0.0,
        "level_3/pass_at_4": 0.5,
        "level_3/pass_at_4_low": 0.25,
        "level_3/pass_at_4_high": 0.75,
    }
