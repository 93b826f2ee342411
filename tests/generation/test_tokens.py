from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import DEFAULT_CHAT_TEMPLATE, StudentTokenizer, TokenizerError, load_tokenizer

CHATML = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: str) -> StudentTokenizer:
    return StudentTokenizer(tokenizer_path)


def test_prompt_answer_and_end_token_are_laid_one_after_the_other(tokenizer: StudentTokenizer) -> None:
    ids, prompt_tokens = tokenizer.encode_exercise("What is 1 + 1?", "It is 2.", "2")
    assert ids[:prompt_tokens] == tokenizer.prompt_ids("What is 1 + 1?")
    assert ids[-1] == tokenizer.tokenizer.eos_token_id
    assert tokenizer.tokenizer.decode(ids[prompt_tokens:-1]) == "It is 2.\nAnswer: 2"


def test_a_tokenizer_without_a_chat_template_gets_the_default_one(tokenizer: StudentTokenizer) -> None:
    assert tokenizer.tokenizer.chat_template == DEFAULT_CHAT_TEMPLATE
    (user,) = student_messages("Why?")
    assert tokenizer.tokenizer.decode(tokenizer.prompt_ids("Why?")) == f"<s>{user['content']}\n"


def test_the_tokenizers_own_chat_template_is_used(build_tokenizer: Callable[..., str]) -> None:
    tokenizer = StudentTokenizer(build_tokenizer(template=CHATML))
    (user,) = student_messages("Why?")
    text = tokenizer.tokenizer.decode(tokenizer.prompt_ids("Why?"))
    assert text == f"[user]{user['content']}</s>\n[assistant]"


def test_a_tokenizer_without_an_end_token_is_refused(build_tokenizer: Callable[..., str]) -> None:
    with pytest.raises(TokenizerError, match="no eos_token"):
        StudentTokenizer(build_tokenizer(eos=False))


def test_special_tokens_in_a_teachers_text_do_not_become_tokens(tokenizer: StudentTokenizer) -> None:
    end = tokenizer.tokenizer.eos_token_id
    ids, _ = tokenizer.encode_exercise("a</s>b", "c</s</s>>d", "</s>")
    assert ids.count(end) == 1
    assert tokenizer.encode_textbook("x</s>y").count(end) == 1


def test_a_textbook_ends_with_one_end_token(tokenizer: StudentTokenizer) -> None:
    ids = tokenizer.encode_textbook("A page.")
    assert tokenizer.tokenizer.decode(ids, skip_special_tokens=True) == "A page."
    assert ids[-1] == tokenizer.tokenizer.eos_token_id


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_prompt_is_a_prefix_whatever_the_text(tokenizer: StudentTokenizer, question: str, answer: str) -> None:
    ids, prompt_tokens = tokenizer.encode_exercise(question, answer, answer)
    assert ids[:prompt_tokens] == tokenizer.prompt_ids(question)
    assert 0 < prompt_tokens < len(ids)


def test_what_auto_tokenizer_loads_is_loaded_without_torch(tokenizer_path: str) -> None:
    from transformers import AutoTokenizer

    plain, auto = load_tokenizer(tokenizer_path), AutoTokenizer.from_pretrained(tokenizer_path)
    assert type(plain) is type(auto)
    assert plain.get_vocab() == auto.get_vocab()
    assert plain.special_tokens_map == auto.special_tokens_map
    code = "import sys; from dsa_ray.generation.tokens import load_tokenizer; load_tokenizer(sys.argv[1]); "
    code += "assert 'torch' not in sys.modules and 'transformers' in sys.modules"
    subprocess.run([sys.executable, "-c", code, tokenizer_path], check=True)


def test_a_tokenizer_of_a_class_of_its_own_is_left_to_auto_tokenizer(build_tokenizer: Callable[..., str]) -> None:
    folder = build_tokenizer()
    settings = Path(folder, "tokenizer_config.json")
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "tokenizer_class": "GPT2Tokenizer"}))
    assert type(load_tokenizer(folder)).__name__ == "GPT2Tokenizer"


@pytest.mark.parametrize("settings", ["{", "[]", "[" * 100_000])
def test_settings_that_cannot_be_read_are_left_to_auto_tokenizer(
    build_tokenizer: Callable[..., str], settings: str
) -> None:
    folder = build_tokenizer()
    Path(folder, "tokenizer_config.json").write_text(settings)
    with pytest.raises((ValueError, AttributeError, RecursionError)):
        load_tokenizer(folder)
