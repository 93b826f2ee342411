"""Every mistake that a user can make in a configuration is one line that names the key."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import Config, ConfigError, load, parse

SMALLEST = "run: {name: test}\ngraph: {target: calculus}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def config(**sections: Any) -> Config:
    return parse({"run": {"name": "test"}, "graph": {"target": "calculus"}, **sections})


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.step=5", r"train\.step: unknown key; did you mean 'steps'\?"),
        ("trian.steps=5", r"trian: unknown key; did you mean 'train'\?"),
        ("train.xyzzy=5", r"train\.xyzzy: unknown key; known here: activation_checkpointing"),
        ("train.steps=many", r"train\.steps: .*valid integer.* 'many'"),
        ("train.steps=0", r"train\.steps: .*greater than or equal to 1, not 0"),
        ("train.warmup=1.5", r"train\.warmup: .*less than or equal to 1"),
        ("train.zero_stage=4", r"train\.zero_stage: .*not 4"),
        ("train.slots=3", r"train\.slots: 3 rows cannot feed .* use at least 4"),
        ("generate.slots=10", r"generate\.slots: 10 is less than generate\.in_flight 64"),
        ("train.precision=fp16", r"train\.precision: fp16 needs a GPU"),
        ("run.name=a/b", r"run\.name: .*pattern"),
        ("run.name=../up", r"run\.name: .*pattern"),
        ("run.name=", r"run\.name: .*valid string, not None"),
        ("graph.target=''", r"graph\.target: .*at least 1 character"),
        ("teacher.kind=openai", r"teacher\.base_url: an openai teacher needs its endpoint"),
        ("teacher.quantization=int3", r"teacher\.quantization: .*'awq', .* not 'int3'"),
        (
            "teacher={kind: openai, base_url: 'http://x/v1', adapter: lora}",
            r"teacher\.adapter: has no effect with teacher\.kind=openai; leave it out",
        ),
        ("teacher={kind: python, factory: 'a:b', prefix_caching: false}", r"teacher\.prefix_caching: has no effect"),
        ("teacher.input_price=-1", r"teacher\.input_price: .*greater than or equal to 0"),
        ("teacher.kind=python", r"teacher\.factory: a python teacher needs it"),
        ("generate.max_textbook_tokens=1024", r"generate\.max_textbook_tokens: 1024 leaves no room"),
        ("generate.max_question_tokens=513", r"generate\.max_question_tokens: 513 is more than train\.row_tokens"),
        ("dynamics.visit_cap=2", r"dynamics\.visit_cap: 2 is less than dynamics\.visits 3"),
        ("train.deepspeed={train_batch_size: 3}", r"train\.deepspeed\.train_batch_size: .* train\.rows_per_step"),
        ("train.deepspeed={zero_optimization: {stage: 1}}", r"belongs to train\.zero_stage"),
        ("train.deepspeed.zero_optimization=3", r"train\.deepspeed\.zero_optimization: 3 is no section"),
        ("train.deepspeed={torch_autocast: {enabled: true}}", r"deepspeed\.torch_autocast: .* train\.precision; set"),
        (
            "train.deepspeed={data_types: {grad_accum_dtype: bf16}}",
            r"data_types\.grad_accum_dtype: .* train\.precision",
        ),
        ("train.deepspeed={activation_checkpointing: {}}", r"belongs to train\.activation_checkpointing"),
        ("train.deepspeed={checkpoint: {load_universal: true}}", r"checkpoint\.load_universal: this value belongs to"),
        ("train.lora_targets=[q_proj]", r"train\.lora_targets: .* train\.lora_rank is 0; set"),
        ("train.quantize=nf4", r"train\.quantize: nf4 weights are frozen, .* set train\.lora_rank=8"),
        ("train={quantize: nf4, lora_rank: 8}", r"train\.quantize: nf4 needs a GPU; set cluster\.rank_gpus=1"),
        ("train.compile=true", r"train\.compile: pays on GPUs only"),
        ("train={zero_stage: 0, offload_optimizer: true}", r"train\.offload_optimizer: ZeRO 0 .* train\.zero_stage=2"),
        ("train.offload_parameters=true", r"train\.offload_parameters: ZeRO 2 cannot do it; use train\.zero_stage=3"),
        (
            "train={offload_optimizer: true, deepspeed: {zero_optimization: {offload_optimizer: {device: nvme}}}}",
            r"train\.deepspeed\.zero_optimization\.offload_optimizer: train\.offload_optimizer is set too",
        ),
        ("train={textbook_passes: 0, textbook_replay: 0.1}", r"train\.textbook_replay: there is nothing to read again"),
        ("train.min_ranks=2", r"train\.min_ranks: 2 is more than train\.ranks 1"),
        ("train.min_ranks=1", r"train\.min_ranks: .* name the resources of all groups in cluster\.groups"),
        ("cluster.groups={ranks: trainer}", r"cluster\.groups\.ranks.*: input should be 'core', 'teacher'"),
        ("cluster.groups={rank: a b}", r"cluster\.groups\.rank: .*pattern"),
        ("train.schedule=step", r"train\.schedule: .*'step'"),
        ("train.textbook_order=alphabet", r"train\.textbook_order: .*'alphabet'"),
        ("evaluate.answer_timeout_s=3", r"evaluate\.answer_timeout_s: .*less than or equal to 2"),
        ("train", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("train..steps=3", "write it as section.key=value"),
        ("train.steps=[1", "not valid YAML"),
        ("run.name=2024-13-01", "not valid YAML; quote it"),
        ("run.name=2024-12-01", r"run\.name: .*valid string"),
        ("run.name.first=x", "'name' is a value, not a section"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=line) as error:
        load(written(tmp_path, SMALLEST), [override])
    assert "\n" not in str(error.value)


def test_elastic_ranks_have_nodes_of_their_own() -> None:
    groups = {"rank": "trainer", "teacher": "generator", "student": "generator", "core": "head"}
    assert config(train={"ranks": 4, "min_ranks": 2}, cluster={"groups": groups}).train.min_ranks == 2
    with pytest.raises(ConfigError, match="that of rank there alone"):
        config(train={"ranks": 4, "min_ranks": 2}, cluster={"groups": {**groups, "teacher": "trainer"}})
    del groups["core"]
    with pytest.raises(ConfigError, match="all groups"):
        config(train={"ranks": 4, "min_ranks": 2}, cluster={"groups": groups})


def test_zero_3_with_lora_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"train\.lora_rank: LoRA with train\.zero_stage=3 .* use train\.zero_stage=2"
    ):
        config(train={"zero_stage": 3, "lora_rank": 8})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "must hold sections"),
        ("- a\n- b\n", "must hold sections"),
        ("run: [", r"is not valid YAML \(line 1: "),
        ("run:\n  name: 2024-13-01\n", r"line 2: timestamp '2024-13-01': month must be in 1\.\.12; quote"),
        ("run: {name: !!timestamp soon}", r"line 1: timestamp 'soon': "),
        ("run: {name: !!bool maybe}", r"line 1: bool 'maybe': "),
        ("run: {name: !!int ''}", "line 1: int '': "),
        (f"run: {'9' * 5000}", "line 1: int '9999"),
        ("run: " + "[" * 5000, "nested too deep"),
        ("run: {name: test}\n", "graph: missing"),
        ("run: 3\ngraph: {target: x}\n", "run: "),
        ("run: {name: test, 1: 2}\ngraph: {target: x}\n", "run.1: "),
        ("1: 2\nrun: {name: test}\ngraph: {target: x}\n", "1: "),
        ("run: &a {name: test}\ngraph: *a\n", "graph.target: missing"),
    ],
)
def test_a_broken_file_is_one_line(text: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=line) as error:
        load(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml")


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="is no text"):
        load(path)


def test_overrides_win_over_the_file_and_make_sections(tmp_path: Path) -> None:
    loaded = load(
        written(tmp_path, SMALLEST), ["train.steps=7", "run.name=other", "generate.skills_per_exercise=[1, 3]"]
    )
    assert (loaded.train.steps, loaded.run.name) == (7, "other")
    assert loaded.generate.skills_per_exercise == (1, 3)


def test_a_textbook_has_to_fit_the_teachers_that_write_it() -> None:
    long, short = {"model": "a", "max_model_len": 8192}, {"model": "b", "max_model_len": 1024}
    assert config(teachers=[long, {**short, "writes": ["answers"]}], generate={"max_textbook_tokens": 4096})
    with pytest.raises(ConfigError, match=r"max_textbook_tokens: 4096 leaves no room .* 1024"):
        config(teachers=[long, short], generate={"max_textbook_tokens": 4096})


def test_what_is_written_out_is_read_back_the_same() -> None:
    known = config(train={"steps": 3})
    assert parse(known.model_dump(mode="json")) == known


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(Exception, match="frozen"):
        config().train.steps = 3  # type: ignore[misc]


@given(st.text(max_size=40))
def test_any_override_is_accepted_or_refused_as_a_configuration_error(override: str) -> None:
    path = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
    with suppress(ConfigError):
        load(path, [override])
