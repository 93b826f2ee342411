from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.machine import ClusterShape, this_machine
from dsa_ray.memory import memory, model_shape
from dsa_ray.placement import Placement, PlacementError, bundles, demand, plan, render, settle, slow_rows
from dsa_ray.records import Scope

SMALL = ClusterShape(cpus=2, memory_gib=24)


def config(**sections: Any) -> Config:
    return parse({"run": {"name": "test"}, "graph": {"target": "calculus"}, **sections})


def test_everything_fits_two_cpus_and_nobody_gets_nothing() -> None:
    placement = plan(config(train={"ranks": 2}), SMALL)
    assert placement.cpus <= 2.0
    assert min(share.cpus for share in placement.shares) > 0
    assert placement["rank"].count == placement["training_source"].count == 2


def test_processes_that_compute_get_more_than_those_that_pass_on() -> None:
    placement = plan(config(), SMALL)
    assert placement["rank"].cpus > placement["curator"].cpus
    assert placement["teacher"].cpus > placement["generation_source"].cpus


@given(
    cpus=st.floats(0.5, 512),
    ranks=st.integers(1, 16),
    replicas=st.integers(1, 16),
    gpus=st.sampled_from([0.0, 0.25, 1]),
)
def test_a_plan_never_hands_out_more_than_there_is(cpus: float, ranks: int, replicas: int, gpus: float) -> None:
    wanted = config(
        teacher={"memory_fraction": 0.2},
        train={"ranks": ranks},
        generate={"replicas": replicas},
        cluster={"rank_gpus": gpus, "replica_gpus": gpus},
    )
    try:
        placement = plan(wanted, ClusterShape(cpus=cpus, gpus=16, nodes=2))
    except PlacementError:
        return
    assert placement.cpus <= cpus + 1e-9
    assert placement.gpus <= 16


def test_a_large_machine_gives_each_process_what_it_can_use() -> None:
    placement = plan(config(), ClusterShape(cpus=64))
    assert placement["rank"].cpus == 4
    assert placement["curator"].cpus == 1
    assert placement.cpus < 64


def test_threads_divide_the_real_cpus_among_those_that_compute() -> None:
    assert plan(config(train={"ranks": 2}), SMALL)["rank"].threads == 1
    assert plan(config(), ClusterShape(cpus=16))["rank"].threads == 8


def test_a_process_on_a_gpu_asks_for_no_compute_threads() -> None:
    wanted = config(teacher={"memory_fraction": 0.5}, cluster={"rank_gpus": 0.5, "replica_gpus": 0.5})
    assert plan(wanted, ClusterShape(cpus=16, gpus=1))["rank"].threads == 1


def test_a_hundred_ranks_on_two_cpus_are_refused_by_name() -> None:
    with pytest.raises(PlacementError, match=r"train\.ranks: 100 of rank .* at least 1\d\.\d CPUs, the cluster has 2"):
        plan(config(train={"ranks": 100}), SMALL)


def test_gpus_that_are_not_there_are_refused_with_what_asks_for_them() -> None:
    wanted = config(train={"ranks": 8}, cluster={"rank_gpus": 1})
    with pytest.raises(PlacementError, match=r"cluster\.rank_gpus: 8 GPUs asked \(8 x 1 \(rank\)\), .* no GPU"):
        plan(wanted, SMALL)


def test_teacher_and_trainer_can_share_one_card() -> None:
    cards = {"replica_gpus": 0.4, "rank_gpus": 0.45, "student_gpus": 0.15}
    wanted = config(teacher={"memory_fraction": 0.35}, cluster=cards)
    assert plan(wanted, ClusterShape(cpus=16, gpus=1)).gpus == pytest.approx(1.0)


def test_fractions_that_fit_in_sum_but_on_no_card_are_refused() -> None:
    wanted = config(train={"ranks": 3}, cluster={"rank_gpus": 0.6})
    with pytest.raises(PlacementError):
        plan(wanted, ClusterShape(cpus=64, gpus=2))


def test_a_tensor_parallel_replica_needs_its_cards_on_one_node() -> None:
    wanted = config(teacher={"tensor_parallel": 4}, cluster={"replica_gpus": 4})
    assert plan(wanted, ClusterShape(cpus=64, gpus=8, nodes=2))["teacher"].gpus == 4
    with pytest.raises(PlacementError):
        plan(wanted, ClusterShape(cpus=64, gpus=8, nodes=4))


def test_a_head_node_without_gpus_does_not_thin_out_the_others() -> None:
    wanted = config(teacher={"tensor_parallel": 8}, cluster={"replica_gpus": 8})
    assert plan(wanted, ClusterShape(cpus=64, gpus=8, nodes=2, node_gpus=(0, 8)))["teacher"].count == 1


def test_tensor_parallel_and_gpus_per_replica_have_to_agree() -> None:
    with pytest.raises(PlacementError, match=r"set cluster\.replica_gpus=4"):
        plan(config(teacher={"tensor_parallel": 4}), ClusterShape(cpus=64, gpus=8))


def test_a_replica_may_not_take_more_memory_than_its_part_of_the_card() -> None:
    with pytest.raises(PlacementError, match=r"teacher\.memory_fraction: a replica would take 0\.9"):
        plan(config(cluster={"replica_gpus": 0.5}), ClusterShape(cpus=8, gpus=1))


@pytest.mark.parametrize("key", ["replica_gpus", "student_gpus"])
def test_broken_gpus_above_one_are_refused(key: str) -> None:
    with pytest.raises(PlacementError, match=rf"cluster\.{key}: 1\.5"):
        plan(config(cluster={key: 1.5}), ClusterShape(cpus=64, gpus=8))


def test_a_rank_uses_at_most_one_gpu() -> None:
    with pytest.raises(PlacementError, match=r"raise train\.ranks"):
        plan(config(cluster={"rank_gpus": 2}), ClusterShape(cpus=64, gpus=8))


def test_more_cpus_than_this_machine_has_are_refused() -> None:
    with pytest.raises(PlacementError, match=r"cluster\.cpus: 8 CPUs asked, this machine has 2"):
        plan(config(cluster={"cpus": 8}), SMALL)


def test_an_autoscaler_may_bring_more_cpus_than_are_there_now() -> None:
    assert plan(config(cluster={"cpus": 64, "address": "auto"}), SMALL)["rank"].cpus == 4


def test_fewer_cpus_than_there_are_can_be_asked_for() -> None:
    assert plan(config(cluster={"cpus": 2}), ClusterShape(cpus=64)).cpus <= 2


def test_an_endpoint_outside_the_cluster_takes_no_gpu_here() -> None:
    wanted = config(teacher={"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}, cluster={"replica_gpus": 1})
    assert plan(wanted, SMALL)["teacher"].gpus == 0


def test_what_a_run_demands_is_a_cluster_on_which_it_can_be_placed() -> None:
    wanted = config(
        teacher={"tensor_parallel": 4},
        generate={"replicas": 3},
        train={"ranks": 8},
        cluster={"replica_gpus": 4, "rank_gpus": 1, "student_gpus": 0.5},
    )
    shape = demand(wanted)
    assert shape.gpus == 21
    assert plan(wanted, shape)["rank"].cpus == 2


def test_a_placement_error_is_a_configuration_error() -> None:
    assert issubclass(PlacementError, ConfigError)


def test_this_machine_has_cpus_and_memory() -> None:
    shape = this_machine()
    assert shape.cpus >= 1
    assert shape.memory_gib > 0.1


def test_the_table_names_every_process_and_its_memory() -> None:
    wanted = config()
    text = render(plan(wanted, SMALL), memory(wanted, [model_shape("x-1B")], model_shape("x-1B")))
    for word in ("curator", "recorder", "teacher", "student", "rank", "examiner", "together", "optimizer"):
        assert word in text


def test_the_table_warns_when_memory_will_not_do() -> None:
    wanted = config()
    rows = memory(wanted, [model_shape("x-70B")], model_shape("x-1B"))
    assert "warning" in render(plan(wanted, SMALL), rows)
    assert "warning" not in render(plan(wanted, ClusterShape(cpus=2, memory_gib=2000)), rows)


def test_each_teacher_of_a_pool_has_to_agree_with_its_cards() -> None:
    teachers = [{"model": "a", "tensor_parallel": 2}, {"model": "b"}]
    assert plan(config(teachers=teachers, cluster={"replica_gpus": 2}), ClusterShape(cpus=64, gpus=4)).gpus == 4
    with pytest.raises(PlacementError, match=r"teachers\.0\.tensor_parallel=2 .* set cluster\.replica_gpus=2"):
        plan(config(teachers=teachers, cluster={"replica_gpus": 1}), ClusterShape(cpus=64, gpus=4))


def test_an_elastic_pool_needs_only_its_least_replicas_to_begin() -> None:
    wanted = config(
        generate={"replicas": 4, "min_replicas": 1},
        train={"ranks": 2},
        cluster={"replica_gpus": 1, "rank_gpus": 1, "address": "auto"},
    )
    small = ClusterShape(cpus=64, gpus=3)
    with pytest.raises(PlacementError, match="6 GPUs asked"):
        plan(wanted, small)
    assert plan(wanted, small, elastic=True)["teacher"].count == 4
    with pytest.raises(PlacementError, match="3 GPUs asked"):
        plan(wanted, ClusterShape(cpus=64, gpus=2), elastic=True)


def test_elastic_ranks_need_only_their_least_number_to_begin() -> None:
    groups = {"rank": "trainer", "teacher": "generator", "student": "generator", "core": "head"}
    places = {"rank_gpus": 1, "address": "auto", "groups": groups}
    wanted = config(train={"ranks": 8, "min_ranks": 2}, cluster=places)
    assert plan(wanted, ClusterShape(cpus=64, gpus=2), elastic=True)["rank"].count == 8
    with pytest.raises(PlacementError, match="2 GPUs asked"):
        plan(wanted, ClusterShape(cpus=64, gpus=1), elastic=True)
    assert sum("trainer" in bundle for bundle in bundles(wanted)) == 2 + 2  # each with its reader


def test_a_group_without_a_node_is_missing_unless_nobody_of_it_is_needed_to_begin() -> None:
    groups = {"core": "head", "rank": "trainer", "teacher": "spot"}
    wanted = config(generate={"replicas": 4, "min_replicas": 0}, cluster={"groups": groups})
    there = ClusterShape(cpus=64, resources=frozenset({"CPU", "head", "trainer"}))
    assert plan(wanted, there, elastic=True)["teacher"].count == 4
    with pytest.raises(PlacementError, match=r"cluster\.groups: 4 of teacher need a node .* 'spot'"):
        plan(wanted, there)
    with pytest.raises(PlacementError, match=r"cluster\.groups: 1 of rank need a node .* 'trainer'"):
        plan(wanted, ClusterShape(cpus=64, resources=frozenset({"head"})), elastic=True)
    assert plan(wanted, ClusterShape(cpus=64))["rank"].count == 1


def test_an_autoscaler_is_told_what_a_run_needs_and_on_which_nodes() -> None:
    wanted = config(
        generate={"replicas": 4, "min_replicas": 0},
        train={"ranks": 2},
        cluster={"replica_gpus": 1, "rank_gpus": 1, "groups": {"core": "head", "rank": "trainer", "teacher": "spot"}},
    )
    asked = bundles(wanted)
    ranks, readers = [{"CPU": 2.0, "GPU": 1, "trainer": 0.001}] * 2, [{"CPU": 0.5, "trainer": 0.001}] * 2
    assert [bundle for bundle in asked if "trainer" in bundle] == ranks + readers
    assert sum("head" in bundle for bundle in asked) == 3 + 4  # curator, recorder, examiner; a reader per replica
    assert not any("spot" in bundle for bundle in asked)
    assert any("trainer" in bundle for bundle in bundles(wanted, Scope.TRAINING))
    assert not any("trainer" in bundle for bundle in bundles(wanted, Scope.TEXTS))


def test_a_placement_is_waited_for_and_asked_for_once() -> None:
    asked: list[int] = []

    def find() -> Placement:
        if len(looks) < 3:
            looks.append(0)
            raise PlacementError("2 GPUs asked, the cluster has no GPU")
        return plan(config(), SMALL)

    looks: list[int] = []
    assert settle(find, lambda: asked.append(1), timeout_s=0.5).cpus > 0
    assert asked == [1]


def test_a_placement_that_does_not_come_says_what_is_missing_and_how_long_it_was_waited_for() -> None:
    wanted = config(train={"ranks": 8}, cluster={"rank_gpus": 1, "address": "auto"})
    with pytest.raises(PlacementError, match=r"8 GPUs asked .* \(waited 0\.2 s, cluster\.placement_timeout_s\)"):
        settle(lambda: plan(wanted, SMALL), lambda: None, timeout_s=0.2)


def test_long_rows_are_warned_of_on_cpu_alone() -> None:
    assert not slow_rows(config(train={"row_tokens": 512}))
    [line] = slow_rows(config(train={"row_tokens": 513}))
    assert line.startswith("train.row_tokens: rows of 513 train slower on CPU than rows of 512")
    assert not slow_rows(config(train={"row_tokens": 4096}, cluster={"rank_gpus": 1}))
