from pathlib import Path

from lens_core.training.metrics_file import METRICS_FILE, read_metrics


def test_last_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text('{"step": 1, "reward": 0.5}\n{"step": 2, "rew')
    assert read_metrics(tmp_path) == [{"step": 1, "reward": 0.5}]
    # What looks whole and has no line end may not be all that was to be written.
    (tmp_path / METRICS_FILE).write_text('{"step": 1, "reward": 0.5}\n{"step": 2}')
    assert read_metrics(tmp_path) == [{"step": 1, "reward": 0.5}]


def test_training_that_has_not_begun_has_no_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
