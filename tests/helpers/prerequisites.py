"""What some tests need and not every machine has: a skip here, a failure in CI, which installs all that can be had.

A CI that cannot have something says so in LENS_WITHOUT: names as `missing` is given them, between semicolons.
"""

import importlib
import os
from typing import Any, NoReturn

import pytest


def missing(what: str, remedy: str) -> NoReturn:
    """End the test: as failed where `CI` is set, unless that is known to lack `what`, and as skipped elsewhere."""
    known = [each.strip() for each in os.environ.get("LENS_WITHOUT", "").split(";")]
    if "CI" in os.environ and what not in known:
        pytest.fail(f"{what} is missing: {remedy}", pytrace=False)
    pytest.skip(f"needs {what}: {remedy}", allow_module_level=True)


def package(name: str, what: str, remedy: str) -> Any:
    """The package of that name, which `what` describes."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(what, remedy)
