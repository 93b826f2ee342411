"""One ladder as a state machine: it says what it waits for, takes replies in any order, and comes to an end.

    rung 0            basic          the question that it starts from
    rungs 1..m        generalized    the same concept in other forms; open once the basic rung is settled, all at once
    rungs m+1..m+h    harder         a chain, each made from the one before; goes on while its rungs are accepted

    on a rung   QUESTION -> ANSWER -> (right) accepted
                              |  ^
                           (wrong) HINT, at most `refinements` times, then failed

After YODA (section "the loop"); the numbers, and that a checker decides where there is one, are ours. Deterministic:
the same replies give the same ladder, whatever their order. Nothing here knows a model, a clock or a queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from dsa_ray.records import Exercise


class Stage(StrEnum):
    BASIC = "basic"
    GENERALIZED = "generalized"
    HARDER = "harder"


MOST_DIFFICULT = 5


def difficulty_of(basic: int, stage: Stage, level: int) -> int:
    """Of a rung, where the exercise that its ladder starts from has difficulty `basic`."""
    return min(basic + (level if stage is Stage.HARDER else 0), MOST_DIFFICULT)


class Task(StrEnum):
    """What an ask is for."""

    QUESTION = "question"
    """The teacher writes the rung's exercise."""
    ANSWER = "answer"
    """The student answers, or answers again."""
    HINT = "hint"
    """The teacher says what is wrong; where no checker could tell, whether it is wrong at all."""


class End(StrEnum):
    """How a rung was settled."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    """The last answer that the student was allowed is still wrong."""
    LOST = "lost"
    """The teacher did not write a usable question or hint."""
    CLOSED = "closed"
    """A harder rung that was never opened, because the one below it was not accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large ladders are."""

    generalized: int = 2
    """m: questions of the same difficulty in another form."""
    harder: int = 2
    """Length of the chain of harder questions."""
    refinements: int = 2
    """r: further answers that the student may give after a wrong one."""
    attempts: int = 2
    """A question or hint that fails this often is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A student's turn."""

    text: str
    version: str
    """Model and weights that wrote it."""
    right: bool | None
    """None: no checker can tell, and the teacher has not said yet."""
    fault: str = ""
    """`empty`, `endless` or `no_answer`, where there is nothing to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A teacher's turn."""

    text: str
    version: str
    right: bool = False
    """What the teacher holds of the answer before; counts only where no checker could tell."""
    gives_away: bool = False
    """It tells the answer: what the student writes after it is never learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """A question as the teacher wrote it."""

    exercise: Exercise
    version: str
    """Model and weights that wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One question and what came of it."""

    stage: Stage
    level: int
    """1-based within its stage: of harder rungs, how much harder."""
    posed: Posed | None = None
    attempts: tuple[Attempt, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    failures: int = 0
    """Replies that could not be used, since the last one that could."""
    end: End | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a ladder waits for. Asked again, after a death, it is the same ask."""

    rung: int
    task: Task
    turn: int = 0
    """Answers that were given on this rung before."""
    attempt: int = 0
    """Replies to it that could not be used."""


Reply = Posed | Attempt | Feedback | None
"""None: nothing usable came (a rejected text, a refused request)."""

_REPLY_TYPES = {Task.QUESTION: Posed, Task.ANSWER: Attempt, Task.HINT: Feedback}


@dataclass(slots=True)
class Ladder:
    """See the module.

    Example:
        ladder = Ladder.start(7, Posed(exercise=exercise, version="teacher@0"), Shape())
        while asks := ladder.asks():
            for ask in asks:
                ladder.take(ask, reply_to(ladder, ask))
    """

    id: int
    shape: Shape
    rungs: list[Rung]
    ignored: int = 0
    """Replies to what was not (or no longer) asked."""

    @classmethod
    def start(cls, number: int, basic: Posed, shape: Shape) -> Ladder:
        """A ladder that begins at a basic question."""
        rungs = [Rung(stage=Stage.BASIC, level=1, posed=basic)]
        rungs += [Rung(stage=Stage.GENERALIZED, level=level) for level in range(1, shape.generalized + 1)]
        rungs += [Rung(stage=Stage.HARDER, level=level) for level in range(1, shape.harder + 1)]
        return cls(number, shape, rungs)

    @property
    def over(self) -> bool:
        return all(rung.end is not None for rung in self.rungs)

    def asks(self) -> list[Ask]:
        """What can be done now, in the order of the rungs; empty when the ladder is over."""
        return [self._ask(index) for index in self._open()]

    def parent_of(self, rung: int) -> Posed:
        """The question that a rung's question is made from: the basic one, or the harder one before."""
        at = rung - 1 if self.rungs[rung].stage is Stage.HARDER and self.rungs[rung].level > 1 else 0
        posed = self.rungs[at].posed
        assert posed is not None, "a rung opens after the one that it is made from"
        return posed

    def take(self, ask: Ask, reply: Reply) -> bool:
        """Go on with a reply. False where it does not answer what is asked now; then nothing changes.

        Raises:
            TypeError: the reply is not of the kind that was asked for.
        """
        if reply is not None and not isinstance(reply, _REPLY_TYPES[ask.task]):
            raise TypeError(f"{ask.task.value} was asked for, not {type(reply).__name__}")
        if ask not in self.asks():
            self.ignored += 1
            return False
        rung = self.rungs[ask.rung]
        self.rungs[ask.rung] = self._failed(rung, ask) if reply is None else self._after(rung, reply)
        self._close_chain()
        return True

    def counts(self) -> Counter[str]:
        """What happened, over all rungs."""
        counted: Counter[str] = Counter(ladders=1, ignored=self.ignored)
        for rung in self.rungs:
            counted[rung.end.value if rung.end else "open"] += 1
            counted["questions"] += rung.posed is not None
            counted["answers"] += len(rung.attempts)
            counted["hints"] += len(rung.feedback)
            counted["given_away"] += sum(feedback.gives_away for feedback in rung.feedback)
            counted["refined"] += rung.end is End.ACCEPTED and len(rung.attempts) > 1
            counted.update(attempt.fault for attempt in rung.attempts if attempt.fault)
        return counted

    def state_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        return {
            "id": self.id,
            "shape": asdict(self.shape),
            "rungs": [asdict(rung) for rung in self.rungs],
            "ignored": self.ignored,
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Ladder:
        """The ladder that `state_dict` described, also after a way through JSON."""
        return cls(state["id"], Shape(**state["shape"]), [_rung(row) for row in state["rungs"]], state["ignored"])

    def _open(self) -> list[int]:
        basic = self.rungs[0]
        if basic.end is None:
            return [0]
        stages = (Stage.GENERALIZED, Stage.HARDER)
        for stage in stages:
            of_stage = [i for i, rung in enumerate(self.rungs) if rung.stage is stage and rung.end is None]
            if of_stage:
                return of_stage if stage is Stage.GENERALIZED else of_stage[:1]
        return []

    def _ask(self, index: int) -> Ask:
        rung = self.rungs[index]
        if rung.posed is None:
            return Ask(rung=index, task=Task.QUESTION, attempt=rung.failures)
        waits_for_hint = len(rung.attempts) > len(rung.feedback)
        task = Task.HINT if waits_for_hint else Task.ANSWER
        return Ask(rung=index, task=task, turn=len(rung.attempts), attempt=rung.failures)

    def _failed(self, rung: Rung, ask: Ask) -> Rung:
        """Nothing usable came. A student that says nothing is treated as one that is wrong, by whoever asks it."""
        failures = rung.failures + 1
        return replace(rung, failures=failures, end=End.LOST if failures >= self.shape.attempts else None)

    def _after(self, rung: Rung, reply: Posed | Attempt | Feedback) -> Rung:
        rung = replace(rung, failures=0)
        if isinstance(reply, Posed):
            return replace(rung, posed=reply)
        if isinstance(reply, Attempt):
            return self._settled(replace(rung, attempts=(*rung.attempts, reply)))
        last = rung.attempts[-1]
        if last.right is None:
            judged = replace(rung, attempts=(*rung.attempts[:-1], replace(last, right=reply.right)))
            settled = self._settled(judged)
            return settled if settled.end else replace(judged, feedback=(*rung.feedback, reply))
        return replace(rung, feedback=(*rung.feedback, reply))

    def _settled(self, rung: Rung) -> Rung:
        """The rung after its last answer, which may have ended it."""
        right = rung.attempts[-1].right
        if right:
            return replace(rung, end=End.ACCEPTED)
        spent = len(rung.attempts) > self.shape.refinements
        return replace(rung, end=End.FAILED) if right is False and spent else rung

    def _close_chain(self) -> None:
        """Nothing harder is asked above what was not accepted: the first step needs one accepted rung below it."""
        before = [rung for rung in self.rungs if rung.stage is not Stage.HARDER]
        if any(rung.end is None for rung in before):
            return
        climbing = any(rung.end is End.ACCEPTED for rung in before)
        for index, rung in enumerate(self.rungs):
            if rung.stage is Stage.HARDER:
                if rung.end is None and not climbing:
                    self.rungs[index] = replace(rung, end=End.CLOSED)
                climbing = climbing and rung.end in (None, End.ACCEPTED)


def accepted_share(ladders: Sequence[Ladder]) -> float:
    """Share of the settled questions that the student came to answer; 0 where there is none."""
    ends = [rung.end for ladder in ladders for rung in ladder.rungs if rung.end in (End.ACCEPTED, End.FAILED)]
    return sum(end is End.ACCEPTED for end in ends) / len(ends) if ends else 0.0


def _rung(row: Mapping[str, Any]) -> Rung:
    posed = row["posed"]
    if posed is not None:
        exercise = posed["exercise"]
        posed = Posed(exercise=Exercise(**{**exercise, "skills": tuple(exercise["skills"])}), version=posed["version"])
    return Rung(
        stage=Stage(row["stage"]),
        level=row["level"],
        posed=posed,
        attempts=tuple(Attempt(**attempt) for attempt in row["attempts"]),
        feedback=tuple(Feedback(**feedback) for feedback in row["feedback"]),
        failures=row["failures"],
        end=None if row["end"] is None else End(row["end"]),
    )
