"""The student's tokens of a written item, made once, when it is accepted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsa_ray.generation.prompts import student_answer, student_messages

DEFAULT_CHAT_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}"
    "{% for message in messages %}{{ message['content'] }}"
    "{{ (eos_token + '\n') if message['role'] == 'assistant' else '\n' }}{% endfor %}"
)
"""What holds for a tokenizer that has no chat template: the messages, one after the other, on lines of their own."""
_WHOLE = "TokenizersBackend"
"""The class that transformers names where nothing but `tokenizer.json` is needed."""


class TokenizerError(Exception):
    """A tokenizer that cannot be used for training: one clear line."""


class StudentTokenizer:
    """Turns exercises and textbooks into token ids.

    Prompt and answer are tokenised apart, so the prompt's ids are a prefix of the whole by construction, and equal to
    what the student is given in the exam. Special tokens that occur in a teacher's text are taken out of it first.
    """

    def __init__(self, model_path: str, templates: str | None = None) -> None:
        """Load the tokenizer of a Hugging Face model or folder.

        Args:
            model_path: name or folder.
            templates: folder with a `student.j2` of your own.

        Raises:
            TokenizerError: it has no end token.
        """
        self.tokenizer: Any = with_chat_template(load_tokenizer(model_path))
        if self.tokenizer.eos_token_id is None:
            raise TokenizerError(f"{model_path}: the tokenizer has no eos_token, which ends an answer")
        self._templates = templates
        self._special = sorted((t for t in self.tokenizer.all_special_tokens if t.strip()), key=len, reverse=True)

    def encode_exercise(self, question: str, solution: str, answer: str) -> tuple[tuple[int, ...], int]:
        """The ids of prompt and answer, end token included, and how many of them are the prompt's."""
        prompt, reply = self._ids(self._prompt(question), self.without_special(student_answer(solution, answer)))
        return (*prompt, *reply, self.tokenizer.eos_token_id), len(prompt)

    def encode_dialogue(self, messages: Sequence[Mapping[str, str]]) -> tuple[tuple[int, ...], int]:
        """The ids of a chat by the student's own template, and how many of them come before the last message's.

        The last message is the student's; it alone, with its end token, lies behind the prompt's ids. All before it,
        the student's earlier answers too, is what the student would be given to write it.
        """
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise ValueError("a dialogue ends with a message of the student")
        before = [{"role": m["role"], "content": self.without_special(m["content"])} for m in messages[:-1]]
        start = self.tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
        prompt, reply = self._ids(start, self.without_special(messages[-1]["content"]))
        return (*prompt, *reply, self.tokenizer.eos_token_id), len(prompt)

    def encode_textbook(self, text: str) -> tuple[int, ...]:
        """The ids of a textbook page between the tokenizer's own start token, if it sets one, and the end token."""
        end = self.tokenizer.eos_token_id
        ids = tuple(self.tokenizer(self.without_special(text), verbose=False)["input_ids"])
        return ids if ids and ids[-1] == end else (*ids, end)

    def prompt_ids(self, question: str) -> tuple[int, ...]:
        """The ids of a question as it is put to the student."""
        return self._ids(self._prompt(question))[0]

    def without_special(self, text: str) -> str:
        """The text without any occurrence of a special token: a teacher's text must not end a turn or begin one."""
        before = None
        while before != text:
            before = text
            for token in self._special:
                text = text.replace(token, "")
        return text

    def _prompt(self, question: str) -> str:
        messages = student_messages(self.without_special(question), templates=self._templates)
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _ids(self, *texts: str) -> list[tuple[int, ...]]:
        """The ids of each text. Together, because a call costs more than a text."""
        found = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [tuple(ids) for ids in found]


def load_tokenizer(model_path: str) -> Any:
    """What `AutoTokenizer` loads, where it can without the library's models and torch, which take 3 s and 350 MB.

    That is a folder of which the library itself says that its `tokenizer.json` is the whole tokenizer.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    if _is_plain(Path(model_path)):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(model_path)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_path)


def _is_plain(folder: Path) -> bool:
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False  # the library reads on, or says what is wrong
    plain = isinstance(settings, dict) and settings.get("tokenizer_class") == _WHOLE and "auto_map" not in settings
    return plain and (folder / "tokenizer.json").is_file()


def with_chat_template(tokenizer: Any) -> Any:
    """The same tokenizer, with the default chat template if it had none. Saving it then saves the template too."""
    if not getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    return tokenizer
