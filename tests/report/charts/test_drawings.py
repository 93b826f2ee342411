"""The charts themselves: what they count, and that odd data does not break them."""

from dsa_ray.report.charts import accuracy, generation, graph, training, verdicts
from dsa_ray.report.summary import Accuracy, SkillAccuracy, build
from tests.report import synthetic


def verdict(exercise: int, step: int, name: str = "ambiguous", mean: float = 0.0) -> dict[str, object]:
    return {"step": step, "exercise": exercise, "verdict": name, "mean_loss": mean, "loss_spread": 0.1}


def test_a_node_tells_its_details_and_its_prerequisites() -> None:
    marks = {"s1": SkillAccuracy(name="Powers", level=1, before=0.25, after=0.75, n=20)}
    drawing, implied = graph.skill_graph(synthetic.graph("Adding", "Powers"), marks)
    assert drawing is not None
    assert "accuracy 25 % → 75 %, 20 questions" in drawing
    assert "needs: Adding" in drawing
    assert drawing.count('class="bar after"') == 1
    assert implied == 0


def test_links_are_read_like_edges() -> None:
    made = synthetic.graph("Adding", "Powers")
    made["links"] = made.pop("edges")
    drawing, _ = graph.skill_graph(made, {})
    assert drawing is not None
    assert 'class="edge"' in drawing


def test_one_skill_alone_is_a_graph_too() -> None:
    drawing, _ = graph.skill_graph(synthetic.graph("Adding"), {})
    assert drawing is not None
    assert "target" in drawing


def test_one_step_makes_a_loss_curve() -> None:
    assert training.loss_curve([{"step": 7, "phase": "exercises", "loss": 1.5, "lr": 1e-4}]) is not None


def test_long_runs_are_thinned() -> None:
    rows = [{"step": at, "phase": "exercises", "loss": 1.0, "lr": 1e-4} for at in range(1, 20_000)]
    drawing = training.loss_curve(rows)
    assert drawing is not None
    assert drawing.count('class="hit"') == 240


def test_a_phase_too_short_for_its_name_goes_without() -> None:
    steps = [(at, "textbooks" if at < 5 else "exercises") for at in range(1, 500)]
    drawing = training.loss_curve([{"step": at, "phase": phase, "loss": 1.0, "lr": 1e-4} for at, phase in steps])
    assert drawing is not None
    assert "exercises</text>" in drawing
    assert "textbooks</text>" not in drawing


def test_losses_that_are_not_numbers_are_left_out() -> None:
    assert training.loss_curve([{"step": 1, "loss": float("nan")}, {"step": 2, "loss": None}]) is None


def test_bars_over_time_count_every_verdict_once() -> None:
    rows = [verdict(at, 10 + at % 3, "easy_to_learn") for at in range(12)]
    drawing = verdicts.over_time(rows)
    assert drawing is not None
    assert drawing.count("easy 4") == 3


def test_the_map_shows_an_exercise_at_its_last_verdict_only() -> None:
    drawing = verdicts.dynamics_map([verdict(1, 5, "ambiguous"), verdict(1, 9, "easy_to_learn")], {})
    assert drawing is not None
    assert drawing.count("<circle") == 1
    assert "exercise 1: easy" in drawing


def test_the_map_draws_the_baselines_that_are_known() -> None:
    drawing = verdicts.dynamics_map([verdict(1, 5), verdict(2, 6, mean=1.0)], {"L_average": 0.1, "L_b": None})
    assert drawing is not None
    assert "L average" in drawing
    assert "L b" not in drawing


def test_a_map_of_very_many_exercises_says_that_it_is_a_choice() -> None:
    rows = [verdict(at, at) for at in range(5000)]
    drawing = verdicts.dynamics_map(rows, {})
    assert drawing is not None
    assert drawing.count("<circle") == 2500
    assert verdicts.map_note(rows).startswith("2,500 of 5,000")


def test_many_reasons_are_summed_into_one_bar() -> None:
    made = build(run=synthetic.run_facts(), graph={}, curator={"rejected": {f"r{at}": 20 - at for at in range(15)}})
    drawing = generation.rejected(made)
    assert drawing is not None
    assert "other reasons" in drawing


def test_equal_lags_make_a_histogram() -> None:
    drawing = generation.lag([{"kind": "variant", "lag_steps": 4, "lag_s": 1.0}] * 3)
    assert drawing is not None
    assert "variant 3" in drawing
    assert "median 4" in drawing


def test_an_exam_before_only_says_that_the_other_is_missing() -> None:
    drawing = accuracy.intervals(Accuracy(before=synthetic.summary().accuracy.before))
    assert drawing is not None
    assert "not measured" in drawing
