"""The commands that the documentation shows."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class CommandLine(NamedTuple):
    page: str
    text: str


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from (text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language)


def command_lines() -> list[CommandLine]:
    """Every line of a bash block that calls lens, and each code span in the text that does."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [CommandLine(page.name, line) for line in lines if re.search(r"lens |lens_core[.]cli", line)]
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        found += [CommandLine(page.name, span) for span in re.findall(r"`(lens [^`]+)`", text)]
    return found


def calls(line: str) -> Iterator[list[str]]:
    """Arguments of each call of lens in a shell line, that of a job behind `--` included."""
    command: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word not in ("&&", ";", "|", ">", "--"):
            command.append(word)
            continue
        while command and re.match(r"[A-Z_]+=", command[0]):
            del command[0]
        if command and command[0] in ("lens", ".venv/bin/lens"):
            yield command[1:]
        elif "lens_core.cli" in command:  # python -m, accelerate launch
            yield command[command.index("lens_core.cli") + 1 :]
        command = []
