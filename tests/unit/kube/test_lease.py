"""When a launcher is taken for dead."""

from datetime import UTC, datetime

from lens_core.kube.lease import Patience

FIRST, SECOND = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)


def test_renewed_lease_is_never_over() -> None:
    patience = Patience(10)
    looks = [(FIRST, 0.0), (FIRST, 9.0), (SECOND, 18.0), (SECOND, 27.0)]  # 9 s between changes at most
    assert not any(patience.is_over(renewed, now) for renewed, now in looks)


def test_silent_lease_is_over_after_its_duration() -> None:
    patience = Patience(10)
    assert not patience.is_over(FIRST, 5)
    assert not patience.is_over(FIRST, 14.9)
    assert patience.is_over(FIRST, 15)


def test_missing_lease_is_a_silent_one() -> None:
    patience = Patience(10)
    assert not patience.is_over(None, 0)
    assert patience.is_over(None, 10)


def test_lease_that_comes_late_starts_the_clock() -> None:
    patience = Patience(10)
    assert not patience.is_over(None, 0)
    assert not patience.is_over(FIRST, 9)
    assert not patience.is_over(FIRST, 18)


def test_outage_is_not_the_launchers_death() -> None:
    patience = Patience(10)
    assert not patience.is_over(FIRST, 0)
    patience.could_not_look()
    assert not patience.is_over(FIRST, 3600)  # the first look after it
    assert patience.is_over(FIRST, 3610)
