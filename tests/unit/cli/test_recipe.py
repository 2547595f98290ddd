"""`lens recipe`: what ships with the package."""

import json

from typer.testing import CliRunner

from lens_core.cli.main import app
from lens_core.config import recipe_names


def test_list_says_what_each_recipe_needs() -> None:
    _, *lines = CliRunner().invoke(app, ["recipe", "list"]).output.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    (demo,) = [line for line in lines if line.startswith("demo ")]
    for part in ("2 CPU cores, 2 GB of memory", "0.05, measured", "protocol of arXiv 2510.08696 in small"):
        assert part in demo
    found = json.loads(CliRunner().invoke(app, ["recipe", "list", "--json"]).output)
    assert [each["name"] for each in found] == recipe_names()
    assert {"name", "source", "hardware", "hours", "reported"} == found[0].keys()
