"""Protected tokens of real tokenizers, trained here on a few sentences."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from sidebeam.texts import Vocabulary

SENTENCES = [
    'The user rated 4.5 stars in 2019: {"genre": ["crime", "noir"]}',
    "# Taste\n- likes crime <a_47>\n",
    "naïve",
] * 9


def trained(byte_level: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None if byte_level else "<unk>"))
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        alphabet = []
    special = ["<s>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.add_tokens([AddedToken("<a_47>")])
    return tokenizer


@pytest.mark.parametrize("byte_level", [True, False])
def test_digits_structure_and_special_tokens_are_protected(byte_level: bool) -> None:
    tokenizer = trained(byte_level)
    size = tokenizer.get_vocab_size() + 5  # models pad their vocabulary
    vocabulary = Vocabulary.of(tokenizer, size, [1])

    def protected(text: str) -> list[bool]:
        ids = tokenizer.encode(text).ids
        assert ids
        return [bool(vocabulary.protected[token]) for token in ids]

    assert all(protected("2019"))
    assert all(protected("<a_47>"))
    assert all(protected('{"')[-2:])  # before them, a space of its own
    assert not any(protected("crime"))
    assert not any(protected("user"))
    assert vocabulary.protected[:3].all()
    assert vocabulary.protected[-5:].all()
    words = np.flatnonzero(~vocabulary.protected)
    assert len(words) > 20
    assert not any(letter.isdigit() for token in words for letter in tokenizer.decode([int(token)]))
    if byte_level:
        assert all(protected("\n"))
        assert all(protected(" 4"))
