"""What is missing on a machine: a skip that says what to do, and a failure in CI."""

import pytest

from tests.helpers.prerequisites import missing, package


def test_missing_prerequisite_skips_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs Chromium: apt-get install chromium"):
        missing("Chromium", "apt-get install chromium")
    with pytest.raises(pytest.skip.Exception, match="needs a package: make it"):
        package("no_such_package", "a package", "make it")


def test_missing_prerequisite_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Chromium is missing: apt-get install chromium"):
        missing("Chromium", "apt-get install chromium")


def test_ci_that_is_known_to_lack_something_skips_it_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("LENS_WITHOUT", "real data; KubeRay's CRDs")
    with pytest.raises(pytest.skip.Exception, match="needs KubeRay's CRDs"):
        missing("KubeRay's CRDs", "set LENS_CRDS")
    with pytest.raises(pytest.fail.Exception, match="Chromium is missing"):
        missing("Chromium", "apt-get install chromium")
