import pytest

from tests.helpers.misleading import MISLEADING, outcomes

pytestmark = pytest.mark.integration


def test_grade_gives_the_same_verdicts_in_a_ray_worker() -> None:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        assert ray.get(ray.remote(outcomes).remote(), timeout=120) == [outcome for _, _, outcome in MISLEADING]
    finally:
        ray.shutdown()
