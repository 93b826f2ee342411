import asyncio
import json
from random import Random
from types import SimpleNamespace

import pytest

from dsa_ray.embedded import compose
from dsa_ray.embedded.engine import exact_writer, exact_writer_with_errors, wrong
from dsa_ray.records import Assignment, ExerciseRequest, Kind, SkillBrief


def call(seed: int) -> SimpleNamespace:
    request = ExerciseRequest(id=seed, kind=Kind.EXERCISE, skills=("chain-rule",), seed=seed)
    brief = SkillBrief(id="chain-rule", name="Chain rule")
    return SimpleNamespace(assignment=Assignment(request=request, skills=(brief,)), parents=())


def share_right(engine: object, count: int = 200) -> float:
    async def answers() -> list[dict[str, str]]:
        return [json.loads((await engine.generate(call(seed))).text) for seed in range(count)]

    items = asyncio.run(answers())
    return sum(compose.solve(item["question"]) == item["answer"] for item in items) / count


def test_the_exact_engine_is_always_right():
    assert share_right(exact_writer()) == 1.0


def test_the_error_rate_is_kept():
    assert share_right(exact_writer_with_errors(0.25)()) == pytest.approx(0.75, abs=0.1)


def test_a_call_without_an_assignment_is_refused():
    with pytest.raises(ValueError, match="assignments only"):
        asyncio.run(exact_writer().generate(SimpleNamespace(assignment=None, parents=())))


@pytest.mark.parametrize("answer", ["12x^3", "x", "5; 7"])
def test_a_wrong_answer_differs(answer: str):
    assert wrong(Random(0), answer) != answer
