from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.preflight import (
    JOB_VARIABLE,
    check_engines,
    check_factories,
    check_groups,
    check_models,
    check_storage,
    looks_like_path,
)


def config(**sections: Any) -> Config:
    return parse({"run": {"name": "test"}, "graph": {"target": "calculus"}, **sections})


def with_model(folder: Path) -> str:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


@pytest.mark.parametrize("name", ["./model", "/models/x", "~/models/x", "runs/a/student", "../x"])
def test_a_name_with_a_place_in_it_is_a_folder(name: str) -> None:
    assert looks_like_path(name)


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen3-0.6B", "embedded:teacher"])
def test_hub_names_are_no_folders(name: str) -> None:
    assert not looks_like_path(name)


def test_groups_of_nodes_need_a_cluster_that_has_them() -> None:
    places = {"groups": {"rank": "trainer"}}
    with pytest.raises(ConfigError, match=r"cluster\.groups: .* set cluster\.address=auto"):
        check_groups(config(cluster=places), {})
    check_groups(config(cluster=places), {"RAY_ADDRESS": "auto"})
    check_groups(config(cluster={**places, "address": "auto"}), {})
    check_groups(config(), {})


@pytest.mark.parametrize("key", ["teacher", "student"])
def test_a_missing_model_folder_is_refused_by_its_key(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{key}\.model: there is no folder"):
        check_models(config(**{key: {"model": str(tmp_path / "none")}}))


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"student\.model: .* no config\.json"):
        check_models(config(student={"model": str(tmp_path)}))


def test_a_model_folder_is_accepted(tmp_path: Path) -> None:
    check_models(config(student={"model": with_model(tmp_path / "model")}))


def test_an_unknown_embedded_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"embedded:teacher and embedded:student"):
        check_models(config(teacher={"model": "embedded:professor"}))


def test_a_name_that_no_hub_could_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.model: 'my model'"):
        check_models(config(teacher={"model": "my model"}))


def test_a_hub_model_is_not_looked_up_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    check_models(config(teacher={"model": "no-such-owner/no-such-model"}))


def test_offline_a_hub_model_has_to_be_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="not in the Hugging Face cache"):
        check_models(config(teacher={"model": "owner/model"}))
    snapshot = tmp_path / "models--owner--model" / "snapshots"
    snapshot.mkdir(parents=True)
    with_model(snapshot / "1")
    check_models(config(teacher={"model": "owner/model"}))


def test_the_name_of_a_served_model_is_its_servers_matter() -> None:
    check_models(config(teacher={"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "a b c"}))


def test_a_missing_exam_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.exam: there is no file none\.jsonl"):
        check_models(config(evaluate={"exam": "none.jsonl"}))


@pytest.mark.parametrize("missing", ["vllm", "ray", "deepspeed", "peft"])
def test_a_missing_library_is_one_line_that_says_how_to_get_it(missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{missing}: not installed.*make setup") as error:
        check_engines(config(), find=lambda name: None if name == missing else object())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("factory", ["module", "module:", ":name", "module:no name", "no.such.module:build"])
def test_a_factory_that_cannot_be_found_is_refused(factory: str) -> None:
    def find(name: str) -> object:
        if name.startswith("no."):
            raise ModuleNotFoundError(name)
        return object()

    teacher = {"kind": "python", "factory": factory}
    with pytest.raises(ConfigError, match=r"^teacher\.factory: ") as error:
        check_engines(config(teacher=teacher), find=find)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"^teachers\.1\.factory: "):
        check_engines(config(teachers=[{"kind": "python", "factory": "a:b"}, teacher]), find=find)
    check_factories(config(teacher=teacher, teachers=[{"kind": "python", "factory": "a:b"}]), find=find)


def test_a_relative_storage_is_fine_on_this_machine_and_refused_in_a_job() -> None:
    check_storage(config(), {})
    with pytest.raises(ConfigError, match=r"run\.storage: 'runs' is relative"):
        check_storage(config(), {JOB_VARIABLE: "{}"})


@pytest.mark.parametrize("storage", ["/shared/runs", "s3://bucket/runs"])
def test_an_absolute_storage_is_fine_in_a_job(storage: str) -> None:
    check_storage(config(run={"name": "test", "storage": storage}), {JOB_VARIABLE: "{}"})


def test_a_storage_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    file.touch()
    with pytest.raises(ConfigError, match="is a file"):
        check_storage(config(run={"name": "test", "storage": str(file)}), {})


def test_the_variable_that_tells_a_job_is_still_the_one_that_ray_sets() -> None:
    constants = pytest.importorskip("ray._private.runtime_env.constants")
    assert constants.RAY_JOB_CONFIG_JSON_ENV_VAR == JOB_VARIABLE


def test_an_adapter_or_a_template_that_cannot_be_served_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^teacher\.adapter: there is no folder .* PEFT adapter$"):
        check_models(config(teacher={"adapter": str(tmp_path / "none")}))
    (tmp_path / "chat.jinja").write_text("{% for %}{{ messages }}")
    second = {"chat_template": str(tmp_path / "chat.jinja")}
    with pytest.raises(ConfigError, match=r"^teachers\.1\.chat_template: .* is no Jinja template: line 1"):
        check_models(config(teachers=[{}, second]))
