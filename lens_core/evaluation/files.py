"""Names of the files in an evaluation's folder."""

from lens_core.files import ROLLOUTS_FILE

__all__ = ["EVALUATION_FILE", "PASSK_FILE", "ROLLOUTS_FILE", "VIEWER_FILE"]

EVALUATION_FILE, PASSK_FILE, VIEWER_FILE = "evaluation.json", "passk.json", "viewer.html"
