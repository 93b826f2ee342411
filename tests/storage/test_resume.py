import pytest

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.storage.resume import MAY_CHANGE, check_resume


def a_config(**sections: dict) -> Config:
    data = {"run": {"name": "one"}, "graph": {"target": "Calculus"}}
    return parse({**data, **{name: {**data.get(name, {}), **values} for name, values in sections.items()}})


def test_the_same_configuration_resumes() -> None:
    check_resume(a_config(), a_config())


@pytest.mark.parametrize(
    "change",
    [
        {"run": {"storage": "s3://bucket/runs"}},
        {"cluster": {"cpus": 4, "rank_gpus": 1, "address": "auto"}},
        {"watch": {"stall_s": 900}},
        {"train": {"steps": 999}},
        {"train": {"ranks": 2}},
        {"train": {"checkpoint_every": 5, "slots": 64}},
        {"generate": {"replicas": 8, "in_flight": 8, "slots": 512}},
        {"teacher": {"memory_fraction": 0.5, "tensor_parallel": 2}},
    ],
)
def test_where_and_how_long_may_change(change: dict) -> None:
    check_resume(a_config(), a_config(**change))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"run": {"seed": 1}}, "run.seed"),
        ({"graph": {"target": "Algebra"}}, "graph.target"),
        ({"graph": {"elementary": ["Counting"]}}, "graph.elementary"),
        ({"teacher": {"model": "other"}}, "teacher.model"),
        ({"student": {"model": "other"}}, "student.model"),
        ({"generate": {"temperature": 0.5}}, "generate.temperature"),
        ({"train": {"row_tokens": 1024}}, "train.row_tokens"),
        ({"train": {"rows_per_step": 4}}, "train.rows_per_step"),
        ({"train": {"zero_stage": 1}}, "train.zero_stage"),
        ({"train": {"precision": "fp32"}}, "train.precision"),
        ({"train": {"lora_rank": 8}}, "train.lora_rank"),
        ({"train": {"deepspeed": {"zero_optimization": {"overlap_comm": True}}}}, "train.deepspeed"),
        ({"dynamics": {"visits": 2}}, "dynamics.visits"),
        ({"evaluate": {"exam": "mine.jsonl"}}, "evaluate.exam"),
    ],
)
def test_what_is_computed_may_not_change_and_the_line_names_the_key(change: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}.*put it back") as refusal:
        check_resume(a_config(), a_config(**change))

    assert "\n" not in str(refusal.value)


def test_the_line_shows_each_difference() -> None:
    with pytest.raises(ConfigError) as refusal:
        check_resume(a_config(), a_config(run={"seed": 1}, train={"row_tokens": 1024, "precision": "fp32"}))
    for difference in ("run.seed: was 0, is now 1", "row_tokens: was 512, is now 1024", "was 'bf16', is now 'fp32'"):
        assert difference in str(refusal.value)
    assert "--allow-changes" in str(refusal.value)


def test_many_differences_are_counted() -> None:
    many = {"row_tokens": 1024, "precision": "fp32", "lora_rank": 8, "zero_stage": 1}
    with pytest.raises(ConfigError, match="and 1 more; put it back"):
        check_resume(a_config(), a_config(run={"seed": 1}, train=many))


def test_whoever_allows_changes_gets_them() -> None:
    check_resume(a_config(), a_config(run={"seed": 1}, train={"row_tokens": 1024}), allow=True)


def test_every_key_that_may_change_exists() -> None:
    known = a_config().model_dump()
    for key in MAY_CHANGE:
        section, _, field = key.partition(".")
        assert section in known
        assert not field or field in known[section], key
