"""What some tests need and not every machine has: a skip here, a failure in CI."""

import importlib
import os
from typing import Any, NoReturn

import pytest


def missing(what: str, remedy: str) -> NoReturn:
    """End the test: as failed where `CI` is set, where everything has to be there, and as skipped elsewhere."""
    if "CI" in os.environ:
        pytest.fail(f"{what} is missing: {remedy}", pytrace=False)
    pytest.skip(f"needs {what}: {remedy}")


def package(name: str, what: str, remedy: str) -> Any:
    """The package of that name, which `what` describes."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(what, remedy)
