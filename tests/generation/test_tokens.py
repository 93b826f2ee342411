from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import DEFAULT_CHAT_TEMPLATE, StudentTokenizer, TokenizerError

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
