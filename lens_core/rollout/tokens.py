"""Which token wrote which part of a completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenizers.decoders import DecodeStream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TokenLengths:
    """Counts the characters that each token of a completion wrote."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._alone: dict[int, str] = {}

    def __call__(self, token_ids: Sequence[int], text: str) -> tuple[int, ...] | None:
        """Their sum is the length of `text`, which `token_ids` decode to without special tokens.

        0 for special tokens, and for all but the last of the tokens that write one character together. None where the
        tokenizer does not tell.
        """
        for token in set(token_ids) - self._alone.keys():
            self._alone[token] = self._tokenizer.decode([token], skip_special_tokens=True)
        pieces = [self._alone[token] for token in token_ids]
        if "".join(pieces) != text:  # a token that writes half a character, or drops a leading space when alone
            pieces = self._streamed(token_ids)
            if not pieces or not text.startswith("".join(pieces)):
                return None
        lengths = [len(piece) for piece in pieces]
        lengths[-1] += len(text) - sum(lengths)  # what was left of a character that never came to its end
        return tuple(lengths)

    def _streamed(self, token_ids: Sequence[int]) -> list[str]:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return []
        stream = DecodeStream(skip_special_tokens=True)
        return [stream.step(backend, token) or "" for token in token_ids]
