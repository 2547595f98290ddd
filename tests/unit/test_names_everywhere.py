"""Names as people give them: each passes, or is refused on one line before any work, wherever a name goes."""

import json
import re
from pathlib import Path

import pytest

from lens_core.cli import main
from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.kfp.client import submission
from lens_core.kube.rayjob import job_name
from lens_pipelines.launch import Launch

GOOD = ("qwen2.5-0.5b", "two words", "Ünï 日本", "x" * 40)
NAMES = [
    *GOOD,
    *("a/b", "../x", "it's", "x" * 200, "", "[/b]", ":x:", "-x", "a\nb"),
    *("{{workflow.name}}", "$(id)", "\x1b[31m", "."),
]
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""DNS-1035, as KubeRay and Kubernetes want it."""


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_run_and_of_a_method(name: str) -> None:
    refusals: list[str] = []
    for override in (f"name={json.dumps(name)}", f"methods={{{json.dumps(name)}: {{objective: grpo}}}}"):
        try:
            config = load_config("demo", [override])
        except LensError as error:
            refusals.append(str(error))
            continue
        (method, *_) = config.methods
        assert LABEL.fullmatch(job_name(config.name, f"train {method}", 1))
        sent = submission(Launch(config))
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", sent.name)
        assert json.loads(sent.parameters["config"])["name"] == config.name
    assert all("\n" not in each for each in refusals)


COMMANDS = {
    "--label": ["evaluate", "policy", "--data", "data", "--tracking-uri", "http://127.0.0.1:9", "--label"],
    "--name": ["register", "policy", "--evaluation", "evaluation", "--name"],
    "--experiment": ["pipeline", "submit", "--endpoint", "http://127.0.0.1:9", "--experiment"],
}


@pytest.mark.parametrize("option", COMMANDS)
@pytest.mark.parametrize("name", [each for each in NAMES if each not in GOOD])
def test_name_that_is_none_is_refused_by_its_option(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    *command, last = COMMANDS[option]
    monkeypatch.setattr("sys.argv", ["lens", *command, f"{last}={name}"])
    with pytest.raises(SystemExit) as left:
        main.main()
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.count("\n") == 1
    assert "is no name" in said
    assert not list(tmp_path.iterdir())
