"""Chat templates: programs that come with a model, which may fail, never end, or write without end."""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]

_LIMIT_S = 10.0
"""Of one prompt, which takes a millisecond."""
_MOST_CHARACTERS = 2**20
"""That a template may add to its messages."""


def templated(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    """What a policy is asked in the chat form, up to where its answer begins.

    Raises:
        LensError: if the template fails, or exceeds 10 s or 1 MiB.
    """
    try:
        text = _within(_LIMIT_S, lambda: _rendered(tokenizer, messages))
    except TimeoutError as error:
        raise LensError(f"the policy's chat template does not end within {_LIMIT_S:.0f} s: {_REMEDY}") from error
    except Exception as error:  # it may raise what any program may
        said = f"{type(error).__name__}: {first_line(error)}"
        raise LensError(f"the policy's chat template fails ({said}): {_REMEDY}") from error
    if len(text) > _MOST_CHARACTERS + sum(len(each["content"]) for each in messages):
        raise LensError(f"the policy's chat template writes {len(text):,} characters: {_REMEDY}")
    return text


_REMEDY = "mend its chat_template, or set prompt.form to 'plain'"


def require_working_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Try the template once, before whoever is not asked by us, such as TRL, takes it for every prompt.

    Raises:
        LensError: as `templated` does.
    """
    _tried(_ByTemplate(tokenizer))


def require_system_role(tokenizer: PreTrainedTokenizerBase, system: str) -> None:
    """Some chat templates refuse system messages, and some drop them without a word.

    Raises:
        LensError: with the remedy.
    """
    messages: list[Message] = [{"role": "system", "content": system}, {"role": "user", "content": "?"}]
    try:
        said = _within(_LIMIT_S, lambda: _rendered(tokenizer, messages))
    except TimeoutError as error:
        raise LensError(f"the policy's chat template does not end within {_LIMIT_S:.0f} s: {_REMEDY}") from error
    except Exception:  # however it refuses them
        said = ""
    if system.strip() not in said:
        raise LensError(
            "prompt.system is set, and the policy's chat template has no system role: put the text into "
            "prompt.instruction, which follows the question"
        )


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


class _ByTemplate:
    """A tokenizer that equals others with the same template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._template = repr(tokenizer.chat_template)

    def __hash__(self) -> int:
        return hash(self._template)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByTemplate) and self._template == other._template


@cache
def _tried(of: _ByTemplate) -> None:
    templated(of.tokenizer, [{"role": "user", "content": "?"}])


def _within(limit_s: float, work: Any) -> Any:
    """What `work` returns or raises, in a thread of its own, which is told to end where it takes longer.

    Raises:
        TimeoutError: after `limit_s`.
    """
    found: dict[str, Any] = {}

    def run() -> None:
        try:
            found["value"] = work()
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=run, name="chat-template", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        # Raised there at the next bytecode: no thread stays behind that takes a core from the caller.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
        raise TimeoutError
    if "error" in found:
        raise found["error"]
    return found["value"]
