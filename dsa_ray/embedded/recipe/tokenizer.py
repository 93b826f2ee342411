"""A small byte-level BPE for prompts and mathematics.

Nothing is split at spaces, so that frequent phrases become single tokens. Labels such as "Skill: ", digits, operators
and a lone x stand alone, so that a name or a number is always read in the same way. The constant text of the prompts
and of the JSON answers is one token per piece. Any text encodes, since every byte is a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, BEGIN, END = "<|pad|>", "<|begin|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
MAX_TOKEN_CHARACTERS = 80

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], constants: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `size` tokens besides `constants`, each of which becomes one token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n?\b[A-Z][a-z]+: "), "isolated"),
            pre_tokenizers.Split(Regex(r"[0-9+\-*/^=();]"), "isolated"),
            pre_tokenizers.Split(Regex(r"\bx\b"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=MAX_TOKEN_CHARACTERS,
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in _without(text, constants)), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in constants])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _without(text: str, constants: Sequence[str]) -> list[str]:
    pieces = [text]
    for constant in sorted(constants, key=len, reverse=True):
        pieces = [part for piece in pieces for part in piece.split(constant)]
    return [piece for piece in pieces if piece]
