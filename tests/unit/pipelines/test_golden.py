"""The compiled pipelines, word for word: a change of them is seen, and wanted.

`python -m pytest tests/unit/pipelines --update-golden` writes them anew.
"""

import re
from pathlib import Path

import pytest

from tests.unit.pipelines.conftest import Compiled

GOLDEN = Path(__file__).parent / "golden"


def normalised(text: str) -> str:
    """Without the SDK's version and the image's tag."""
    text = re.sub(r"^sdkVersion: kfp-.*$", "sdkVersion: kfp", text, flags=re.MULTILINE)
    return re.sub(r"(lens-grpo):[\w.-]+", r"\1:TAG", text)


@pytest.mark.parametrize("name", ["lens", "sweep", "evaluate", "lens-rayjobs", "sweep-rayjobs"])
def test_compiled_pipeline_is_the_golden_one(
    name: str, compiled: dict[str, Compiled], request: pytest.FixtureRequest
) -> None:
    path, text = GOLDEN / f"{name}.yaml", normalised(compiled[name].text)
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "if that is meant: pytest tests/unit/pipelines --update-golden"


def test_only_version_and_tag_are_normalised() -> None:
    text = "image: a/lens-grpo:0.1.0-cuda\nsdkVersion: kfp-2.17.0\nimage: other:0.1.0\n"
    assert normalised(text) == "image: a/lens-grpo:TAG\nsdkVersion: kfp\nimage: other:0.1.0\n"
