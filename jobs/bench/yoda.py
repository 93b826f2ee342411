"""Plain tuning against YODA's ladders, shuffled and in curriculum order, at equal loss tokens: accuracy in the exam.

    python jobs/bench/yoda.py [--quick] [--seeds 5] [--work FOLDER]

The built-in student first learns a little of some skills of the built-in domain (`warm`), so that it is sometimes
right. Then, per seed, it climbs ladders from basic questions, with the exact writers as its teacher, and three copies
of it are trained on what comes of them, each with the same number of tokens that carry loss:

    plain        every question of the ladders with the teacher's own solution, shuffled
    shuffled     what YODA makes of the same questions: the student's accepted answers, its dialogues, and the teacher's
                 solution where it never came to an answer; shuffled
    curriculum   the same, in every pass: all basic ones, then the generalized, then the harder by level

Every figure is stored under FOLDER as soon as it is measured; a run that is started again goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from _result import at_least, finish
from _yoda_student import TorchStudent, to_loss_tokens, train

from dsa_ray.actors.replica import Replica
from dsa_ray.config import Config, parse
from dsa_ray.embedded import compose, shipped, syllabus
from dsa_ray.embedded.engine import ExactEngine
from dsa_ray.embedded.exam import exam
from dsa_ray.embedded.recipe.measure import ask
from dsa_ray.evaluation.exam import grade
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladders.ladder import Ladder, Shape, Stage
from dsa_ray.ladders.samples import Form, Sample, Tokenised, ordered, samples, tokenised
from dsa_ray.records import Exercise, SkillBrief
from dsa_ray.sections import TrainConfig
from dsa_ray.streams.climber import Answering, Basic, Climber
from dsa_ray.training.student import load_student

SKILLS = (
    "like-terms",
    "expanding-brackets",
    "products-of-powers",
    "linear-equations",
    "function-values",
    "derivative-of-a-monomial",
    "derivative-of-a-polynomial",
    "derivative-of-an-exponential",
)
ARMS = ("plain", "shuffled", "curriculum")
SHAPE = Shape(generalized=2, harder=2, refinements=2)
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Two-sided 95 % quantile of Student's t for the mean of so many runs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder of stored figures; by default a temporary one")
    parser.add_argument("--warm", type=int, default=1500, help="exercises of the first lessons")
    parser.add_argument("--basics", type=int, default=64, help="ladders per seed")
    parser.add_argument("--passes", type=float, default=2.0, help="passes over what the ladders teach")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-yoda-") as temporary:
        bench = Bench(given, given.work or Path(temporary))
        seeds = range(1 if given.quick else given.seeds)
        found = [bench.seed(seed) for seed in seeds]
        return report(bench.warm(), found, [f"gain_of_{arm}" for arm in ARMS[1:]] if given.quick else [])


class Bench:
    """What is measured, and where it is kept."""

    def __init__(self, given: argparse.Namespace, work: Path) -> None:
        self.given, self.work = given, work
        self.work.mkdir(parents=True, exist_ok=True)
        base = shipped.resolve("embedded:student")
        self.config = configuration(base)
        self.tokenizer = StudentTokenizer(base)
        self.checker = AnswerChecker(3.0)
        self.student = self.work / f"student-{given.warm}"
        self.questions = [q for q in exam(24, difficulties=(1, 2, 3)) if q.skill in SKILLS]

    def warm(self) -> dict[str, Any]:
        """The student after its first lessons, as every arm starts with it."""

        def measure() -> dict[str, Any]:
            rng = Random("warm")
            lessons = [one(rng, SKILLS[number % len(SKILLS)], 1 + number % 2) for number in range(self.given.warm)]
            stream = self.plain(lessons)
            model = train(shipped.resolve("embedded:student"), stream, self.config.train, self.student)
            return {"accuracy": self.examined(model), "exercises": len(lessons)}

        return self.stored(f"warm-{self.given.warm}", measure)

    def seed(self, seed: int) -> dict[str, Any]:
        """All arms of one seed."""
        self.warm()
        name = f"{self.given.warm}-{self.given.basics}-{self.given.passes:g}-seed-{seed}"
        found = self.stored(f"ladders-{self.given.warm}-{self.given.basics}-seed-{seed}", lambda: self.climb(seed))
        ladders = [Ladder.from_state_dict(state) for state in found["ladders"]]
        taught = [sample for ladder in ladders for sample in samples(ladder, demonstrate=True)]
        yoda, too_long = tokenised(taught, self.tokenizer, self.config.train.row_tokens)
        tokens = int(self.given.passes * sum(one_.loss_tokens for one_ in yoda))
        asked = [rung.posed.exercise for ladder in ladders for rung in ladder.rungs if rung.posed]
        streams: dict[str, Callable[[], list[Tokenised]]] = {
            "plain": lambda: to_loss_tokens(ordered(self.plain(asked), False, seed), tokens),
            "shuffled": lambda: to_loss_tokens(ordered(yoda, False, seed), tokens),
            "curriculum": lambda: to_loss_tokens(ordered(yoda, True, seed), tokens),
        }
        arms = {arm: self.stored(f"{arm}-{name}", lambda arm=arm: self.arm(streams[arm]())) for arm in ARMS}
        kinds = {form.value: sum(s.form is form for s in taught) for form in Form}
        stages = {stage.value: sum(s.stage is stage for s in taught) for stage in Stage}
        shown = sum(sample.demonstrated for sample in taught)
        made = {**kinds, **stages, "demonstrated": shown, "too_long": len(too_long), "loss_tokens": tokens}
        return {"seed": seed, "counts": found["counts"], "climb_s": found["seconds"], "samples": made, "arms": arms}

    def arm(self, stream: Sequence[Tokenised]) -> dict[str, Any]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="arm-", dir=self.work) as out:
            model = train(str(self.student), stream, self.config.train, Path(out))
        trained_s = time.monotonic() - began
        return {
            "accuracy": self.examined(model),
            "loss_tokens": sum(one_.loss_tokens for one_ in stream),
            "tokens": sum(len(one_.input_ids) for one_ in stream),
            "seconds": round(trained_s, 1),
        }

    def climb(self, seed: int) -> dict[str, Any]:
        """The ladders of a seed, climbed by the warm student."""
        rng = Random(f"basics-{seed}")
        known = syllabus.load()
        basics = []
        for number in range(self.given.basics):
            skill, difficulty = SKILLS[number % len(SKILLS)], 1 + number % 2
            brief = SkillBrief(id=skill, name=known.skill(skill).name)
            exercise = one(rng, skill, difficulty)
            basics.append(
                Basic(id=number + 1, exercise=exercise, version="exact", skills=(brief,), difficulty=difficulty)
            )
        model, _ = load_student(str(self.student), self.config.train)
        began = time.monotonic()
        over, counts = asyncio.run(
            self._climb(basics, TorchStudent(model.eval(), self.tokenizer.tokenizer, "warm"), seed)
        )
        over.sort(key=lambda ladder: ladder.id)
        seconds = round(time.monotonic() - began, 1)
        return {"ladders": [ladder.state_dict() for ladder in over], "counts": counts, "seconds": seconds}

    async def _climb(
        self, basics: Sequence[Basic], student: TorchStudent, seed: int
    ) -> tuple[list[Ladder], dict[str, int]]:
        held_out = [question.question for question in self.questions]
        climber = Climber(
            Replica("teacher", self.config, ExactEngine()),
            Replica("student", self.config, student),
            Examiner(self.config, self.tokenizer, held_out).examine,
            self.checker,
            SHAPE,
            Answering(max_tokens=64, retry_temperature=0.0, seed=seed),
        )
        over: list[Ladder] = []
        await climber.climb_all(basics, len(basics), over.append)
        climber.close()
        return over, dict(climber.counts)

    def plain(self, exercises: Sequence[Exercise]) -> list[Tokenised]:
        """Each question with its own solution."""
        made = [
            Sample(
                ladder=number,
                rung=0,
                stage=Stage.BASIC,
                level=1,
                form=Form.ANSWER,
                exercise=exercise,
                messages=tuple(student_messages(exercise.question, exercise.solution, exercise.answer)),
                versions=("exact", "exact"),
            )
            for number, exercise in enumerate(exercises)
        ]
        return tokenised(made, self.tokenizer, self.config.train.row_tokens)[0]

    def examined(self, model: Any) -> float:
        """Share of right answers in the exam."""
        prompts = [student_messages(question.question) for question in self.questions]
        answers = ask(model, self.tokenizer.tokenizer, prompts, 64)
        return sum(grade(self.questions, answers, self.checker)) / len(self.questions)

    def stored(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A figure from the work folder, or measured and put there."""
        path = self.work / f"{name}.json"
        if not path.exists():
            found = measure()
            path.with_suffix(".part").write_text(json.dumps(found))
            path.with_suffix(".part").rename(path)
            shown = {key: value for key, value in found.items() if key != "ladders"}
            print(f"{time.strftime('%H:%M:%S')} {name}: {shown}", flush=True)
        return json.loads(path.read_text())


def one(rng: Random, skill: str, difficulty: int) -> Exercise:
    problem = compose.exercise(rng, [skill], difficulty)
    return Exercise(skills=(skill,), question=problem.question, solution=problem.solution, answer=problem.answer)


def configuration(student: str) -> Config:
    return parse(
        {
            "run": {"name": "yoda"},
            "graph": {"target": "calculus"},
            "teacher": {"kind": "python", "model": "exact", "factory": "dsa_ray.embedded.engine:exact_writer"},
            "student": {"model": student},
            "generate": {"in_flight": 512, "slots": 512},
            "train": TrainConfig(precision="fp32", learning_rate=5e-4, rows_per_step=2).model_dump(),
        }
    )


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and 95 % interval over the seeds."""
    mean = statistics.fmean(values)
    half = T_95.get(len(values), 1.96) * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "n": len(values)}


def report(warm: dict[str, Any], found: Sequence[dict[str, Any]], skipped: Sequence[str]) -> int:
    accuracy = {arm: interval([one_["arms"][arm]["accuracy"] for one_ in found]) for arm in ARMS}
    gains = {
        arm: interval([one_["arms"][arm]["accuracy"] - one_["arms"]["plain"]["accuracy"] for one_ in found])
        for arm in ARMS[1:]
    }
    print(f"\nbefore: {warm['accuracy']:.1%} after {warm['exercises']} plain exercises")
    print(f"{'arm':<12} {'accuracy':>9}  95 % over seeds     over plain")
    for arm, marks in accuracy.items():
        over = gains.get(arm)
        gain = f"{over['mean']:+.1%} [{over['low']:+.1%}, {over['high']:+.1%}]" if over else ""
        print(f"{arm:<12} {marks['mean']:>9.1%}  [{marks['low']:.1%}, {marks['high']:.1%}]  {gain}")
    totals: dict[str, int] = {}
    for one_ in found:
        for key, value in (*one_["counts"].items(), *(("sample." + k, v) for k, v in one_["samples"].items())):
            totals[key] = totals.get(key, 0) + value
    print("ladders:", ", ".join(f"{key} {value}" for key, value in sorted(totals.items())))
    bars = {} if skipped else {f"gain_of_{arm}": at_least(gains[arm]["low"], 0.0) for arm in gains}
    figures = {"warm": warm, "accuracy": accuracy, "gain_over_plain": gains, "totals": totals, "seeds": list(found)}
    return finish("yoda", figures, bars, skipped, packages=("torch", "transformers"))


if __name__ == "__main__":
    sys.exit(main())
