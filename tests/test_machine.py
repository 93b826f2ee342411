from __future__ import annotations

import pytest

from dsa_ray.machine import ClusterShape, shape_of, this_machine


def test_gpus_are_spread_evenly_unless_told() -> None:
    assert ClusterShape(cpus=1, gpus=5, nodes=2).cards() == [3, 2]
    assert ClusterShape(cpus=1, gpus=8, nodes=2, node_gpus=(0, 8)).cards() == [0, 8]


def test_cards_that_are_not_visible_do_not_count(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert this_machine().gpus == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine().gpus == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert this_machine().gpus == 0


def test_a_shape_in_words_is_a_cluster_to_plan_for() -> None:
    assert shape_of("cpus=96, gpus=8,gpu_gib=80") == ClusterShape(cpus=96, gpus=8, gpu_gib=80)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("gpus=8", "needs cpus"),
        ("cpus=8,cards=2", "known are cpus, gpus"),
        ("cpus", "write it as"),
        ("cpus=many", "'many' is no number"),
        ("cpus=8,gpus=1.5", "'1.5' is no number"),
        ("cpus=8,gpus=-1", "must be 0 or more"),
        ("cpus=nan", "must be 0 or more"),
        ("cpus=8,nodes=0", "at least one node"),
    ],
)
def test_a_shape_that_cannot_be_is_one_line(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        shape_of(text)
