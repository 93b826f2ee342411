from __future__ import annotations

from dsa_ray.machine import ClusterShape, this_machine


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
