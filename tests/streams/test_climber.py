import asyncio
from collections.abc import Callable

from dsa_ray.actors.replica import Replica
from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineError
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.ladders.ladder import Attempt, End, Ladder, Posed, Shape
from dsa_ray.records import Kind
from dsa_ray.streams.climber import MIXED_TRIES, Answering, Basic, Climber
from tests.engines.scripted import ScriptedEngine, config
from tests.streams.scripted_ladders import SHAPE, basic, examine, knows, teacher_script


class Pool:
    """Both replicas, in this process, and the climber between them."""

    def __init__(self, student: Callable[[EngineCall], EngineAnswer] = knows, shape: Shape = SHAPE) -> None:
        self.teacher_engine, self.student_engine = ScriptedEngine(teacher_script), ScriptedEngine(student)
        configured = config(generate={"attempts": 1, "in_flight": 64, "slots": 64})
        self.teacher = Replica("teacher", configured, self.teacher_engine)
        self.student = Replica("student", configured, self.student_engine)
        self.climber = Climber(
            self.teacher, self.student, examine, AnswerChecker(2.0), shape, Answering(max_tokens=16, seed=3)
        )
        self.over: list[Ladder] = []

    def run(self, *basics: Basic, at_once: int = 8) -> list[Ladder]:
        async def scenario() -> None:
            await self.climber.climb_all(basics, at_once, self.over.append)
            await self.teacher.stop()
            await self.student.stop()

        asyncio.run(asyncio.wait_for(scenario(), 20.0))
        self.climber.close()
        return self.over


def test_a_ladder_is_climbed_with_hints_and_every_turn_names_who_wrote_it() -> None:
    pool = Pool()
    (ladder,) = pool.run(basic(3))
    assert [rung.end for rung in ladder.rungs] == [End.ACCEPTED] * 5
    assert [len(rung.attempts) for rung in ladder.rungs] == [1, 1, 2, 1, 2]
    refined = ladder.rungs[2]
    assert refined.posed.version.startswith("scripted@0/teacher")
    assert [attempt.version for attempt in refined.attempts] == ["0", "0"]
    assert refined.feedback[0].text == "Add one."
    difficulties = [call.assignment.request.difficulty for call in pool.teacher_engine.calls]
    assert max(difficulties) == 5
    told = [call.messages[-1]["content"] for call in pool.student_engine.calls if len(call.messages) > 1]
    assert told[0].startswith("Add one.")
    assert pool.climber.counts["refined"] == 2
    hints = [c.assignment for c in pool.teacher_engine.calls if c.assignment.request.kind is Kind.HINT]
    assert [(hint.found_wrong, hint.attempts) for hint in hints] == [(True, ("Answer: 0",))] * 2


def test_no_ladder_waits_for_another() -> None:
    pool = Pool()

    async def slowly(call: EngineCall) -> EngineAnswer:
        await asyncio.sleep(30.0 if call.messages[0]["content"].startswith("What is 0 ") else 0.01)
        return knows(call)

    pool.student_engine.generate = slowly

    async def scenario() -> None:
        running = asyncio.create_task(pool.climber.climb_all(map(basic, range(20)), 20, pool.over.append))
        while len(pool.over) < 19:
            await asyncio.sleep(0.01)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(scenario(), 15.0))
    assert {ladder.id for ladder in pool.over} == set(range(1, 20))


def test_a_student_that_says_nothing_and_one_that_never_ends_come_to_an_end_and_are_counted() -> None:
    for reason, text, fault in (("stop", "", "empty"), ("length", "1 + 1 + 1", "endless")):
        pool = Pool(lambda call, t=text, r=reason: EngineAnswer(text=t, finish_reason=r, output_tokens=9))
        (ladder,) = pool.run(basic(3))
        assert [rung.end for rung in ladder.rungs] == [End.FAILED] * 3 + [End.CLOSED] * 2
        assert pool.climber.counts[fault] == 9


def test_an_answer_under_way_while_weights_were_swapped_is_asked_for_again() -> None:
    pool = Pool()

    def swapping(call: EngineCall) -> EngineAnswer:
        if pool.student_engine.version == "0":
            pool.student_engine.version = "step-1"  # in the middle of this answer
        return knows(call)

    pool.student_engine._script = swapping
    (ladder,) = pool.run(basic(3))
    assert pool.climber.counts["mixed"] == 1
    assert {attempt.version for rung in ladder.rungs for attempt in rung.attempts} == {"step-1"}


def test_weights_that_are_swapped_all_the_time_cost_answers_and_no_rung() -> None:
    pool = Pool(shape=Shape(generalized=0, harder=0))

    def swapping(call: EngineCall) -> EngineAnswer:
        if (version := int(pool.student_engine.version)) < MIXED_TRIES - 1:
            pool.student_engine.version = str(version + 1)
        return knows(call)

    pool.student_engine._script = swapping
    (ladder,) = pool.run(basic(3))
    assert pool.climber.counts["mixed"] == MIXED_TRIES - 1
    assert [rung.end for rung in ladder.rungs] == [End.ACCEPTED]


def test_a_teacher_whose_texts_are_refused_and_a_student_that_fails_lose_rungs_not_the_ladder() -> None:
    pool = Pool()

    def broken(call: EngineCall) -> EngineAnswer:
        raise EngineError("no")

    pool.teacher_engine._script = broken
    (ladder,) = pool.run(basic(3))
    assert [rung.end for rung in ladder.rungs] == [End.ACCEPTED, End.LOST, End.LOST, End.LOST, End.CLOSED]
    assert pool.climber.counts["rejected.engine"] == 6
    failing = Pool(broken)
    (ladder,) = failing.run(basic(3))
    assert ladder.rungs[0].end is End.LOST
    assert failing.climber.counts["student_failed"] >= 2


def test_a_ladder_goes_on_from_a_saved_state_without_asking_again() -> None:
    begun = Ladder.start(3, Posed(exercise=basic(3).exercise, version="t@0"), SHAPE)
    begun.take(begun.asks()[0], Attempt(text="Answer: 4", version="before", right=True))
    pool = Pool()
    ladder = asyncio.run(pool.climber.climb(basic(3), Ladder.from_state_dict(begun.state_dict())))
    assert ladder.over
    assert ladder.rungs[0].attempts[0].version == "before"
    assert not [call for call in pool.student_engine.calls if call.messages[0]["content"].startswith("What is 3 +")]
