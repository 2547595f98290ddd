import pytest
import ray

from tests.helpers.misleading import MISLEADING, outcomes

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_here")]


def test_grade_gives_the_same_verdicts_in_a_ray_worker() -> None:
    assert ray.get(ray.remote(outcomes).remote(), timeout=120) == [outcome for _, _, outcome in MISLEADING]
