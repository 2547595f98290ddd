"""When recurring runs start."""

import pytest

from lens_core.errors import LensError
from lens_core.kfp.runs import trigger


@pytest.mark.parametrize(
    ("cron", "kfps"),
    [
        ("0 3 * * 1", "0 0 3 * * 1"),
        ("15 0 3 * * *", "15 0 3 * * *"),
        ("@daily", "@daily"),
        ("@every 1h30m", "@every 1h30m"),
    ],
)
def test_crontab_gets_the_seconds_that_kfp_wants(cron: str, kfps: str) -> None:
    """KFP reads five fields as second, minute, hour, day, month: `0 3 * * 1` would be each hour of January."""
    assert trigger(cron, None).cron_schedule.cron == kfps


@pytest.mark.parametrize(("every", "seconds"), [("45s", "45"), ("90m", "5400"), ("12h", "43200"), ("7d", "604800")])
def test_interval_is_in_seconds(every: str, seconds: str) -> None:
    assert trigger(None, every).periodic_schedule.interval_second == seconds


@pytest.mark.parametrize(
    ("cron", "every", "message"),
    [
        ("0 3", None, "--cron '0 3' must have five fields"),
        (None, "0h", "--every '0h' must be a number with s, m, h or d"),
        (None, "12", "--every '12' must be"),
        (None, None, "a schedule needs one of --cron"),
        ("0 3 * * *", "12h", "a schedule needs one of --cron"),
    ],
)
def test_time_that_is_none_is_refused(cron: str | None, every: str | None, message: str) -> None:
    with pytest.raises(LensError, match=message):
        trigger(cron, every)
