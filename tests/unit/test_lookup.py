"""Functions by import path: what is wrong with a path is said on one line."""

from pathlib import Path

import pytest

from lens_core.lookup import find_function


def test_function_is_found_at_its_path() -> None:
    assert find_function("os.path:join", "objective")("a", "b") == "a/b"
    assert find_function("pathlib:Path.cwd", "objective")() == Path.cwd()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere:f", "verifier 'nowhere:f' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("os.nowhere:f", "verifier 'os.nowhere:f' cannot be imported: ModuleNotFoundError: "),
        ("two words:f", "verifier 'two words:f' cannot be imported: ValueError: invalid format"),
        ("math:nothing", "verifier 'math:nothing' is not there: module 'math' has no 'nothing'"),
        ("math:pi", "verifier 'math:pi' is a float, not a function"),
        ("math:", "verifier 'math:' is a module, not a function"),
    ],
)
def test_path_that_leads_to_no_function_is_named(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        find_function(path, "verifier")
    assert str(error.value).startswith(message)


def test_what_a_module_raises_is_told_from_a_name_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_rewards.py").write_text("import math\nmath.nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'broken_rewards:f' cannot be imported: AttributeError: module 'math'"):
        find_function("broken_rewards:f", "objective")
    (tmp_path / "leaving_rewards.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'leaving_rewards:f' cannot be imported: SystemExit: 0$"):
        find_function("leaving_rewards:f", "objective")
    (tmp_path / "skipping_rewards.py").write_text("raise BaseException('skipped')\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'skipping_rewards:f' cannot be imported: BaseException: skipped$"):
        find_function("skipping_rewards:f", "objective")
    (tmp_path / "silent_rewards.py").write_text("raise RuntimeError\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'silent_rewards:f' cannot be imported: RuntimeError$"):
        find_function("silent_rewards:f", "objective")


def test_package_that_is_not_found_says_where_it_is_looked_for_once() -> None:
    with pytest.raises(ValueError, match="cannot be imported") as caught:
        find_function("no_such_package.judge:verify", "verifier")
    assert str(caught.value).count("PYTHONPATH") == 1
    with pytest.raises(ValueError, match="is not there") as other:
        find_function("json:no_such_function", "verifier")
    assert "PYTHONPATH" not in str(other.value)
