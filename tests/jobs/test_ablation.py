"""The parts of the ablation: configurations, equal tokens, the store, the intervals and the random control."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from pathlib import Path

import pytest

from dsa_ray.dynamics.decisions import ExerciseFacts, Policy
from dsa_ray.records import Kind, Verdict, VerdictClass
from dsa_ray.sections import DynamicsConfig

BENCH = Path(__file__).resolve().parents[2] / "jobs" / "bench"
NAMES = ("_ablation_arms", "_ablation_control", "_ablation_plot", "_lego_arms", "_verdict_exam", "ablation")
DYNAMICS = DynamicsConfig(harder=2, variants=2, max_difficulty=5)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import _ablation_arms
    import _ablation_control
    import _ablation_plot
    import ablation

    yield type("Bench", (), {"arms": _ablation_arms, "control": _ablation_control, "plot": _ablation_plot,
                             "job": ablation})  # fmt: skip
    for name in NAMES:
        sys.modules.pop(name, None)


def facts(exercise: int, replay: bool = False) -> ExerciseFacts:
    skills = ("addition",) if replay else (f"skill-{exercise % 5}",)
    return ExerciseFacts(kind=Kind.EXERCISE, skills=skills, difficulty=1 + exercise % 2, replay=replay)


def verdicts(classes: list[VerdictClass]) -> list[Verdict]:
    """Two a step."""
    return [
        Verdict(exercise=number, cycle=0, step=number // 2, verdict=each, mean_loss=0.0, loss_spread=0.0, reason="told")
        for number, each in enumerate(classes, start=1)
    ]


def recorded(bench, judged: list[Verdict]):
    """What the real policy makes of these verdicts, every seventh on an elementary skill, as a run's events tell it."""
    policy, events = Policy(DYNAMICS), []
    for verdict in judged:
        about = facts(verdict.exercise, replay=verdict.exercise % 7 == 0)
        decision = policy.decide(verdict, about)
        told = {
            "actions": list(decision.actions),
            "weight": decision.weight,
            "reason": decision.reason,
            "orders": [{"kind": order.kind.value, "parents": list(order.parents)} for order in decision.orders],
        }
        events.append({"event": "request", "id": verdict.exercise, "skills": list(about.skills)})
        events.append({"event": "verdict", "exercise": verdict.exercise, "step": verdict.step, "decision": told,
                       "children": list(range(len(decision.orders)))})  # fmt: skip
    return bench.control.consequences(events, ["addition"])


def test_every_arm_is_a_configuration_of_the_same_steps(bench, tmp_path: Path):
    setting = bench.arms.Setting(seed=3, steps=100)
    for arm in bench.arms.ARMS:
        config = bench.arms.config_of(arm, setting, str(tmp_path), book_rows=11)
        books = math.ceil(11 * config.train.textbook_passes / 2)
        most = math.ceil(11 / 2) if arm.startswith("textbooks") else 0
        assert (books > 0) == (arm != "exercises")
        assert 0 <= books + config.train.steps - setting.steps <= most, arm
        assert (config.train.rows_in_step, config.train.row_tokens, config.run.seed) == (2, 512, 3)
        assert config.train.learning_rate == (1e-12 if arm.startswith("textbooks") else 1e-3)


def test_arms_differ_in_what_they_are_named_after(bench, tmp_path: Path):
    found = {arm: bench.arms.config_of(arm, bench.arms.Setting(seed=0), str(tmp_path), 11) for arm in bench.arms.ARMS}
    for arm in ("textbooks", "static"):
        orders = [found[f"{arm}{end}"].train.textbook_order for end in ("", ", reversed", ", shuffled")]
        assert orders == ["graph", "reversed", "shuffled"]
    assert found["static"].dynamics.planted_min == found["static"].dynamics.planted_share == 0
    assert found["static, wide"].generate.opening_difficulty > found["static"].generate.opening_difficulty
    assert found["dynamics"] == found["random control"]
    assert found["epochs"].dynamics.schedule == "epochs"
    assert found["dynamics"].generate == found["static"].generate
    assert found["dynamics"].train == found["static"].train


def test_the_random_control_has_as_many_drops_and_children_as_the_dynamics_arm(bench):
    classes = [VerdictClass.EASY, VerdictClass.ERRONEOUS, VerdictClass.HARD, VerdictClass.AMBIGUOUS] * 60
    found = recorded(bench, verdicts(classes))
    assert sum("drop" in one.actions for one in found) > 30
    policy = bench.control.RandomPolicy(DYNAMICS, found, seed=1)
    dealt = [
        policy.decide(verdict, facts(verdict.exercise, replay=verdict.exercise % 7 == 0))
        for verdict in verdicts([VerdictClass.AMBIGUOUS] * len(classes))
    ]
    assert policy.left == []
    for step in range(1, len(classes) // 2 + 1, 20):  # at the same steps, not only in all
        now = [decision for decision in dealt if decision.exercise // 2 <= step]
        then = [one for one in found if one.step <= step]
        assert Counter(a for d in now for a in d.actions) == Counter(a for one in then for a in one.actions)
        ordered = Counter(order.kind.value for decision in now for order in decision.orders)
        assert ordered == Counter(kind for one in then for kind, _ in one.children)
    assert set(ordered) == {"composed", "harder", "variant"}
    dropped = {decision.exercise for decision in dealt if "drop" in decision.actions}
    meant = {verdict.exercise for verdict in verdicts(classes) if verdict.verdict is VerdictClass.ERRONEOUS}
    assert len(dropped) == len(meant)
    assert dropped != meant
    assert not any("addition" in order.skills for decision in dealt for order in decision.orders)


def test_what_comes_later_than_the_random_controls_verdicts_waits(bench):
    found = recorded(bench, verdicts([VerdictClass.ERRONEOUS] * 12))
    policy = bench.control.RandomPolicy(DYNAMICS, found, seed=1)
    first = verdicts([VerdictClass.HARD])[0]
    assert first.step < found[1].step
    assert "drop" in policy.decide(first, facts(1)).actions
    again = policy.decide(first, facts(1))
    assert again.reason == "dropped_before"
    assert len(policy.left) == len(found) - 1


def result(**marks: float):
    return {"taught": 0.5, "hard": 0.2, "elementary": 0.9, "cpu_s": 1.0, "consequences": [], **marks}


def test_a_stopped_benchmark_goes_on_and_another_setting_is_refused(bench, tmp_path: Path, monkeypatch):
    asked = []

    def run(arm, setting, recorded):
        asked.append((arm, setting.seed))
        return result()

    monkeypatch.setattr(bench.job, "run", run)
    settings = [bench.arms.Setting(seed=seed) for seed in (0, 1)]
    runs = bench.job.measure(settings, ["random control", "static"], tmp_path)
    assert asked == [("static", 0), ("dynamics", 0), ("random control", 0),
                     ("static", 1), ("dynamics", 1), ("random control", 1)]  # fmt: skip
    assert bench.job.measure(settings, ["random control", "static"], tmp_path) == runs
    assert len(asked) == 6
    (tmp_path / "static-1.json").unlink()
    bench.job.measure(settings, ["static"], tmp_path)
    assert asked[6:] == [("static", 1)]
    with pytest.raises(SystemExit, match="another setting"):
        bench.job.measure([bench.arms.Setting(seed=0, steps=9)], ["static"], tmp_path)


def test_a_bar_is_the_lower_end_of_the_paired_interval(bench):
    runs = {
        "static": [result(taught=value) for value in (0.1, 0.5, 0.9)],
        "dynamics": [result(taught=value) for value in (0.2, 0.62, 0.98)],
    }
    differences = bench.job.compared(runs)
    mark = differences["dynamics_over_static"]["taught"]
    assert mark["mean"] == pytest.approx(0.1, abs=1e-4)
    assert mark["half"] == pytest.approx(4.303 * 0.02 / math.sqrt(3), abs=1e-4)
    bar = bench.job.bars(differences)["dynamics_over_static"]
    assert bar["ok"]
    assert bar["figure"] == pytest.approx(mark["mean"] - mark["half"], abs=1e-4)
    one = {arm: each[:1] for arm, each in runs.items()}
    assert bench.job.bars(bench.job.compared(one)) == {}


def test_the_table_and_the_page_say_what_was_measured(bench, capsys):
    runs = {"static": [result(), result(taught=0.7)], "dynamics": [result(ordered={"harder": 4}), result(ordered={})]}
    found = bench.job.arms(runs)
    assert found["dynamics"]["ordered"] == {"harder": 2.0}
    bench.job.print_tables(found, bench.job.compared(runs))
    assert "60.0 ±" in capsys.readouterr().out
    html = bench.plot.page(found, "parts")
    assert html.count("<circle") == 6
    assert "http" not in html.replace("http://www.w3.org", "")
    json.dumps(found)
