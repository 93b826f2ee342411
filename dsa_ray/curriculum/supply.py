"""The generation side of the curator: the skill graph, what is ordered, what is written.

Nothing here is ever undone: graph edits, orders and accepted items outlive a return to an older checkpoint, because
they do not depend on the student's weights.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from dsa_ray.config import Config
from dsa_ray.curriculum.child_orders import ChildOrders
from dsa_ray.curriculum.garbage import UNREADABLE, Garbage
from dsa_ray.curriculum.held_back import Accepted, HeldBack
from dsa_ray.curriculum.ladder_book import LADDER, LadderBook
from dsa_ray.curriculum.lessons import Lessons
from dsa_ray.curriculum.places import Places
from dsa_ray.curriculum.requests import RequestBook
from dsa_ray.curriculum.routing import Router, writer_of
from dsa_ray.curriculum.spending import Spending, Terms
from dsa_ray.curriculum.table import trainable
from dsa_ray.records import (
    GRAPH_KINDS,
    REVIEW_KINDS,
    Assignment,
    ExerciseRequest,
    Kind,
    LadderLease,
    Order,
    Prerequisites,
    Scope,
    SkillBrief,
    SkillGraph,
    TextRef,
    shallow,
)
from dsa_ray.skills.coverage import Coverage
from dsa_ray.skills.edits import Edit, with_edit
from dsa_ray.skills.graph import GraphError, briefs, names_of
from dsa_ray.skills.start import Start, construction, elementary_in
from dsa_ray.storage.quarantine import RESTORE
from dsa_ray.storage.texts import request_from_row

Row = Mapping[str, Any]
"""What is known of a written item in numbers: `storage.texts.numbers`."""
Emit = Callable[[dict[str, Any]], None]


_NAMED = 8
"""So many names stand in a warning."""
_EXTRA = 1_000
"""Number of an exercise within its round that no round reaches: practice beside the rounds is drawn otherwise."""


class GraphTooSmall(Exception):
    """The teacher could not decompose the target: one line for the user."""


class BudgetSpent(Exception):
    """The budget ended before there was anything to go on with: one line for the user."""


class Supply:
    """Orders text and books what arrives.

    Args:
        config: the run's configuration.
        emit: takes events for the journal.
        start: what the files of the configuration's graph section said (`skills.start.read_start`).
        scope: with `Scope.GRAPH` nothing is ordered beyond the graph.
    """

    def __init__(self, config: Config, emit: Emit, start: Start | None = None, scope: Scope = Scope.TRAINING) -> None:
        self.scope = scope
        self._start_faults = list((start or {}).get("faults", ()))
        self._config = config
        self._emit = emit
        generate, graph = config.generate, config.graph
        self._router = Router(config)
        self.book = RequestBook(
            generate.slots,
            generate.attempts,
            1.5 * generate.request_timeout_s,
            config.run.seed,
            self._router.teacher,
            self._router.replicas,
        )
        self.garbage = Garbage(self._router.replaceable)
        self._spared: set[int] = set()
        self._now = 0.0
        answer = max(generate.max_tokens, generate.max_textbook_tokens)
        self.spending = Spending(
            generate.budget,
            [
                Terms(prices=prices, longest=(max(1, one.max_model_len - answer), answer))
                for one, prices in zip(config.pool, config.prices, strict=True)
            ],
        )
        self.ladders = LadderBook(config.yoda, self.book.take_ids, emit, self.spending.book_ladder)
        self.spent = False
        self._given: list[ExerciseRequest] = []
        self._construction = construction(graph, start)
        self.elementary = elementary_in(graph, None)
        """Ids of skills that are practised and examined, not taught."""
        self.warnings: list[str] = []
        """What the configuration names and the graph has not, a line each."""
        self._asked: Counter[tuple[Kind, str]] = Counter()
        self._edits: dict[str, Any] = {}
        self._edits_taken: set[str] = set()
        self.pardoned: set[int] = set()
        """Exercises that somebody took back after they were dropped."""
        self._lessons: Lessons | None = None
        self._briefs: dict[str, SkillBrief] = {}
        self.places = Places()
        """Of everything that is written."""
        self._exercises_ordered = 0
        self._round = 0
        self._practised: Counter[str] = Counter()
        self._opened = False
        self.children = ChildOrders()
        """Every request that a verdict caused, written or not."""
        self.released: list[Accepted] = []
        """Exercises whose review ended otherwise than by an item; whoever books exercises takes them."""
        self.graph: SkillGraph | None = None
        self.coverage = Coverage()
        self.first_books: tuple[int, ...] | None = None
        """Ids of the textbooks of the first phase, once it is fixed; later ones are read among the exercises."""
        self.textbooks: dict[str, tuple[int, TextRef, int]] = {}
        self.written: Counter[Kind] = Counter()
        self.rejected: Counter[str] = Counter()
        self.truncated = 0
        self._held = HeldBack(generate.checks, self.order, emit, self.rejected)
        self.output_tokens = 0

    @property
    def taught(self) -> tuple[str, ...]:
        """Skill ids that are taught, in learning order; elementary ones are only examined."""
        return self._lessons.taught if self._lessons else ()

    @property
    def replay_share(self) -> float:
        """Share of the exercises of a round that are for elementary skills; 0 until the graph is known."""
        return self._lessons.replay_share if self._lessons else 0.0

    @property
    def graph_done(self) -> bool:
        return self.graph is not None

    @property
    def textbooks_settled(self) -> bool:
        """Every textbook is written, or was given up."""
        return self.graph_done and self.book.unsettled_of(Kind.TEXTBOOK) == 0

    @property
    def textbooks_enough(self) -> bool:
        """So many textbooks are settled that training need not wait for the others (`generate.wait_share`)."""
        return self.graph_done and self.enough(self.book.unsettled_of(Kind.TEXTBOOK), len(self.taught))

    def enough(self, waiting: int, ordered: int) -> bool:
        """Whether training may go on while so many of what was ordered are still waited for."""
        return waiting <= (1.0 - self._config.generate.wait_share) * ordered

    @property
    def in_review(self) -> int:
        """Exercises that wait for their reviews."""
        return len(self._held.reviews)

    @property
    def finished(self) -> bool:
        """All that was ordered is written, or given up; what is still to come would be ordered by verdicts."""
        if self.scope is Scope.GRAPH:
            return self.graph_done
        return self._opened and self.book.unsettled == 0

    def start(self) -> None:
        """Order what is missing: what draws the graph, or the opening textbooks and exercises, or reviews."""
        self._ask()
        self._held.order_lacking()

    def fix_first_phase(self) -> list[tuple[int, TextRef, int]]:
        """The textbooks of the first phase in learning order: those that are there when it begins, now or before."""
        there = [self.textbooks[skill] for skill in self.taught if skill in self.textbooks]
        if self.first_books is None:
            self.first_books = tuple(book[0] for book in there)
            self._emit({"event": "first_phase", "books": list(self.first_books)})
        by_id = {book[0]: book for book in there}
        return [by_id[book] for book in self.first_books]

    @property
    def edits(self) -> set[str]:
        """Names of the edits that were handed in and need not be read again."""
        return set(self._edits)

    def edit(self, name: str, row: Any) -> None:
        """Take an edit that somebody handed in: one more skill, whose texts are ordered at once. Idempotent by name.

        Before the graph is drawn it waits. One that cannot be carried out is journalled with the reason.
        """
        if name not in self._edits:
            self._edits[name] = row
            if self.graph is not None:
                self._carry_out(name)

    def pardon(self, name: str, row: Mapping[str, Any], step: int, known: Container[int]) -> list[int]:
        """Take an edit that takes exercises back. Idempotent by name. Returns those that are known."""
        if name in self._edits:
            return []
        self._edits[name] = row
        self._edits_taken.add(name)
        asked = row[RESTORE] if isinstance(row[RESTORE], list) else []
        exercises = sorted({each for each in asked if type(each) is int and each in known})
        self.pardoned.update(exercises)
        self._emit({"event": RESTORE, "name": name, "row": dict(row), "exercises": exercises, "step": step})
        return exercises

    def reserve_ids(self, highest: int) -> None:
        """Ids up to this one have been used before."""
        self.book.next_id = max(self.book.next_id, highest + 1)

    def lease(self, replica: str, incarnation: str, n: int, now: float) -> list[Assignment]:
        """Requests for a replica, with the words and places that their prompts need."""
        self._now = now
        if self.garbage.condemned(replica, int(incarnation)):
            return []
        teacher = self._router.teacher_of(replica)
        leased = self.book.lease(replica, incarnation, min(n, self._room(teacher, n)), now, teacher)
        for request in self.book.take_poison():
            self._close(request, "poison")
        return [self._assignment(request) for request in leased]

    def _room(self, teacher: int, n: int) -> int:
        """How many of `n` requests the budget leaves to a teacher; one that has none left is closed."""
        if teacher in self._router.closed:
            return 0
        if not self.spending.binds(teacher):
            return n
        out = self.book.outstanding_at(self._router.teacher_of)
        room = self.spending.room(teacher, out)
        if room == 0 and not any(self.spending.binds(number) for number in out):
            self._end_spending(teacher)
        return n if room is None else room

    def accept(self, segment: int, rows: Sequence[Row]) -> list[Accepted]:
        """Book durable items. Idempotent: an id counts once. Returns the new exercises."""
        exercises = []
        for row in rows:
            if row["id"] in self.places:
                continue
            request = self.book.settle(row["id"])
            if request is None:
                request = request_from_row(row)
                self.book.adopt(request)
            self._judge(request, row)
            exercises += self._book(request, segment, row)
        self._condemn()
        if self.graph is None:
            self._ask()
        return exercises

    def reject(self, rows: Sequence[Row]) -> list[Accepted]:
        """Count failed attempts; order the next attempt or close the request. Returns exercises that this releases."""
        released = []
        for row in rows:
            outcome = self.book.fail(row["id"], row["attempt"], self._spare(row), row["reason"] in UNREADABLE)
            if outcome is None:
                continue
            request, final = outcome
            self._judge(request, row)
            self.rejected[row["reason"]] += 1
            self.spending.book(request, row, accepted=False, teacher=self._teacher(request, row))
            told = {"final": final, "reason": row["reason"], "detail": row.get("detail", "")}
            cost = {name: row.get(name, 0) for name in ("output_tokens", "input_tokens", "seconds")}
            cost["generator_version"] = row.get("generator_version", "")
            self._emit({"event": "reject", "id": request.id, **told, **cost})
            if final:
                released += self._given_up(request)
        self._condemn()
        return released

    def _teacher(self, request: ExerciseRequest, row: Row) -> int:
        """Number of the teacher that wrote this."""
        writer = writer_of(row.get("generator_version", ""))
        return self._router.teacher_of(writer[0]) if writer else self._router.teacher(request)

    def _judge(self, request: ExerciseRequest, row: Row) -> None:
        """Hold an answer for or against the replica that gave it."""
        if (writer := writer_of(row.get("generator_version", ""))) is not None:
            self.garbage.add(*writer, request.kind.value, row.get("reason") in UNREADABLE)

    def _spare(self, row: Row) -> bool:
        """Whether a request goes out once more after its last attempt: a replica that looks broken spoils none."""
        writer = writer_of(row.get("generator_version", ""))
        last = row["attempt"] + 1 >= self._config.generate.attempts
        if writer is None or not last or row["reason"] not in UNREADABLE or row["id"] in self._spared:
            return False
        if not self.garbage.suspicious(writer[0]):
            return False
        self._spared.add(row["id"])
        return True

    def _condemn(self) -> None:
        """Replicas that answer garbage get nothing more, and what they hold is given to others."""
        for found in self.garbage.look(self._now):
            taken = self.book.take_back(found["replica"], found["incarnation"])
            self._emit({"event": "garbage", **found, "reissued": taken})

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
            self.coverage.order(request)
            self.children.add(request)
            self._emit({"event": "request", **shallow(request)})
        return request

    def order_round(self) -> int:
        """One more exercise for every skill that is due in this round. Returns how many were ordered."""
        assert self._lessons is not None
        due = self._lessons.practised(self._round)
        ordered = sum(self._order_exercise(skill, self._round, nth) for skill, nth in due)
        self._round += 1
        return ordered

    def order_practice(self, skill: str, count: int) -> int:
        """So many more exercises of one skill, as the coming rounds would bring. Returns how many were ordered."""
        first = self._round + self._practised[skill]
        self._practised[skill] += count
        return sum(self._order_exercise(skill, first + nth, _EXTRA) for nth in range(count))

    def restore(self, events: Iterable[Mapping[str, Any]], written: Iterable[tuple[int, Row]]) -> list[Accepted]:
        """Rebuild from a run's journal: events, and (segment, row) pairs of written items.

        Accepted items are booked again, requests that were neither accepted nor given up wait again under their old
        ids, and nothing is ordered twice. Returns the exercises.
        """
        minted, given_up = self._replay_events(events)
        opened = any(request.kind in (Kind.TEXTBOOK, Kind.EXERCISE) for request in minted.values())
        exercises = []
        for segment, row in written:
            if row["id"] not in minted:
                minted[row["id"]] = request_from_row(row)
            exercises += self._book(minted[row["id"]], segment, row)
        self.children = ChildOrders(minted.values())
        settled = given_up.union(id for id in minted if id in self.places)
        self.book.restore(minted.values(), settled)
        exercises += self._held.restore(minted.values(), given_up)
        for request in minted.values():
            self.coverage.order(request)
            if request.kind in GRAPH_KINDS:
                self._asked[request.kind, request.skills[0]] += 1
                if request.id in given_up:
                    self._construction.fail(request.kind, request.skills[0])
        if self._construction.done and self._config.graph.elementary:
            self.elementary = elementary_in(self._config.graph, self._construction.graph())
        ordered = [request.kind for request in minted.values() if request.kind is not Kind.GIVEN]
        self._exercises_ordered = sum(map(trainable, ordered))
        practised = (request.skills[0] for request in minted.values() if request.kind is Kind.EXERCISE)
        opening = Counter(skill for skill in practised if skill not in self.elementary)
        self._round = max((opening - self._practised).values(), default=0)
        self._opened = opened
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
                    request = minted[event["id"]]
                    self.spending.book(request, event, accepted=False, teacher=self._teacher(request, event))
                if event["final"]:
                    given_up.add(event["id"])
            elif event["event"] == "edit":
                self._edits[event["name"]] = event["row"]
                self._edits_taken.add(event["name"])
            elif event["event"] == RESTORE:
                self._edits[event["name"]] = event["row"]
                self._edits_taken.add(event["name"])
                self.pardoned.update(event["exercises"])
            elif event["event"] == "frontier":
                self._practised[event["skill"]] += event["ordered"]
            elif event["event"] == "first_phase":
                self.first_books = tuple(event["books"])
            elif event["event"] == "review":
                self._held.told_before(event["id"])
            elif event["event"] in ("plant", "seeds", "reserve", LADDER):
                self.reserve_ids(event["id"])
            self.ladders.restore(event)
        return minted, given_up

    def _book(self, request: ExerciseRequest, segment: int, row: Row) -> list[Accepted]:
        """Book one written item; a list with the exercise, or an empty one for other kinds and for repeats."""
        if request.id in self.places:
            return []
        ref = TextRef(segment=segment, row=row["row"])
        self.places[request.id] = ref
        self.written[request.kind] += 1
        self.output_tokens += row["output_tokens"]
        self.truncated += bool(row.get("cut"))
        self.spending.book(request, row, accepted=True, teacher=self._teacher(request, row))
        self.coverage.write(request)
        if request.kind in GRAPH_KINDS:
            if self.graph is None:
                names = tuple((name, about) for name, about in row.get("prerequisites", ()))
                answer = Prerequisites(skill=request.skills[0], names=names)
                self._construction.take(request.kind, answer, request.id, row.get("generator", ""))
        elif request.kind is Kind.TEXTBOOK:
            self.textbooks[request.skills[0]] = (request.id, ref, row["tokens"])
        elif request.kind in REVIEW_KINDS:
            return self._held.answered(request, ref, row)
        else:
            if request.kind is Kind.GIVEN:
                self._given.append(request)
                if self.graph is None:
                    self._construction.expect(request.skills)
            accepted = Accepted(request, ref, row["tokens"], row["prompt_tokens"], row["answer_hash"])
            return self._held.take(accepted, order=self._opened)
        return []

    def _given_up(self, request: ExerciseRequest) -> list[Accepted]:
        """A request was closed without an item: whoever waits for it goes on without."""
        if request.kind in GRAPH_KINDS:
            if self.graph is None:
                self._construction.fail(request.kind, request.skills[0])
                self._ask()
        elif request.kind in REVIEW_KINDS:
            return self._held.given_up(request)
        return []

    def _close(self, request: ExerciseRequest, reason: str) -> None:
        """Close a request that is not tried again."""
        self.rejected[reason] += 1
        self._emit({"event": "reject", "id": request.id, "final": True, "reason": reason, "detail": ""})
        self.released += self._given_up(request)

    def _end_spending(self, teacher: int) -> None:
        """A teacher's budget is spent: others take over what waits for it. Where nobody is left for something that is
        needed, what waits is closed. A run resumed with a larger budget takes it up again."""
        spent = {"event": "budget", "teacher": teacher, **self.spending.facts()["total"]}
        if self._router.close(teacher):
            self._emit({**spent, "rerouted": self.book.reroute(teacher), "unwritten": 0})
            return
        self.spent = True
        if self.graph is None:
            raise BudgetSpent(
                "generate.budget: spent before the skill graph was complete; raise it, or lower graph.max_skills"
            )
        self._emit({**spent, "rerouted": 0, "unwritten": len(self.book.drop_waiting())})

    @property
    def closed_teachers(self) -> list[int]:
        """Numbers of those whose budget is spent."""
        return sorted(self._router.closed)

    def _ask(self) -> None:
        """Order what the construction wants to know next; when it wants nothing, the graph is complete."""
        for question in self._construction.questions():
            about = question.kind, question.brief.id
            self._briefs[question.brief.id] = question.brief
            if question.nth >= self._asked[about]:
                self._asked[about] += 1
                skills = (question.brief.id,)
                self.order(Order(kind=question.kind, skills=skills, difficulty=1, parents=question.parents))
        if self._construction.done and self.graph is None:
            self._take_graph()
            if not self._opened and self.scope is not Scope.GRAPH:
                self._order_opening()
            for name in self._edits:
                if name not in self._edits_taken:
                    self._carry_out(name)

    def _take_graph(self) -> None:
        graph = self._construction.graph()
        least = self._config.graph.min_skills
        if len(graph.skills) < least:
            raise GraphTooSmall(
                f"the teacher decomposed {self._config.graph.target!r} into {len(graph.skills)} skills, fewer than "
                f"graph.min_skills {least}; name another target, use a stronger teacher or lower graph.min_skills"
            )
        for name in [name for name in self._edits if name in self._edits_taken]:
            with contextlib.suppress(GraphError):  # it was refused then, too
                graph, _ = with_edit(graph, Edit.from_row(self._edits[name]))
        self._set_graph(graph)
        if not self.taught and self.scope is not Scope.GRAPH:
            raise GraphTooSmall(
                "graph: it holds no skill to teach, only headings or elementary skills; let the teacher go on to the "
                "subjects (graph.until), or shorten graph.elementary"
            )
        if not self._opened:
            self._emit({"event": "graph", "skills": len(graph.skills), "faults": self.graph_faults})

    @property
    def graph_faults(self) -> list[str]:
        """What was dropped, merged or cut while the graph was made."""
        return [*self._start_faults, *self._construction.faults]

    def _set_graph(self, graph: SkillGraph) -> None:
        self.graph = graph
        self._briefs = briefs(graph)
        self.elementary = elementary_in(self._config.graph, graph)
        self.warnings = self._strange_names(graph)
        self._lessons = Lessons(graph, self._briefs, self._config.generate, self.elementary, self._config.run.seed)

    def _strange_names(self, graph: SkillGraph) -> list[str]:
        lines, words = [], self._config.graph.elementary
        if words and (strange := names_of(graph).strange(words)):
            lines.append(f"graph.elementary: no skill of the graph is named {_listed(strange)}; see `dsa graph show`")
        beside = Counter(skill for seed in self._given for skill in seed.skills if skill not in self._briefs)
        if beside:
            lines.append(
                f"generate.seeds: {beside.total()} exercises are of skills that the graph has not, and are trained on "
                f"beside it: {_listed(list(beside))}"
            )
        return lines

    def _carry_out(self, name: str) -> None:
        """Put a handed-in skill into the graph and order its textbook and its first exercises."""
        assert self.graph is not None
        self._edits_taken.add(name)
        try:
            graph, skill = with_edit(self.graph, Edit.from_row(self._edits[name]))
        except GraphError as error:
            self._emit({"event": "edit", "name": name, "row": self._edits[name], "refused": str(error)})
            return
        self._set_graph(graph)
        self._emit({"event": "edit", "name": name, "row": self._edits[name], "skill": skill})
        if self.scope is not Scope.GRAPH:
            self.order(Order(kind=Kind.TEXTBOOK, skills=(skill,), difficulty=1, parents=()))
            for number in range(self._config.generate.exercises_per_skill):
                self._order_exercise(skill, number)

    def _order_opening(self) -> None:
        """Textbooks in learning order, then the first exercises in rounds of one per skill.

        Levels are mixed: what is practised at the beginning only is forgotten by the end.
        """
        for skill in self.taught:
            if skill in self.textbooks:  # the user's own
                continue
            self.order(Order(kind=Kind.TEXTBOOK, skills=(skill,), difficulty=1, parents=()))
        for _ in range(self._config.generate.exercises_per_skill):
            self.order_round()
        for seed in self._given:
            for _ in range(self._config.generate.seed_variants):
                variant = Order(kind=Kind.VARIANT, skills=seed.skills, difficulty=seed.difficulty, parents=(seed.id,))
                self.order(variant)
        self._opened = True

    def _order_exercise(self, skill: str, number: int, nth: int = 0) -> bool:
        assert self._lessons is not None
        return self.order(self._lessons.order(skill, number, nth)) is not None

    def ladder_lease(self, exercise: int, first: int, skills: Iterable[str]) -> LadderLease:
        """What has to be known to climb a ladder from a written exercise on these skills."""
        ref = self.places[exercise]
        return LadderLease(exercise=exercise, ref=ref, first=first, skills=self._briefs_of(skills))

    def _briefs_of(self, skills: Iterable[str]) -> tuple[SkillBrief, ...]:
        return tuple(self._briefs.get(skill) or SkillBrief.outside(skill) for skill in skills)

    def _assignment(self, request: ExerciseRequest) -> Assignment:
        return Assignment(
            request=request,
            skills=self._briefs_of(request.skills),
            parents=tuple(self.places[parent] for parent in request.parents),
        )


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
