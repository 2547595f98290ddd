"""Answer extraction and grading: `grade(completion, answer) -> Verdict`."""

from lens_core.verify.grader import Grader, default_grader, grade
from lens_core.verify.verdict import Outcome, Verdict

__all__ = ["Grader", "Outcome", "Verdict", "default_grader", "grade"]
