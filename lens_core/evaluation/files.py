"""Names of the files in an evaluation's folder."""

EVALUATION_FILE, ROLLOUTS_FILE, PASSK_FILE, VIEWER_FILE = (
    "evaluation.json",
    "rollouts.jsonl",
    "passk.json",
    "viewer.html",
)
