"""What the main job refuses before it starts anything."""

import errno
import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dsa_ray.config import ConfigError, parse
from dsa_ray.exits import Exit
from dsa_ray.live import LiveView
from dsa_ray.pipeline import _check_student, _Run, run
from dsa_ray.ring import RingBroken
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.training.student_check import StudentError, StudentUnreadable
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


def test_a_student_of_a_hub_is_refused_alike_but_not_for_being_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse({"run": {"name": "one"}, "graph": {"target": "x"}, "student": {"model": "owner/of-a-hub"}})

    def refuse(error: StudentError) -> None:
        def check(path: str, row_tokens: int) -> None:
            assert (path, row_tokens) == ("owner/of-a-hub", config.train.row_tokens)
            raise error

        monkeypatch.setattr("dsa_ray.pipeline.check_apart", check)

    refuse(StudentError("it has no end token"))
    with pytest.raises(ConfigError, match=r"^student\.model: it has no end token"):
        run(config)
    refuse(StudentUnreadable("no connection"))
    _check_student(config)


def test_a_disk_that_is_full_at_the_end_takes_nothing_of_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse({"run": {"name": "one", "storage": str(tmp_path)}, "graph": {"target": "Limits"}})
    stopped: list[bool] = []

    def break_(ring: object) -> None:
        raise RingBroken("the checkpoint was not written; step-20 stays the latest")

    def full(folder: RunFolder, name: str, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    monkeypatch.setattr("dsa_ray.ring.Ring.start", break_)
    monkeypatch.setattr("dsa_ray.ring.Ring.stop", lambda ring: stopped.append(True))
    with RunFolder.create(config.run.storage, config) as folder, LiveView(plain=True) as view:
        monkeypatch.setattr(RunFolder, "write_text", full)
        assert _Run(config, folder, view).carry_out() == Exit.FAILED
    told = " ".join(capsys.readouterr().out.split())
    assert "step-20 stays the latest" in told
    assert "failure.json could not be written: No space left on device" in told
    assert "summary and report could not be written: No space left on device" in told
    assert stopped


def test_a_run_is_not_gone_on_with_when_what_its_texts_are_made_with_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_(ring: object) -> None:
        raise RingBroken("not to be started here")

    monkeypatch.setattr("dsa_ray.ring.Ring.start", break_)
    config = parse({"run": {"name": "one", "storage": str(tmp_path)}, "graph": {"target": "Limits"}})
    with RunFolder.create(config.run.storage, config) as folder:
        folder.write_text("fingerprint.json", '{"generate.prompts exercise.j2": "exercise@00000000"}')
    with pytest.raises(ConfigError, match=r"^generate\.prompts exercise\.j2: is not what it was"):
        run(config, resume=True)
