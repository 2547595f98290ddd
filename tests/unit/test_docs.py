"""What the documentation says exists: commands and options, recipes, links. Its examples print what it says they do."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from lens_core.cli.main import GENERAL, app
from lens_core.config import load_config, recipe_names
from tests.helpers.docs import FENCE, PAGES, ROOT, CommandLine, blocks, calls, command_lines

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
LENS = typer.main.get_command(app)


def fault(call: list[str]) -> str | None:
    """What Typer's tree does not know of a call; None where it knows everything."""
    command: Any = LENS
    options = options_of(LENS)
    words = [word for word in call if word not in ("...", "…")]
    while words:
        word = words.pop(0)
        if word.startswith("-") and len(word) > 1:
            name, equals, _ = word.partition("=")
            if name not in options:
                return f"no option {name}"
            if options[name] and not equals:  # its value
                words = words[1:]
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return None if word.isupper() else f"no command {word}"
            command = command.commands[word]
            options = options_of(LENS) | options_of(command)
    return None


def options_of(command: Any) -> dict[str, bool]:
    """Option -> whether it takes a value."""
    found = {name: not each.is_flag for each in command.params for name in each.opts if name.startswith("-")}
    return found | {"--help": False}


@pytest.mark.parametrize("line", command_lines(), ids=lambda line: f"{line.page}: {line.text.strip()[:60]}")
def test_command_lines_name_what_exists(line: CommandLine) -> None:
    for call in calls(line.text):
        assert fault(call) is None, f"{line.page}: {line.text.strip()}: {fault(call)}"


def test_faults_of_command_lines_are_found() -> None:
    assert fault(["trian"]) == "no command trian"
    assert fault(["data", "prepair"]) == "no command prepair"
    assert fault(["train", "--recipe", "demo", "--stpes", "3"]) == "no option --stpes"
    assert fault(["train", "--json", "--set=train.steps=3", "-o", "--x"]) is None
    assert list(calls("lens sweep -o a && .venv/bin/lens runs  # lens nope")) == [["sweep", "-o", "a"], ["runs"]]
    assert list(calls("A=b lens k8s launch --run a -- lens train -o policies/lens")) == [
        ["k8s", "launch", "--run", "a"],
        ["train", "-o", "policies/lens"],
    ]
    assert set(GENERAL) <= set(options_of(LENS))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_that_commands_name_ship(page: Path) -> None:
    """Recipes by name; files are the reader's own."""
    known = (*recipe_names(), "NAME")
    for line in command_lines():
        for call in calls(line.text) if line.page == page.name else ():
            for flag, name in pairwise(call):
                if flag in ("--recipe", "--config", "-c") and not name.endswith(".yaml"):
                    assert name in known, f"{line.page}: {line.text.strip()}"


def whole_configurations() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml")):
            tree = yaml.safe_load(block)
            if isinstance(tree, dict) and "extends" in tree:
                yield f"{page.name}-{number}", tree


@pytest.fixture(scope="module")
def _my_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`my_package`, made of what docs/own.md shows, and a function that docs/recipes.md names."""
    folder = tmp_path_factory.mktemp("own")
    judge, objectives = blocks(ROOT / "docs" / "own.md", "python")
    margin = "\ndef margin(rewards, confidences, entropies, *, temperature):\n    return rewards * temperature\n"
    (folder / "my_package").mkdir()
    (folder / "my_package" / "judge.py").write_text(judge, encoding="utf-8")
    (folder / "my_package" / "objectives.py").write_text(objectives + margin, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.mark.usefixtures("_my_package")
@pytest.mark.parametrize(("name", "tree"), list(whole_configurations()))
def test_configurations_of_the_pages_are_valid(name: str, tree: Mapping[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(dict(tree)), encoding="utf-8")
    assert load_config(file).name == tree["name"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))  # no link in code
    for target in (first or second for first, second in LINK.findall(text)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}; there are {sorted(anchors(file))}"


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[2:] if page.name != "README.md" and f"]({page.name})" not in index] == []


def messages() -> list[str]:
    """What the tables of docs/troubleshooting.md quote in their first column, metrics left out."""
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [quoted for row in rows for quoted in re.findall(r"`([^`]+)`", row) if "lens/" not in quoted]


def texts_of_the_code() -> set[str]:
    """Every string in the packages; of f-strings the parts between braces."""
    files = [path for package in ("lens_core", "pipelines") for path in (ROOT / package).rglob("*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_troubleshooting_quotes_messages_of_the_code() -> None:
    texts = texts_of_the_code()
    assert len(messages()) > 40
    for message in messages():
        parts = [part.strip(" '(:") for part in re.split(r"\b[A-Z]+\b|\.\.\.|\d+%?", message)]
        parts = [part for part in parts if len(part) > 8]
        assert parts, message
        for part in parts:
            assert any(part in text for text in texts), f"{message}: nothing in the code says {part!r}"


EXAMPLES = ["algorithm.md", "own.md", "tuning.md"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_print_what_the_page_says(name: str) -> None:
    """A `python` block is followed by a `text` block with all that it prints; later blocks know earlier names."""
    found = FENCE.findall((ROOT / "docs" / name).read_text(encoding="utf-8"))
    pairs = [(code, said) for (kind, code), (after, said) in pairwise(found) if (kind, after) == ("python", "text")]
    assert len(pairs) == sum(kind == "python" for kind, _ in found) > 0
    script = "print('---')\n".join(code for code, _ in pairs)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout == "---\n".join(said for _, said in pairs)


def test_tests_that_the_pages_name_exist() -> None:
    named = {(page, path) for page in PAGES for path in re.findall(r"`(tests/[\w/.]*)`", page.read_text("utf-8"))}
    assert len(named) > 15
    assert not [f"{page.name}: {path}" for page, path in named if not (ROOT / path).exists()]


def test_reports_name_tests_that_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "tests/reports.md").read_text("utf-8"))
    assert len(named) > 10
    assert [each for each in named if f"def {each[1]}(" not in (ROOT / "tests" / each[0]).read_text("utf-8")] == []
