"""What is said of a Ray that does not start."""

from pathlib import Path

import pytest

from lens_core.distributed.ray_cluster import ray_cluster
from lens_core.errors import LensError


def test_ray_that_cannot_start_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder that is a file: Ray raises what is no error of its own."""
    (tmp_path / "full").write_text("")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "full"))
    with (
        pytest.raises(
            LensError, match=r"no Ray cluster on this machine: \w+: .*a training without --workers needs no Ray"
        ) as caught,
        ray_cluster(),
    ):
        pass
    assert "\n" not in str(caught.value)
