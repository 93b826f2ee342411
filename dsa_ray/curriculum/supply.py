"""The generation side of the curator: the skill graph, what is ordered, what is written.

Nothing here is ever undone: graph edits, orders and accepted items outlive a return to an older checkpoint, because
they do not depend on the student's weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dsa_ray.config import Config
from dsa_ray.curriculum.held_back import Accepted, HeldBack
from dsa_ray.curriculum.requests import RequestBook
from dsa_ray.curriculum.routing import Router
from dsa_ray.curriculum.spending import Spending
from dsa_ray.curriculum.table import trainable
from dsa_ray.records import (
    REVIEW_KINDS,
    Assignment,
    ExerciseRequest,
    Kind,
    Order,
    Prerequisites,
    SkillBrief,
    SkillGraph,
    TextRef,
)
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.graph import briefs
from dsa_ray.skills.names import normalise
from dsa_ray.storage.texts import request_from_row

Row = Mapping[str, Any]
"""What is known of a written item in numbers: `storage.texts.numbers`."""
Emit = Callable[[dict[str, Any]], None]


class GraphTooSmall(Exception):
    """The teacher could not decompose the target: one line for the user."""


class BudgetSpent(Exception):
    """The budget ended before there was anything to go on with: one line for the user."""


class Supply:
    """Orders text and books what arrives.

    Args:
        config: the run's configuration.
        emit: takes events for the journal.
    """

    def __init__(self, config: Config, emit: Emit) -> None:
        self._config = config
        self._emit = emit
        generate, graph = config.generate, config.graph
        self._router = Router(config)
        self.book = RequestBook(
            generate.slots, generate.attempts, 1.5 * generate.request_timeout_s, config.run.seed, self._router.teacher
        )
        answer = max(generate.max_tokens, generate.max_textbook_tokens)
        self.spending = Spending(generate.budget, (max(1, config.teacher.max_model_len - answer), answer))
        self.spent = False
        self._given: list[ExerciseRequest] = []
        self._decomposition = Decomposition(graph.target, graph.max_depth, graph.max_skills, graph.elementary)
        self._elementary = {normalise(name) for name in graph.elementary}
        self._asked: set[str] = set()
        self._briefs: dict[str, SkillBrief] = {}
        self._refs: dict[int, TextRef] = {}
        self._exercises_ordered = 0
        self._round = 0
        self._opened = False
        self._children: list[ExerciseRequest] = []
        self.released: list[Accepted] = []
        """Exercises whose review ended otherwise than by an item; whoever books exercises takes them."""
        self.graph: SkillGraph | None = None
        self.textbooks: dict[str, tuple[int, TextRef, int]] = {}
        self.written: Counter[Kind] = Counter()
        self.rejected: Counter[str] = Counter()
        self._held = HeldBack(generate.checks, self.order, emit, self.rejected)
        self.output_tokens = 0

    @property
    def taught(self) -> tuple[str, ...]:
        """Skill ids that are taught, in learning order; elementary ones are only examined."""
        skills = self.graph.skills if self.graph else ()
        return tuple(skill.id for skill in skills if skill.id not in self._elementary)

    @property
    def graph_done(self) -> bool:
        return self.graph is not None

    @property
    def textbooks_settled(self) -> bool:
        """Every textbook is written, or was given up."""
        return self.graph_done and self.book.unsettled_of(Kind.TEXTBOOK) == 0

    @property
    def in_review(self) -> int:
        """Exercises that wait for their reviews."""
        return len(self._held.reviews)

    @property
    def finished(self) -> bool:
        """All that was ordered is written, or given up; what is still to come would be ordered by verdicts."""
        return self._opened and self.book.unsettled == 0

    def start(self) -> None:
        """Order what is missing: decompositions, or the opening textbooks and exercises, or reviews."""
        self._ask_prerequisites()
        self._held.order_lacking()

    def reserve_ids(self, highest: int) -> None:
        """Ids up to this one have been used before."""
        self.book.next_id = max(self.book.next_id, highest + 1)

    def lease(self, replica: str, incarnation: str, n: int, now: float) -> list[Assignment]:
        """Requests for a replica, with the words and places that their prompts need."""
        room = self.spending.room(self.book.outstanding)
        if room == 0 and self.book.outstanding == 0:
            self._end_spending()
        n = n if room is None else min(n, room)
        leased = self.book.lease(replica, incarnation, n, now, self._router.teacher_of(replica))
        for request in self.book.take_poison():
            self._close(request, "poison")
        return [self._assignment(request) for request in leased]

    def accept(self, segment: int, rows: Sequence[Row]) -> list[Accepted]:
        """Book durable items. Idempotent: an id counts once. Returns the new exercises."""
        exercises = []
        for row in rows:
            if row["id"] in self._refs:
                continue
            request = self.book.settle(row["id"])
            if request is None:
                request = request_from_row(row)
                self.book.adopt(request)
            exercises += self._book(request, segment, row)
        if self.graph is None:
            self._ask_prerequisites()
        return exercises

    def reject(self, rows: Sequence[Row]) -> list[Accepted]:
        """Count failed attempts; order the next attempt or close the request. Returns exercises that this releases."""
        released = []
        for row in rows:
            outcome = self.book.fail(row["id"], row["attempt"])
            if outcome is None:
                continue
            request, final = outcome
            self.rejected[row["reason"]] += 1
            self.spending.book(request, row, accepted=False)
            told = {"final": final, "reason": row["reason"], "detail": row.get("detail", "")}
            cost = {name: row.get(name, 0) for name in ("output_tokens", "input_tokens", "seconds")}
            self._emit({"event": "reject", "id": request.id, **told, **cost})
            if final:
                released += self._given_up(request)
        return released

    def order(self, order: Order, cause: tuple[int, int] | None = None, nth: int = 0) -> ExerciseRequest | None:
        """Order one item; None when its cause has ordered it before, or the budget of exercises is spent."""
        if self.spent:
            return None
        if trainable(order.kind):
            if self._exercises_ordered >= self._config.generate.max_exercises:
                return None
            self._exercises_ordered += 1
        request = self.book.mint(order, cause, nth)
        if request is not None:
            if cause is not None:
                self._children.append(request)
            self._emit({"event": "request", **asdict(request)})
        return request

    def child_requests(self) -> Sequence[ExerciseRequest]:
        """Every request that a verdict caused, written or not."""
        return self._children

    def order_round(self) -> int:
        """One more exercise for every skill that is due in this round. Returns how many were ordered."""
        ordered = sum(self._order_exercise(skill, self._round) for skill in self._practised(self._round))
        self._round += 1
        return ordered

    def restore(self, events: Iterable[Mapping[str, Any]], written: Iterable[tuple[int, Row]]) -> list[Accepted]:
        """Rebuild from a run's journal: events, and (segment, row) pairs of written items.

        Accepted items are booked again, requests that were neither accepted nor given up wait again under their old
        ids, and nothing is ordered twice. Returns the exercises.
        """
        minted, given_up = self._replay_events(events)
        exercises = []
        for segment, row in written:
            if row["id"] not in minted:
                minted[row["id"]] = request_from_row(row)
            exercises += self._book(minted[row["id"]], segment, row)
        self._children = [request for request in minted.values() if request.cause is not None]
        settled = self._refs.keys() | given_up
        self.book.restore(minted.values(), settled)
        exercises += self._held.restore(minted.values(), given_up)
        for request in minted.values():
            if request.kind is Kind.PREREQUISITES:
                self._asked.add(request.skills[0])
                if request.id in given_up:
                    self._decomposition.give_up(request.skills[0])
        ordered = [request.kind for request in minted.values() if request.kind is not Kind.GIVEN]
        self._exercises_ordered = sum(map(trainable, ordered))
        opening = Counter(r.skills[0] for r in minted.values() if r.kind is Kind.EXERCISE)
        self._round = max(opening.values(), default=0)
        self._opened = any(request.kind is Kind.TEXTBOOK for request in minted.values())
        return exercises

    def _replay_events(self, events: Iterable[Mapping[str, Any]]) -> tuple[dict[int, ExerciseRequest], set[int]]:
        minted: dict[int, ExerciseRequest] = {}
        given_up = set()
        for event in events:
            if event["event"] == "request":
                minted[event["id"]] = request_from_row(event)
            elif event["event"] == "reject":
                self.rejected[event["reason"]] += 1
                if event["id"] in minted:
                    self.spending.book(minted[event["id"]], event, accepted=False)
                if event["final"]:
                    given_up.add(event["id"])
            elif event["event"] == "review":
                self._held.told_before(event["id"])
            elif event["event"] in ("plant", "seeds"):
                self.reserve_ids(event["id"])
        return minted, given_up

    def _book(self, request: ExerciseRequest, segment: int, row: Row) -> list[Accepted]:
        """Book one written item; a list with the exercise, or an empty one for other kinds and for repeats."""
        if request.id in self._refs:
            return []
        ref = TextRef(segment=segment, row=row["row"])
        self._refs[request.id] = ref
        self.written[request.kind] += 1
        self.output_tokens += row["output_tokens"]
        self.spending.book(request, row, accepted=True)
        if request.kind is Kind.PREREQUISITES:
            if self.graph is None:
                names = tuple((name, about) for name, about in row["prerequisites"])
                self._decomposition.accept(Prerequisites(skill=request.skills[0], names=names))
        elif request.kind is Kind.TEXTBOOK:
            self.textbooks[request.skills[0]] = (request.id, ref, row["tokens"])
        elif request.kind in REVIEW_KINDS:
            return self._held.answered(request, ref, row)
        else:
            if request.kind is Kind.GIVEN:
                self._given.append(request)
            accepted = Accepted(request, ref, row["tokens"], row["prompt_tokens"], row["answer_hash"])
            return self._held.take(accepted, order=self._opened)
        return []

    def _given_up(self, request: ExerciseRequest) -> list[Accepted]:
        """A request was closed without an item: whoever waits for it goes on without."""
        if request.kind is Kind.PREREQUISITES:
            self._decomposition.give_up(request.skills[0])
            if self.graph is None:
                self._ask_prerequisites()
        elif request.kind in REVIEW_KINDS:
            return self._held.given_up(request)
        return []

    def _close(self, request: ExerciseRequest, reason: str) -> None:
        """Close a request that is not tried again."""
        self.rejected[reason] += 1
        self._emit({"event": "reject", "id": request.id, "final": True, "reason": reason, "detail": ""})
        self.released += self._given_up(request)

    def _end_spending(self) -> None:
        """The budget is spent: close what waits. A run resumed with a larger one takes it up again."""
        if self.spent:
            return
        self.spent = True
        if self.graph is None:
            raise BudgetSpent(
                "generate.budget: spent before the skill graph was complete; raise it, or lower graph.max_skills"
            )
        closed = self.book.drop_waiting()
        self._emit({"event": "budget", "unwritten": len(closed), **self.spending.facts()["total"]})

    def _ask_prerequisites(self) -> None:
        """Order what the decomposition wants to know next; when it wants nothing, the graph is complete."""
        pending = self._decomposition.pending()
        self._briefs |= {brief.id: brief for brief in pending}
        for brief in pending:
            if brief.id not in self._asked:
                self._asked.add(brief.id)
                self.order(Order(kind=Kind.PREREQUISITES, skills=(brief.id,), difficulty=1, parents=()))
        if self._decomposition.done and self.graph is None:
            self._take_graph()
            if not self._opened:
                self._order_opening()

    def _take_graph(self) -> None:
        graph = self._decomposition.graph()
        least = self._config.graph.min_skills
        if len(graph.skills) < least:
            raise GraphTooSmall(
                f"the teacher decomposed {self._config.graph.target!r} into {len(graph.skills)} skills, fewer than "
                f"graph.min_skills {least}; name another target, use a stronger teacher or lower graph.min_skills"
            )
        self.graph = graph
        self._briefs = briefs(graph)

    def _order_opening(self) -> None:
        """Textbooks in learning order, then the first exercises in rounds of one per skill.

        Levels are mixed: what is practised at the beginning only is forgotten by the end.
        """
        assert self.graph is not None
        self._emit({"event": "graph", "skills": len(self.graph.skills), "faults": list(self._decomposition.faults)})
        for skill in self.taught:
            self.order(Order(kind=Kind.TEXTBOOK, skills=(skill,), difficulty=1, parents=()))
        for _ in range(self._config.generate.exercises_per_skill):
            self.order_round()
        for seed in self._given:
            for _ in range(self._config.generate.seed_variants):
                variant = Order(kind=Kind.VARIANT, skills=seed.skills, difficulty=seed.difficulty, parents=(seed.id,))
                self.order(variant)
        self._opened = True

    def _practised(self, number: int) -> list[str]:
        """The skills that get an exercise in this round: all that are taught, and elementary ones by their share."""
        assert self.graph is not None
        share = self._config.generate.replay
        due = int((number + 1) * share) > int(number * share)
        return [skill.id for skill in self.graph.skills if due or skill.id not in self._elementary]

    def _order_exercise(self, skill: str, number: int) -> bool:
        rng = np.random.default_rng((self._config.run.seed, number, list(self._briefs).index(skill)))
        count = int(rng.choice(self._config.generate.skills_per_exercise))
        level = self._briefs[skill].level
        others = [brief.id for brief in self._briefs.values() if brief.level <= level and brief.id != skill]
        partners = rng.choice(others, size=min(count - 1, len(others)), replace=False) if others else ()
        order = Order(
            kind=Kind.EXERCISE,
            skills=(skill, *map(str, partners)),
            difficulty=1 + number % self._config.generate.opening_difficulty,
            parents=(),
        )
        return self.order(order) is not None

    def _assignment(self, request: ExerciseRequest) -> Assignment:
        return Assignment(
            request=request,
            skills=tuple(self._briefs.get(skill) or _unknown(skill) for skill in request.skills),
            parents=tuple(self._refs[parent] for parent in request.parents),
        )


def _unknown(skill: str) -> SkillBrief:
    """A skill outside the graph, of an exercise from the user's own data."""
    return SkillBrief(id=skill, name=skill.replace("-", " "))
