"""What the main job refuses before it starts anything."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dsa_ray.config import ConfigError, parse
from dsa_ray.pipeline import run
from tests.engines.tiny_model import tiny_llama


def without_end(tokenizer: AutoTokenizer) -> None:
    tokenizer.eos_token = None


def with_more_words(tokenizer: AutoTokenizer) -> None:
    tokenizer.add_tokens(["one", "more"])


@pytest.mark.parametrize(
    ("harm", "words"),
    [(without_end, "has no eos_token"), (with_more_words, "has 263 entries, the model 261")],
)
def test_a_student_that_cannot_be_trained_is_refused_and_leaves_no_run(tmp_path: Path, harm, words: str) -> None:
    student = tiny_llama(tmp_path / "student")
    tokenizer = AutoTokenizer.from_pretrained(student)
    harm(tokenizer)
    tokenizer.save_pretrained(student)
    storage = tmp_path / "runs"
    config = parse(
        {"run": {"name": "one", "storage": str(storage)}, "graph": {"target": "x"}, "student": {"model": student}}
    )
    with pytest.raises(ConfigError, match=rf"^student\.model: .*{words}") as refusal:
        run(config)
    assert "\n" not in str(refusal.value)
    assert not storage.exists()


def test_a_student_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    student = tiny_llama(tmp_path / "student")
    for file in Path(student).glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ConfigError, match=r"^student\.model: .*cannot be read"):
        run(parse({"run": {"name": "one"}, "graph": {"target": "x"}, "student": {"model": student}}))
