"""Answer extraction and grading: `grade(completion, answer) -> Verdict`."""

from lens_core.verify.grader import Grader, grade
from lens_core.verify.verdict import Outcome, Verdict

__all__ = ["Grader", "Outcome", "Verdict", "grade"]
