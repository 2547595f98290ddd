"""Folders of policies and evaluations that cost no training."""

from pathlib import Path

from lens_core.evaluation.folder import Design
from lens_core.evaluation.records import Completion, ProblemResult
from lens_core.evaluation.summary import summarise
from lens_core.rollout.fingerprint import identity


def policy_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def evaluation_in(
    folder: Path, label: str, right: tuple[int, ...], digest: str = "d" * 64, policy: Path | None = None
) -> Path:
    """An evaluation with so many correct completions of 4 of each problem; of `policy`, where it says whose it is."""

    def answer(outcome: str) -> Completion:
        return Completion.model_validate(
            {"text": "1", "outcome": outcome, "reason": "", "extracted": "1", "confidence": 0.5, "tokens": 1}
            | {"truncated": False}
        )

    results = [
        ProblemResult(
            problem=f"p{index}",
            prompt="?",
            answer="1",
            level=None,
            subject=None,
            source="test",
            completions=tuple(answer("correct" if each < correct else "wrong") for each in range(4)),
        )
        for index, correct in enumerate(right)
    ]
    folder.mkdir()
    (folder / "rollouts.jsonl").write_text("".join(result.model_dump_json() + "\n" for result in results))
    (folder / "passk.json").write_text(summarise(label, digest, results, 4, (1, 4)).model_dump_json())
    if policy is not None:
        design = Design(model=label, model_identity=identity(policy), data="d", data_digest=digest, settings={})
        (folder / "evaluation.json").write_text(design.model_dump_json())
    return folder
