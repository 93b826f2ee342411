"""An adapter or a chat template that cannot be served is one line, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.served_files import ADAPTER, RANKS, adapter_rank, chat_template

PLAIN = {"peft_type": "LORA", "r": 8, "rank_pattern": {}, "target_modules": ["q_proj"], "modules_to_save": None}


def adapter(folder: Path, weights: str = "adapter_model.safetensors", **changes: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / ADAPTER).write_text(json.dumps(PLAIN | changes))
    if weights:
        (folder / weights).touch()
    return str(folder)


@pytest.mark.parametrize(("rank", "held"), [(1, 1), (2, 8), (8, 8), (9, 16), (300, 320), (512, 512)])
def test_vllm_makes_room_for_the_next_rank_that_it_knows(tmp_path: Path, rank: int, held: int) -> None:
    assert adapter_rank(adapter(tmp_path / "a", r=rank)) == held


@given(st.integers(1, 512), st.dictionaries(st.text(max_size=5), st.integers(1, 512), max_size=3))
def test_the_room_is_enough_for_every_module(tmp_path_factory: Any, rank: int, pattern: dict[str, int]) -> None:
    held = adapter_rank(adapter(tmp_path_factory.getbasetemp() / "any", r=rank, rank_pattern=pattern))
    assert held in RANKS
    assert held >= max(rank, *pattern.values(), 1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"peft_type": "IA3"}, "kind 'IA3'; only LoRA"),
        ({"r": "8"}, "only LoRA can be served"),
        ({"r": True}, "only LoRA can be served"),
        ({"r": 0}, "only LoRA can be served"),
        ({"r": 600}, "rank 600 is more than vLLM's 512"),
        ({"rank_pattern": {"q_proj": 1024}}, "rank 1024 is more"),
        ({"rank_pattern": [3]}, "is no PEFT adapter"),
        ({"use_dora": True}, "with use_dora; merge it"),
        ({"modules_to_save": ["lm_head"]}, "with modules_to_save"),
        ({"weights": ""}, "holds no weights"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve_is_named(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        adapter_rank(adapter(tmp_path / "a", **changes))


def test_a_folder_that_is_missing_or_holds_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        adapter_rank(str(tmp_path / "none"))
    for text in (None, "{", "[]", '{"r": 8}', "3"):
        if text is not None:
            (tmp_path / ADAPTER).write_text(text)
        with pytest.raises(ValueError, match=r"is no PEFT adapter: its adapter_config\.json is missing or broken"):
            adapter_rank(str(tmp_path))


def test_templates_of_transformers_are_taken_whatever_tags_they_use(tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    text = (
        "{% for message in messages %}{% if loop.first %}{% continue %}{% endif %}"
        "{%- generation -%}{{ message['content'] | tojson }}{%- endgeneration -%}{% endfor %}"
    )
    path.write_text(text)
    assert chat_template(str(path)) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{% for message in messages %}\n{{ message }", "is no Jinja template: line 2: "),
        ("{% nonsense %}{{ messages }}", "is no Jinja template: line 1: "),
        ("Answer the question.", "never uses `messages`"),
    ],
)
def test_a_template_that_is_none_is_named(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text(text)
    with pytest.raises(ValueError, match=line):
        chat_template(str(path))


def test_a_template_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        chat_template(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="cannot be read"):
        chat_template(str(tmp_path))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00messages")
    with pytest.raises(ValueError, match="cannot be read"):
        chat_template(str(tmp_path / "bytes"))
