from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.embedded.recipe.tokenizer import train_tokenizer

CONSTANT = "Write one exercise.\n"
TOKENIZER = train_tokenizer(["Skill: Chain rule. Differentiate 12x^3+4x.\nAnswer: 36x^2+4"] * 20, [CONSTANT], 400)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_survives_encoding(text: str):
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text


def test_digits_and_operators_stand_alone_and_constants_are_one_token():
    tokens = TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode("12x^3+4x", add_special_tokens=False))
    assert tokens == list("12x^3+4x")
    assert len(TOKENIZER.encode(CONSTANT, add_special_tokens=False)) == 1


def test_the_chat_template_marks_roles_and_asks_for_the_answer():
    text = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert text == "<|user|>Hi<|end|><|assistant|>"
