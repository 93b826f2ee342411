import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, PreTrainedConfig, T5Config, ViTConfig

from dsa_ray.training.student_check import StudentError, StudentUnreadable, check_apart, check_student
from tests.engines.tiny_model import tiny_llama


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return tiny_llama(tmp_path / "student")


def test_a_student_of_fewer_positions_than_a_row_has_is_refused(folder: str) -> None:
    positions = AutoConfig.from_pretrained(folder).max_position_embeddings
    check_student(folder, positions)
    with pytest.raises(StudentError, match=f"knows {positions} positions, fewer than train.row_tokens {positions + 1}"):
        check_student(folder, positions + 1)


@pytest.mark.parametrize("config", [T5Config(), ViTConfig()])
def test_what_is_no_causal_language_model_is_refused(folder: str, config: PreTrainedConfig) -> None:
    config.save_pretrained(folder)
    with pytest.raises(StudentError, match=f"a {config.model_type} model is no causal language model"):
        check_student(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"model_type": 1, "tokenizer_class": 2}'])
def test_files_of_any_wrong_shape_make_it_unreadable_in_one_line(folder: str, file: str, text: str) -> None:
    Path(folder, file).write_text(text)
    with pytest.raises(StudentUnreadable, match="model or tokenizer cannot be read") as refusal:
        check_student(folder)
    assert "\n" not in str(refusal.value)


def test_a_process_of_its_own_says_the_same_and_leaves_no_torch_behind(folder: str, tmp_path: Path) -> None:
    check_apart(folder, 1024)
    with pytest.raises(StudentError, match="it knows 1024 positions") as refusal:
        check_apart(folder, 1025)
    assert not isinstance(refusal.value, StudentUnreadable)
    with pytest.raises(StudentUnreadable, match="cannot be read"):
        check_apart(str(tmp_path / "nowhere"))
    code = "import sys; import dsa_ray.pipeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hub_that_does_not_answer_is_out_of_reach(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsa_ray.training.student_check.LOOK_S", 0.01)
    with pytest.raises(StudentUnreadable, match=r"cannot be read \(not within 0.01 s\)"):
        check_apart(folder)


def test_a_process_that_breaks_is_no_verdict_on_the_student(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsa_ray.training.student_check.__name__", "dsa_ray.training.no_such_module")
    with pytest.raises(RuntimeError, match="looking at the student failed"):
        check_apart(folder)
