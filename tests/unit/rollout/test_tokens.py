from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lens_core.rollout.tokens import TokenLengths
from lens_core.training.ladder_base import character_tokenizer


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, as in GPT-2's family: a character may be several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=["<eos>"]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def test_each_token_is_charged_with_what_it_wrote() -> None:
    tokenizer = character_tokenizer()
    ids = [*tokenizer.encode("1+1=2"), tokenizer.eos_token_id]
    assert TokenLengths(tokenizer)(ids, "1+1=2") == (1, 1, 1, 1, 1, 0)


def test_a_character_of_several_tokens_belongs_to_the_last() -> None:
    tokenizer = byte_tokenizer()
    ids = [*tokenizer.encode("a数é"), tokenizer.eos_token_id]
    assert len(ids) == 1 + 3 + 2 + 1
    assert TokenLengths(tokenizer)(ids, "a数é") == (1, 0, 0, 1, 0, 1, 0)


def test_a_character_that_was_cut_off_is_charged_to_the_end() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer.encode("a数")[:-1]
    text = tokenizer.decode(ids)
    assert text.startswith("a\ufffd")
    lengths = TokenLengths(tokenizer)(ids, text)
    assert lengths is not None
    assert (lengths[0], sum(lengths)) == (1, len(text))


def test_text_of_other_tokens_is_not_charged_at_all() -> None:
    tokenizer = character_tokenizer()
    assert TokenLengths(tokenizer)(tokenizer.encode("12"), "13") is None
