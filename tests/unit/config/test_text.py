"""Files from outside: read in bounded time and memory, and strictly, or refused on one line."""

import os
import time
from pathlib import Path

import pytest

from lens_core.config import load_config, read_yaml
from lens_core.errors import LensError
from lens_core.kube.settings import load_cluster

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20))
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n" for n in range(1, 20)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "'a' stands there twice"),
        ("a: {b: 1, 'b': 2}", "'b' stands there twice"),
        ("- {1: x, 1: y}", "'1' stands there twice"),
        (BOMB, "more than 100,000 keys and values"),
        (MERGES, "more than 100,000 keys and values"),
        ("a: &a [*a]", "more than 100,000 keys and values"),
        ("[" * 5000, "nested too deeply"),
        ("a: [", "no valid YAML"),
        ("a: 2024-13-45", "no valid YAML: month must be in"),
        (f"a: {'1' * 5000}", "no valid YAML: Exceeds the limit"),
        ("a: !!int ''", "no valid YAML"),
        ("a: !!timestamp x", "no valid YAML"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("{[a]: b, {c: d}: e}", "unhashable key"),
        ("a: \0", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_ambiguous_or_endless_is_refused(text: str, message: str) -> None:
    begun = time.process_time()
    with pytest.raises(LensError, match=rf"^here is no valid YAML: .*{message}|^here is {message}") as refused:
        read_yaml(text, "here")
    assert "\n" not in str(refused.value)
    assert time.process_time() - begun < 5


def test_yaml_may_repeat_itself_within_reason() -> None:
    assert read_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, b: 2}", "here") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 2}}
    assert read_yaml("", "here") is None


def test_values_of_overrides_are_read_as_strictly() -> None:
    with pytest.raises(LensError, match=r"override data\.train: the value is no valid YAML: the key 'kind' stands"):
        load_config("demo", ["data.train={kind: gsm8k, kind: math}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\x7fELF\x80\x81", "is no text in UTF-8"),
        (b"x" * (2**20 + 1), "larger than 1 MiB"),
        (b"\xff\xfea\0:\0", "is no text in UTF-8"),
        (b"a: 1\na: 2\n", "stands there twice"),
    ],
)
def test_files_that_are_no_configuration_are_named(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(text)
    for load in (load_config, load_cluster):
        with pytest.raises(LensError, match=rf"own\.yaml.* {message}"):
            load(tmp_path / "own.yaml")


def test_pipes_and_devices_are_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for load in (load_config, load_cluster):
            with pytest.raises(LensError, match=r"is neither a file nor a folder .*: give a regular file"):
                load(path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.yaml": "extends: a.yaml"}, r"a\.yaml extends itself, by .*a\.yaml: take out one"),
        ({"a.yaml": "extends: b.yaml", "b.yaml": "extends: ./a.yaml"}, r"\./a\.yaml extends itself, by .*b\.yaml and"),
        ({"a.yaml": "extends: [demo]"}, r"a\.yaml: extends is a list; give the name of one"),
        ({"a.yaml": "extends: {demo: 1}"}, r"extends is a dict"),
        ({"a.yaml": "extends: 3"}, r"extends is a int"),
        ({"a.yaml": 'extends: "a\\0b"'}, r"'a\\x00b' is no path: it holds a null character"),
        ({"a.yaml": "extends: nowhere.yaml"}, r"nowhere\.yaml is neither a recipe"),
        ({"a.yaml": "extends: b.yaml", "b.yaml": "- 1"}, r"b\.yaml must hold a mapping"),
        ({"a.yaml": "1: 2\n"}, r"a\.yaml: "),
    ],
)
def test_what_a_file_extends_is_one_other_file(
    files: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        Path(name).write_text(text)
    with pytest.raises(LensError, match=message) as refused:
        load_config("a.yaml")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0x" + "f" * 5000, "far too large"),
        ("1:" * 2000 + "1", "far too large"),
        ('"\\ud800"', "half of a surrogate pair"),
    ],
    ids=["hexadecimal", "base 60", "surrogate"],
)
def test_values_that_cannot_be_shown_are_refused(value: str, message: str) -> None:
    with pytest.raises(LensError, match=message):
        read_yaml(f"steps: {value}", "x.yaml")


@pytest.mark.parametrize(
    "override",
    ["path=a http://me:PW@host/x", "subset=[http://me:PW@host/x]", "columns.prompt=http://me:PW@host/x"],
)
def test_credentials_are_refused_wherever_they_stand(override: str) -> None:
    source = "data.train={kind: huggingface, path: a/b, columns: {prompt: q, answer: a}}"
    with pytest.raises(LensError, match="it holds a credential") as caught:
        load_config("demo", [source, f"data.train.{override}"])
    assert "PW" not in str(caught.value)
