"""What is installed is pinned to the byte: `scripts/lock` writes the hashes, pip is held to them."""

import re
import runpy
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "lock"))
FILES = (
    ROOT / "constraints.txt",
    *sorted(ROOT.glob("requirements-*.txt")),
    *sorted((ROOT / "images").glob("**/*.txt")),
)
DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))


def pins(path: Path) -> dict[str, str]:
    """Version by the normal name of the package."""
    found = LOCK["pins"](path.read_text("utf-8"))
    return {LOCK["name_of"](pin): pin.partition("==")[2] for pin in found}


def installs(text: str) -> list[str]:
    """Every `pip install` of a Dockerfile or Makefile, up to the next command."""
    return re.findall(r"pip install [^&]*?(?= && |\n)", text.replace("\\\n", " "))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_has_one_version_and_hashes(path: Path) -> None:
    lines = [line for line in path.read_text("utf-8").replace("\\\n", " ").splitlines() if not line.startswith("#")]
    assert lines
    hashed = re.compile(r"[\w.-]+==[\w.+!]+( +--hash=sha256:[0-9a-f]{64})+")
    assert [line[:80] for line in lines if not hashed.fullmatch(line)] == []
    assert len(pins(path)) == len(lines), "a package stands there twice"


def test_hashes_may_not_be_left_out() -> None:
    """Of the check above."""
    found = LOCK["entries"]("one==1.0 \\\n    --hash=sha256:00\n# a comment\nTwo_x==2.0\n")
    assert found == {"one": "one==1.0 \\\n    --hash=sha256:00", "two-x": "Two_x==2.0"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_install_nothing_without_a_hash(path: Path) -> None:
    found = installs(path.read_text("utf-8"))
    assert len(found) >= 2
    for command in found:
        ours = "--no-index" in command and "--no-deps" in command  # out of the build's own context
        assert ours or "--require-hashes" in command
        # A build in isolation would fetch its tools without hashes.
        assert "--no-build-isolation" in command or "--only-binary :all:" in command or "requirements-build" in command


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_install_what_is_locked(path: Path) -> None:
    text = path.read_text("utf-8")
    named = set(re.findall(r"--requirement (\S+)", text))
    flavours = {name.replace("$FLAVOUR", flavour) for name in named for flavour in ("cpu", "cuda")}
    copied = {Path(each).name for each in re.findall(r"\S+\.txt", "".join(re.findall(r"^COPY .*", text, re.MULTILINE)))}
    assert flavours == copied
    assert copied <= {each.name for each in FILES}


def test_set_up_holds_pip_to_the_hashes() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    assert "--require-hashes" in re.findall(r"^LOCKED := (.*)", text, re.MULTILINE)[0]
    used = re.findall(r"^\t@\$\((\w+)\) (.*)", text, re.MULTILINE)
    assert [arguments for variable, arguments in used if variable == "PIP"] == [
        """--no-deps "$$(grep -o '^torch==[0-9.]*' constraints.txt)\"""",
        "--no-build-isolation --editable '.[kfp,kube,ray,dev]'",
    ]
    assert len([variable for variable, _ in used if variable == "LOCKED"]) == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_version_of_a_package_is_installed_everywhere(path: Path) -> None:
    """But for what vLLM wants in an image with CUDA, and verl in a folder of its own."""
    older = {"requirements-cuda.txt": set(LOCK["OLDER_FOR_VLLM"]), "requirements-verl.txt": {"antlr4-python3-runtime"}}
    common = pins(ROOT / "constraints.txt")
    differ = {name for name, version in pins(path).items() if common.get(name, version) != version.removesuffix("+cpu")}
    assert differ == older.get(path.name, set())


def test_image_without_cuda_has_the_bytes_of_the_tests() -> None:
    common = LOCK["entries"]((ROOT / "constraints.txt").read_text("utf-8"))
    image = LOCK["entries"]((ROOT / "images/lens/requirements-cpu.txt").read_text("utf-8"))
    torch, known = image.pop("torch"), common.pop("torch")
    assert image.items() <= common.items()
    assert torch.split()[0].endswith("+cpu"), "pip would take one with CUDA"
    assert set(re.findall(r"sha256:\w+", torch)) < set(re.findall(r"sha256:\w+", known))


def needed(extras: Iterable[str]) -> set[str]:
    """Names of all that the installed package depends on with these extras."""
    found: set[str] = set()
    todo = [("lens-grpo", frozenset(extras))]
    seen = set(todo)
    while todo:
        name, wanted = todo.pop()
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *wanted)):
                each = (LOCK["name_of"](requirement.name), frozenset(requirement.extras))
                found.add(each[0])
                if each not in seen:
                    seen.add(each)
                    todo.append(each)
    return found


@pytest.mark.parametrize(
    ("path", "extras"),
    [("constraints.txt", ("kfp", "kube", "ray", "dev")), ("images/lens/requirements-cpu.txt", ("kfp", "kube", "ray"))],
)
def test_all_that_is_needed_is_locked(path: str, extras: tuple[str, ...]) -> None:
    without_libraries = {name for name in needed(extras) if not re.match("nvidia-|cuda-|triton$", name)}  # torch's own
    assert len(without_libraries) > 100
    assert without_libraries - pins(ROOT / path).keys() - pins(ROOT / "requirements-build.txt").keys() == set()
