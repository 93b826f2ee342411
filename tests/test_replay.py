"""A run of one process and of the curator alone, replayed from its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsa_ray import cli, dynamics_commands
from dsa_ray.config import ConfigError
from dsa_ray.curriculum.curator import Curator
from dsa_ray.dynamics.replay import Outcome, replay
from dsa_ray.skills.start import elementary_in, graph_of
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum.simulation import World, small_config
from tests.test_local import run, small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Erroneous, hard and easy verdicts, drops that reach their cap, children."""
    keys = {"planted_min": 4, "burn_in_verdicts": 4, "window": 32, "cohort_steps": 4}
    return run(small(tmp_path_factory.mktemp("replay"), dynamics=keys | {"measure": "log_loss"}))[0]


def replayed(folder: RunFolder, **values: Any) -> Outcome:
    config = folder.config
    dynamics = config.dynamics.model_copy(update=values) if values else None
    return replay(folder.journal, config, elementary_in(config.graph, graph_of(folder)), dynamics)


def events(folder: RunFolder) -> list[dict[str, Any]]:
    return [row for _, rows in iter_segments(folder.journal, "events") for row in rows]


def copy_of(folder: RunFolder, target: Path, rows: list[dict[str, Any]]) -> RunFolder:
    """The same run with other events."""
    for name in ("journal", "checkpoints", "student"):
        (target / name).mkdir(parents=True)
    for name in ("config.json", "journal/format.json"):
        (target / name).write_bytes((Path(folder.path) / name).read_bytes())
    for place in Path(folder.journal).glob("written-*"):
        (target / "journal" / place.name).write_bytes(place.read_bytes())
    SegmentWriter(str(target / "journal"), "events").write(rows)
    return RunFolder.open(str(target))


def test_every_verdict_and_decision_comes_out_again(finished: RunFolder):
    outcome = replayed(finished)
    assert outcome.different() == []
    assert len(outcome.derived) == sum(row["event"] == "verdict" for row in events(finished)) > 20
    assert any(row["decision"]["orders"] for row in outcome.derived.values())


@pytest.mark.parametrize("field", ["mean_loss", "verdict", "decision"])
def test_a_verdict_that_was_tampered_with_is_found(finished: RunFolder, tmp_path: Path, field: str):
    rows = events(finished)
    tampered = [row for row in rows if row["event"] == "verdict"][7]
    others = {"mean_loss": tampered["mean_loss"] + 1e-15, "verdict": "erroneous", "decision": {}}
    tampered[field] = others[field] if others[field] != tampered[field] else "ambiguous"
    different = replayed(copy_of(finished, tmp_path / "run", rows)).different()
    assert [key[1:] for key in different] == [(tampered["exercise"], tampered["cycle"])]


def test_a_restart_goes_back_to_its_checkpoint_and_counts_nothing_twice(finished: RunFolder, tmp_path: Path):
    rows = events(finished)
    verdicts = [row["step"] for row in rows if row["event"] == "verdict"]
    back, end = sorted(set(verdicts))[3], sorted(set(verdicts))[8]
    first = next(row for row in rows if row["event"] == "observe" and row["step"] > end)
    attempt = {"event": "attempt", "attempt": 2, "step": back}
    again = [row for row in rows[: rows.index(first)] if row.get("step", 0) > back and row["event"] == "observe"]
    leases = [row for row in rows[: rows.index(first)] if row["event"] == "lease" and row["rows"][0]["step"] > back]
    outcome = replayed(copy_of(finished, tmp_path / "run", [*rows[: rows.index(first)], attempt, *leases, *again]))
    lost = {key[1:] for key in outcome.recorded if outcome.recorded[key]["step"] > back}
    assert {key[1:] for key in outcome.derived if key[0] == 2} == lost != set()
    assert outcome.standing(outcome.derived).keys() == {key[1:] for key in outcome.recorded}
    ordered = [row for key, row in outcome.derived.items() if key[0] == 2 and row["decision"]["orders"]]
    assert ordered == []  # what the first attempt ordered is remembered


def test_another_policy_judges_the_same_losses_otherwise(finished: RunFolder):
    assert replayed(finished, burn_in_verdicts=10**6).derived == {}
    outcome = replayed(finished, by_skill=False)
    assert outcome.different()
    assert outcome.derived.keys() == outcome.recorded.keys()
    assert len(replayed(finished, visits=2).derived) > len(outcome.derived)


def test_the_command_tells_by_its_exit_code(finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["replay", finished.path]) == 0
    assert "bit for bit" in capsys.readouterr().out
    rows = events(finished)
    next(row for row in rows if row["event"] == "verdict")["reason"] = "easy: because"
    changed = copy_of(finished, tmp_path / "run", rows)
    assert cli.main(["replay", changed.path]) == 1
    assert "easy: because" in capsys.readouterr().out


def test_the_command_tabulates_another_policy(finished: RunFolder, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["replay", finished.path, "dynamics.easy_weight=0.25", "dynamics.variants=0"]) == 0
    out = capsys.readouterr().out
    assert "down_weight" in out
    assert "decisions differ" in out


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.steps=3", "dynamics only"),
        ("dynamics.baseline=probe", "cannot change"),
        ("dynamics.no=1", "unknown key"),
    ],
)
def test_keys_that_a_replay_cannot_honour_are_refused(finished: RunFolder, override: str, told: str):
    with pytest.raises(ConfigError, match=told):
        dynamics_commands.replay_run(finished.path, [override])


def test_a_journal_of_an_older_version_is_refused_in_one_line(finished: RunFolder, tmp_path: Path):
    rows = [{key: value for key, value in row.items() if key != "exercises"} for row in events(finished)]
    with pytest.raises(ConfigError, match="older version"):
        dynamics_commands.replay_run(copy_of(finished, tmp_path / "run", json.loads(json.dumps(rows))).path, [])


@pytest.mark.parametrize("to_checkpoint", [True, False])
def test_a_run_whose_trainer_began_again_comes_out_again_with_what_was_void(tmp_path: Path, to_checkpoint: bool):
    world = World(small_config())
    curator = world.curator
    curator.start()
    state, attempt = None, begin(world, None)
    for _ in range(10_000):
        world.now += 1.0
        world.write()
        rows = curator.lease_rows(0, attempt, 1), curator.lease_rows(1, attempt, 1)
        if None in rows:
            break
        if not all(rows):
            continue
        world.observe(0, attempt, rows[0])
        world.observe(1, attempt, rows[1])
        if curator.ledger.closed_step == 40 and state is None:
            state = unpack_state(pack_state(curator.training_state()))
        if curator.ledger.closed_step == 52 and attempt == 1:
            curator.restore_training(state if to_checkpoint else None)
            attempt = begin(world, curator)
    config = world.config
    with RunFolder.create(str(tmp_path), config) as folder:
        SegmentWriter(folder.journal, "events").write(json.loads(json.dumps(world.events)))
        outcome = replay(folder.journal, config, curator.supply.elementary)
    assert outcome.different() == []
    assert outcome.restarts == [0, 40 if to_checkpoint else 0]
    void = outcome.recorded.keys() - {key for key in outcome.recorded if outcome.standing({key: outcome.recorded[key]})}
    assert void


def test_an_attempt_of_other_ranks_leaves_no_rows_behind_for_the_one_after_it(tmp_path: Path):
    world = World(small_config())
    curator = world.curator
    curator.start()
    attempt = begin(world, None)
    for until in (40, 50, 60):  # the second attempt plans other rows for the steps that are open at the checkpoint
        while curator.ledger.closed_step < until:
            world.now += 1.0
            world.write()
            world.train_step(attempt)
            if curator.ledger.closed_step == 40 and attempt == 1:
                curator.lease_rows(0, attempt, 2)  # open at the checkpoint
                state = unpack_state(pack_state(curator.training_state()))
        curator.resize(4 if until == 40 else 2)
        curator.restore_training(unpack_state(pack_state(state)))
        attempt = begin(world, curator)
    with RunFolder.create(str(tmp_path), world.config) as folder:
        SegmentWriter(folder.journal, "events").write(json.loads(json.dumps(world.events)))
        outcome = replay(folder.journal, world.config, curator.supply.elementary)
    assert outcome.different() == []
    assert outcome.restarts == [0, 40, 40, 40]


def begin(world: World, restarted: Curator | None) -> int:
    """A trainer starts, as `CuratorHost.begin_attempt` tells it."""
    attempt = world.curator.begin_attempt()
    step = world.curator.ledger.closed_step if restarted else 0
    world.events.append({"event": "attempt", "attempt": attempt, "step": step})
    world.curator.tell_open()
    return attempt
