"""Ladders for a run: where they start, what is kept, what is written; and once with a real student."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dsa_ray import laddering
from dsa_ray.config import Config, ConfigError, parse, with_overrides
from dsa_ray.embedded import compose
from dsa_ray.ladder_intake import SAMPLES
from dsa_ray.ladders.ladder import Ladder, Posed, Shape
from dsa_ray.records import Exercise, ExerciseRequest, Kind, Written
from dsa_ray.sections import LaddersConfig
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import written_row
from tests.engines.tiny_model import tiny_llama
from tests.ladders.builders import climb, right, wrong

ROOT = Path(__file__).parents[1]


def a_run(folder: Path, verdicts: list[tuple[int, str]], **sections: dict[str, Any]) -> RunFolder:
    """A run with three exercises on each of two skills, and these verdicts on them."""
    config = parse(
        {
            "run": {"name": "one", "storage": str(folder / "runs")},
            "graph": {"target": "calculus"},
            "teacher": {"kind": "python", "factory": "dsa_ray.embedded.engine:exact_writer"},
            "student": {"model": tiny_llama(folder / "student", spread=0.02)},
            **sections,
        }
    )
    with RunFolder.create(config.run.storage, config) as run:
        SegmentWriter(run.journal, "written").write([written_row(an_exercise(number)) for number in range(1, 7)])
        events = [
            {
                "event": "verdict", "exercise": exercise, "cycle": step, "step": step, "verdict": verdict,
                "mean_loss": float(exercise), "loss_spread": 0.1, "reason": "",
            }
            for step, (exercise, verdict) in enumerate(verdicts)
        ]  # fmt: skip
        SegmentWriter(run.journal, "events").write(events)
        return RunFolder.open(run.path)


def an_exercise(number: int) -> Written:
    skill = "like-terms" if number <= 3 else "linear-equations"
    problem = compose.exercise(Random(number), [skill], 1)
    item = Exercise(skills=(skill,), question=problem.question, solution=problem.solution, answer=problem.answer)
    request = ExerciseRequest(id=number, kind=Kind.EXERCISE, skills=(skill,))
    return Written(
        request=request,
        item=item,
        generator="exact",
        generator_version="0",
        prompt_version="",
        content_hash=number,
        input_ids=(1, 2, 3),
        prompt_tokens=1,
    )


HARD = [(1, "hard_to_learn"), (4, "easy_to_learn"), (2, "hard_to_learn"), (3, "easy_to_learn")]
HARD += [(1, "hard_to_learn"), (2, "hard_to_learn"), (5, "hard_to_learn")]


def test_ladders_start_from_the_hardest_exercises_of_skills_that_stay_hard(tmp_path: Path) -> None:
    record = laddering._Record.read(a_run(tmp_path, HARD))
    assert [basic.id for basic in laddering.starts(record, LaddersConfig(hard_verdicts=1))] == [2, 1, 5]
    assert [basic.id for basic in laddering.starts(record, LaddersConfig(hard_verdicts=1, per_skill=1))] == [2, 5]
    (basic, _) = laddering.starts(record, LaddersConfig(hard_verdicts=1, per_skill=1))
    assert basic.exercise == an_exercise(2).item
    assert basic.version == "exact@0"
    assert [skill.name for skill in basic.skills] == ["like terms"]


def test_a_run_in_which_nothing_stays_hard_has_nothing_to_climb(tmp_path: Path) -> None:
    run = a_run(tmp_path, [(1, "hard_to_learn"), (1, "easy_to_learn")])
    with pytest.raises(ConfigError, match=r"yoda\.hard_verdicts"):
        laddering.climb(run, run.config)


def test_what_is_learnt_is_written_in_order_with_who_wrote_it_and_what_was_counted(tmp_path: Path) -> None:
    run = a_run(tmp_path, HARD)
    shape = Shape(generalized=1, harder=1)
    ladders = [climb(shape, lambda ask: right() if ask.turn else wrong()) for _ in range(3)]
    for number, ladder in enumerate(ladders):
        ladder.id = number
    counts = laddering._conclude(run, run.config, ladders, Counter(mixed=2, accepted=99))
    assert (counts["ladders"], counts["accepted"], counts["mixed"], counts["samples"]) == (3, 9, 2, 18)
    rows = [json.loads(line) for line in run.read_text(SAMPLES).splitlines()]
    assert [row["stage"] for row in rows] == ["basic"] * 6 + ["generalized"] * 6 + ["harder"] * 6
    assert {row["form"] for row in rows} == {"answer", "dialogue"}
    assert all(len(row["messages"]) == len(row["versions"]) for row in rows)
    assert json.loads(run.read_text(laddering.COUNTS)) == counts


def test_ladders_that_were_climbed_are_kept(tmp_path: Path) -> None:
    run = a_run(tmp_path, HARD)
    begun = Ladder.start(7, Posed(exercise=an_exercise(1).item, version="t"), Shape())
    laddering._keep(run, [begun])
    assert laddering._kept(run) == [begun]


def test_overrides_change_a_runs_own_configuration(tmp_path: Path) -> None:
    config: Config = a_run(tmp_path, HARD).config
    assert with_overrides(config, ["yoda.harder=3"]).yoda.harder == 3
    with pytest.raises(ConfigError, match="did you mean 'harder'"):
        with_overrides(config, ["yoda.hader=3"])


def test_the_job_says_how_it_is_used(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, ROOT / "jobs/ladders.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: ladders.py RUN" in done.stderr


@pytest.mark.slow
@pytest.mark.ring
@pytest.mark.timeout(240)
def test_a_real_student_climbs_and_takes_up_weights_that_are_published_meanwhile(tmp_path: Path) -> None:
    sections = {"yoda": {"hard_verdicts": 1, "demonstrate": True, "generalized": 1, "harder": 1}}
    run = a_run(tmp_path, HARD, evaluate={"max_tokens": 12}, **sections)
    tiny_llama(Path(run.path) / "published" / "step-00000010", seed=2, spread=0.02)
    counts = laddering.climb(run, run.config)
    assert counts["ladders"] == 3
    assert counts["answers"] == 3 * 2 * 3
    rows = [json.loads(line) for line in run.read_text(SAMPLES).splitlines()]
    assert {row["demonstrated"] for row in rows} == {True}
    ladders = laddering._kept(run)
    versions = {attempt.version for ladder in ladders for rung in ladder.rungs for attempt in rung.attempts}
    assert "step-00000010" in versions
    assert laddering.climb(run, run.config)["ladders"] == 3  # nothing is climbed again: no engine starts
