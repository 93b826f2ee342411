"""The curator: one state, in which every decision of a run is made.

    supply     what is ordered and written          never undone
    training   visits, losses, verdicts, weights    returns to a checkpoint with the student's weights

A loss arrives, its step closes, a cycle completes, a verdict falls, a decision orders a child at the head of the
request queue: one call, no waiting. The class is plain and single-threaded; an actor makes it reachable.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dsa_ray.config import Config
from dsa_ray.curriculum.clock import SteadyClock
from dsa_ray.curriculum.epochs import Epochs
from dsa_ray.curriculum.frontier import Change, Frontier
from dsa_ray.curriculum.held_back import Accepted
from dsa_ray.curriculum.intake import Refused, Report
from dsa_ray.curriculum.latest import LatestVerdicts
from dsa_ray.curriculum.leases import LeaseLedger, plain_row
from dsa_ray.curriculum.mastery import Mastery
from dsa_ray.curriculum.mixing import Mixing
from dsa_ray.curriculum.planner import EXERCISES, StepPlanner, reading_order
from dsa_ray.curriculum.progress import Children
from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.skill_sampler import SkillSampler
from dsa_ray.curriculum.supply import Emit, Row, Supply
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.dynamics.decisions import ExerciseFacts, Policy
from dsa_ray.dynamics.history import LossHistory
from dsa_ray.dynamics.stay_hard import HardRuns
from dsa_ray.dynamics.verdicts import Judge
from dsa_ray.records import (
    GRAPH_KINDS,
    Action,
    Assignment,
    Decision,
    LadderLease,
    PackedItem,
    RowPlan,
    Scope,
    Verdict,
    VerdictClass,
    shallow,
)
from dsa_ray.storage.quarantine import RESTORE

REPLAYED, TAUGHT = "replayed", "taught"
PLANT_EVERY = 8
"""While the least number of planted answers is not reached, one is planted per so many accepted exercises."""
LEAD_STEPS = 8
"""Further rounds are ordered when the visits still due for verdicts, written or on their way, fill fewer steps than
these and twice what is planned ahead: what is ordered now is trained on that much later."""

RECENT_LAGS = 200
"""The live feedback lag is that of so many children."""


class Curator:
    """Orders, books, plans, observes, judges.

    Args:
        config: the run's configuration.
        emit: takes events (plain dicts) for the journal, in order.
        clock: seconds; monotonic.
        supply: the generation side; one that starts from nothing if not given.
    """

    def __init__(
        self,
        config: Config,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
        supply: Supply | None = None,
    ) -> None:
        self._config = config
        self._emit = emit
        self._clock = SteadyClock(clock, leap_s=config.generate.request_timeout_s / 2)
        self._rng = np.random.default_rng((config.run.seed, 1))
        self.supply = supply or Supply(config, emit)
        self._trains = self.supply.scope is Scope.TRAINING
        self.table = ExerciseTable(config.dynamics.baseline == "probe", self.supply.places)
        self.mixing: Mixing | None = None
        self.sampler = self._new_sampler()
        self.epochs = Epochs(config.dynamics.schedule == "epochs", self.sampler)
        self.planner = StepPlanner(config.train, self.table, self.sampler)
        self.ledger = LeaseLedger(config.train.ranks, config.train.rows_per_step, config.train.slots)
        self.history = LossHistory(config.dynamics)
        self.judge = Judge(config.dynamics, self._is_replay)
        self.policy = Policy(config.dynamics)
        self.hard_runs = HardRuns()
        self.frontier = Frontier(config.frontier)
        self.children = Children()
        self.verdicts: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.dropped = 0
        self.latest = LatestVerdicts()
        self._mastery = Mastery()
        self.refused = Refused()
        self.capped = 0
        """Verdicts of `erroneous` that `drop_cap` kept from dropping their exercise."""

    # generation side

    def start(self) -> None:
        """Order what starts the ring: the decomposition of the target, or whatever a restored run still lacks."""
        self.supply.start()
        self._open_training()

    def lease_requests(self, replica: str, incarnation: str, n: int) -> list[Assignment]:
        """Work for a replica; an empty list when there is none now."""
        if self.generation_over:
            return []
        if self._trains:
            self._keep_lead()
        leased = self.supply.lease(replica, incarnation, n, self._clock())
        self._take_released()
        return leased

    def accept(self, segment: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Book items that are durable in segment `segment` of the written journal. Idempotent."""
        for accepted in self.supply.accept(segment, rows):
            self._add_exercise(accepted)
        self._open_training()

    def restore_supply(self, events: Iterable[Mapping[str, Any]], written: Iterable[tuple[int, Row]]) -> None:
        """Rebuild the generation side from a run's journal (see `Supply.restore`)."""
        for accepted in self.supply.restore(self._noting_held_out(events), written):
            self._add_exercise(accepted, fresh=False)
        self._remember_children()

    def reject(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count failed attempts."""
        for accepted in self.supply.reject(rows):
            self._add_exercise(accepted)
        self._open_training()

    def edit(self, name: str, row: Any) -> None:
        """Take an edit that somebody handed in: of the graph (see `Supply.edit`), or exercises to take back."""
        if isinstance(row, Mapping) and RESTORE in row:
            self._pardon(self.supply.pardon(name, row, self.ledger.closed_step, self.table))
        else:
            self.supply.edit(name, row)

    def lease_ladders(self, climbing: Sequence[int], n: int) -> list[LadderLease]:
        """Up to `n` ladders to climb beside those that are being climbed; none once the budget stopped a teacher."""
        due = [] if self.supply.closed_teachers else self.supply.ladders.due(climbing, n)
        return [self.supply.ladder_lease(exercise, first, self.table.skills_of(exercise)) for exercise, first in due]

    @property
    def generation_over(self) -> bool:
        """Nothing that is written from now on could still be trained on; without training, all is written."""
        return self.planner.done if self._trains else self.supply.finished

    # training side

    def resize(self, ranks: int) -> None:
        """The next attempt has so many ranks. To be called before the state that it begins from is restored."""
        if ranks != self.ledger.ranks:
            self.ledger.resize(ranks)
            self.planner.ranks = ranks

    def plant_known(self) -> None:
        """Of exercises that a journal restored: planted wrong answers, where no checkpoint says which there are."""
        if not self.table.planted:
            for number, exercise in enumerate(self.table.ids(), start=1):
                if self._may_train(exercise):
                    self._plant(exercise, number)

    def begin_attempt(self) -> int:
        """A trainer starts; rows that an older attempt held are given out again."""
        return self.ledger.begin_attempt()

    def tell_open(self) -> None:
        """Record anew the rows that an attempt begins with: a lost one may have planned other rows for their steps."""
        for rows in self.ledger.open_steps():
            self._tell_lease(rows)

    def _tell_lease(self, rows: Sequence[RowPlan]) -> None:
        self._emit({"event": "lease", "rows": [plain_row(row) for row in rows]})

    def lease_rows(self, rank: int, attempt: int, n: int) -> list[RowPlan] | None:
        """Up to `n` packed rows for a rank; empty when there is nothing now, None when the run's steps are over.

        None too for a reader of an older attempt, whose rank may not be there any more.

        Steps are planned when their rows are asked for, no earlier: what is written meanwhile still comes before them.
        """
        if attempt != self.ledger.attempt:
            return None
        while self.ledger.has_room and self.ledger.planned_of(rank) < n:
            rows = self._plan() or (self._turn_epoch() and self._plan())
            if not rows and self._open_frontier():
                continue
            if not rows:
                break
            self.ledger.add_step(rows)
            self._tell_lease(rows)
        given = self.ledger.give(rank, attempt, n)
        over = self.planner.done and not self.ledger.planned_of(rank)
        return None if over and not given else given

    def observe(
        self, rank: int, attempt: int, step: int, leases: list[int], ids: np.ndarray, losses: np.ndarray
    ) -> bool:
        """A rank trained its rows of a step.

        Args:
            leases: the rows' lease numbers.
            ids: the examples in them, int64[n].
            losses: their mean answer-token losses, nats, float64[n], in the order of `ids`.

        Returns:
            False when the report does not count: see `intake`, which also takes out single losses that may not count.
        """
        report = Report(ids, losses)
        if fault := report.fault(self.ledger, (rank, attempt, step), leases):
            self._refuse(step, fault, np.ravel(ids).tolist() if report.ids is not None else [-1])
            return False
        rows = self.ledger.out_rows(rank, leases)
        self.ledger.report(rank, attempt, step, leases)
        leased = {item.exercise: item for row in rows for item in row.items}
        tuning = rows[0].phase == EXERCISES
        items = report.keep_exercises(rows, self.planner.books | self.table.held_out if tuning else leased)
        for reason, bad in report.refused.items():
            self._refuse(step, reason, bad.tolist())
        if tuning:
            self._observe_held_out(leased, report)
        if items:
            self._observe_exercises(step, items, report)
        told = {"ids": report.ids.tolist(), "losses": report.losses.tolist()}
        self._emit({"event": "observe", "step": step, "rank": rank, **told})
        while (closed := self.ledger.closable()) is not None:
            self._close(closed)
        return True

    # state

    def training_state(self) -> dict[str, Any]:
        """All that goes back with the student's weights, at the end of a closed step."""
        return {
            "planner": self.planner.state_dict(),
            "ledger": self.ledger.state_dict(),
            "sampler": self.sampler.state_dict(),
            "epochs": self.epochs.state_dict(),
            "history": self.history.state_dict(),
            "judge": self.judge.state_dict(),
            "policy": self.policy.state_dict(),
            "hard_runs": self.hard_runs.state_dict(),
            "frontier": self.frontier.state_dict(),
            "children": self.children.state_dict(),
            "verdicts": dict(self.verdicts),
            "decisions": dict(self.decisions),
            "dropped": self.dropped,
            "latest": self.latest.state_dict(),
            "planted": self.table.planted_pairs(),
            "rng": self._rng.bit_generator.state,
            **({"mixing": self.mixing.state_dict()} if self.mixing else {}),
        }

    def restore_training(self, state: Mapping[str, Any] | None) -> None:
        """Return to a checkpoint (None: to the untrained student). What was written since stays, as unvisited data."""
        known = {exercise: n for n, exercise in enumerate(self.table.ids(), start=1) if self._may_train(exercise)}
        fresh = Curator(self._config, self._emit, self._clock, self.supply)
        for name in (
            "sampler",
            "epochs",
            "planner",
            "ledger",
            "history",
            "judge",
            "policy",
            "hard_runs",
            "frontier",
            "children",
            "latest",
        ):
            part = getattr(self, name)
            nothing = state is None or name not in state  # a checkpoint of an earlier release
            restored = getattr(fresh, name).state_dict() if nothing else state[name]
            unfit = part.load_state_dict(restored, *([self._clock()] if name == "children" else []))
            if name == "ledger":
                self.planner.withdraw(unfit)
        if self.mixing and state is None:
            self.mixing.reset()
        elif self.mixing and state is not None:
            self.mixing.load_state_dict(state["mixing"])
        state = state or {}
        self.verdicts = Counter(state.get("verdicts", {}))
        self.decisions = Counter(state.get("decisions", {}))
        self.dropped = state.get("dropped", 0)
        self._mastery.forget()
        for planted, question, answer in state.get("planted", ()):
            self.table.plant(planted, question, answer)
        self.history.mark_planted(sorted(self.table.planted))
        self._remember_children()
        self._pardon(self.supply.pardoned)
        self._keep_replay_share()
        if "rng" in state:
            self._rng.bit_generator.state = state["rng"]
        for exercise in (*known, *sorted(self.table.planted)):
            if exercise not in self.sampler and exercise not in self.frontier:
                self._offer(exercise, front=False)
                if exercise in known:
                    self._plant(exercise, known[exercise])

    def status(self) -> dict[str, Any]:
        """Counts and depths, for people and for the watchdog."""
        supply = self.supply
        return {
            "phase": self._phase(),
            "step": self.ledger.closed_step,
            "steps": self.planner.total_steps,
            "textbook_steps": self.planner.textbook_steps,
            "skills": len(supply.graph.skills) if supply.graph else 0,
            "textbooks": len(supply.textbooks),
            "textbooks_wanted": len(supply.taught),
            "written": len(self.table),
            "rejected": sum(supply.rejected.values()),
            "rejections": dict(supply.rejected),
            "queue_depth": supply.book.queue_depth,
            "outstanding": supply.book.outstanding,
            "garbage": supply.garbage.to_replace,
            "replaced": supply.garbage.replaced.total(),
            "backlog": [supply.book.backlog(number) for number in range(len(self._config.pool))],
            "oldest_request_s": supply.book.oldest_lease_s(self._clock()),
            "epoch": self.epochs.number,
            "unvisited": self.sampler.unvisited,
            "held": self.frontier.held,
            "open_rows": self.ledger.open_rows,
            "verdicts": dict(self.verdicts),
            "decisions": dict(self.decisions),
            "children": self.children.facts(),
            **self.children.lag_quantiles(RECENT_LAGS),
            "mastery": self._mastery.by_level(supply.graph, self._judged),
            "attempt": self.ledger.attempt,
            "refused": dict(self.refused.counts),
            "warnings": self.warnings(),
            "edits": len(supply.edits),
            "ladders": supply.ladders.facts(),
            "answered": sum(supply.written[kind] for kind in GRAPH_KINDS),
            "coverage": supply.coverage.totals(supply.graph) if supply.graph else {},
            "reviews": supply.in_review,
            "spent": {
                "tokens": supply.output_tokens,
                "money": round(supply.spending.money, 4),
                "over": supply.spent,
                "teachers": supply.closed_teachers,
            },
            "generated": {
                "prompts": supply.spending.total.input_tokens,
                "answers": supply.spending.total.output_tokens,
                "accepted": supply.output_tokens,
            },
        }

    def facts(self) -> dict[str, Any]:
        """The whole outcome: what summary, tables and report are made of."""
        supply = self.supply
        return {
            "rejected": dict(supply.rejected),
            "truncated": supply.truncated,
            "replaced": dict(supply.garbage.replaced),
            "items_written": {kind.value: count for kind, count in supply.written.items()},
            "output_tokens": supply.output_tokens,
            "coverage": supply.coverage.rows(supply.graph) if supply.graph else [],
            "spending": supply.spending.facts(),
            "ladders": supply.ladders.facts(),
            "planted": len(self.table.planted),
            "verdicts": dict(self.verdicts),
            "decisions": dict(self.decisions),
            "refused": dict(self.refused.counts),
            "warnings": self.warnings(),
            "children": self.children.facts(),
            "lags": self.children.lags(),
            **self.children.lag_quantiles(),
            "levels": asdict(self.judge.baselines.levels()),
            "mixture": self.mixing.facts() if self.mixing else {},
            "exercises": {
                exercise: {
                    "losses": [visit.loss for visit in self.history.losses_of(exercise)],
                    "visits": self.sampler.visits(exercise) if exercise in self.sampler else 0,
                    **self.latest.facts(exercise),
                }
                for exercise in self.table.ids()
            },
        }

    def warnings(self) -> list[str]:
        """What the user should look at, a line each."""
        lines = []
        if self.capped:
            lines.append(
                f"dynamics.drop_cap: {self.capped} verdicts of `erroneous` dropped nothing, for more than "
                f"{self._config.dynamics.drop_cap:.0%} of the exercises would be gone; look at them before raising it"
            )
        lines += self.supply.warnings
        lines += self.refused.warnings()
        lines += self.supply.garbage.warnings()
        if not self.supply.spent:
            closed = self.supply.closed_teachers
            lines += [f"generate.budget: spent on teachers.{number}; the other teachers write on" for number in closed]
        if self._clock.jumps:
            lines.append(f"the clock jumped {self._clock.jumps} times; no deadline ran meanwhile")
        return lines

    # inside

    def _judged(self) -> Iterable[tuple[tuple[str, ...], VerdictClass]]:
        return ((self.table.asked(exercise).skills, verdict) for exercise, verdict in self.latest.classes())

    def _observe_exercises(self, step: int, items: Sequence[PackedItem], report: Report) -> None:
        seen, measured = report.of_exercises()
        visits, tokens = ([getattr(item, name) for item in items] for name in ("visit", "loss_tokens"))
        self.history.observe(step, seen, visits, measured, tokens)
        self.children.observed(seen.tolist(), step, self._clock())
        rows = zip(seen.tolist(), visits, measured.tolist(), strict=True)
        real = ((each, self.table.asked(each), visit, loss) for each, visit, loss in rows if each in self.table)
        self.frontier.observe(step, real)

    def _refuse(self, step: int, reason: str, ids: Sequence[int]) -> None:
        """Count losses that do not count. An exercise whose loss is no number is not trained on again."""
        self.refused.add(reason, ids)
        self._emit({"event": "refused", "step": step, "reason": reason, "ids": list(ids)})
        if reason == "not_finite":
            for exercise in ids:
                if exercise in self.sampler:
                    self.sampler.drop(exercise)

    def _remember_children(self) -> None:
        """Children exist or are on their way that lost steps ordered: no verdict orders them again."""
        for child in self.supply.children:
            self.policy.remember(child.cause, child.kind, child.parents)
        known = ((child.id, child.kind) for child in self.supply.children)
        self.children.recall(known, self.ledger.closed_step, self._clock())

    def _take_released(self) -> None:
        released, self.supply.released = self.supply.released, []
        for accepted in released:
            self._add_exercise(accepted)

    def _open_training(self) -> None:
        if not self.planner.textbooks_known and (self.supply.textbooks_enough or self.supply.first_books is not None):
            books = self.supply.fix_first_phase()
            order = reading_order(books, self._config.train.textbook_order, self._config.run.seed)
            self.planner.set_textbooks(order)
        if self.planner.textbooks_known:
            self.planner.add_late(self.supply.textbooks.values())

    def _phase(self) -> str:
        if not self.supply.graph_done:
            return "graph"
        if not self.planner.textbooks_known:
            return "writing"
        return "textbooks" if self.ledger.closed_step < self.planner.textbook_steps else "exercises"

    def _mix(self) -> None:
        """Where skills have shares: begin the next round when it is time, and ask for the held-out losses."""
        planned = self.planner.exercise_steps
        if self.mixing is None or planned is None:
            return
        assert isinstance(self.sampler, SkillSampler)
        shares = self.mixing.shares(planned)
        if shares and sum(shares.values()) > 0:
            self.sampler.set_shares(shares)
        self.planner.probes += self.mixing.due(planned, waiting=bool(self.planner.probes))

    def _observe_held_out(self, items: Mapping[int, PackedItem], report: Report) -> None:
        for exercise, loss in zip(report.ids.tolist(), report.losses.tolist(), strict=True):
            if self.mixing is not None and exercise in self.table.held_out:
                self.mixing.observe(items[exercise].visit, exercise, loss)

    def _noting_held_out(self, events: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
        for event in events:
            if self.mixing is not None and event["event"] == "hold_out":
                self.mixing.hold_out(event["id"], event["skill"])
            yield event

    def _group_of(self, exercise: int) -> str:
        """Whose share an exercise has a part of: that of its skill in a mixture, else what is replayed or taught."""
        question, _ = self.table.planted.get(exercise, (exercise, 0))
        asked = self.table.asked(question)
        if self.mixing is not None:
            return self.mixing.group_of(asked)
        return REPLAYED if self._is_replay(asked.skills) else TAUGHT

    def _may_train(self, exercise: int) -> bool:
        if self.mixing is None:
            return True
        return exercise not in self.table.held_out and self.mixing.trains(self.table.asked(exercise))

    def _add_exercise(self, accepted: Accepted, fresh: bool = True) -> None:
        request = accepted.request
        self._keep_replay_share()
        self.table.add(request, accepted.ref, accepted.prompt_tokens, accepted.tokens, accepted.answer_hash)
        if self.mixing and (self.mixing.is_held_out(request.id) or (fresh and self.mixing.holds_out(request))):
            self.table.held_out.add(request.id)
        if not self._may_train(request.id):
            return
        child = request.cause is not None
        self._offer(request.id, front=child)
        if child:
            self.children.was_written(request.kind)
        if fresh and self._trains:
            self._plant(request.id, len(self.table))

    def _new_sampler(self) -> Sampler | SkillSampler:
        """Where the student has something to forget, what is replayed keeps its share of the visits: the children of
        verdicts, which are on taught skills alone, would otherwise crowd it out as training goes on."""
        config = self._config
        cap, seed = config.dynamics.cap, config.run.seed
        if config.curriculum.sampler != "dynamics":
            mixed = SkillSampler(self._group_of, cap=cap, seed=seed)
            self.mixing = Mixing(config, lambda: self.supply.graph, lambda: mixed.counts, self._emit)
            return mixed
        if config.graph.elementary and config.generate.replay and config.dynamics.schedule == "continuous":
            return SkillSampler(self._group_of, cap=cap, seed=seed)
        return Sampler(cap=cap, seed=seed)

    def _is_replay(self, skills: Iterable[str]) -> bool:
        return self.supply.elementary.issuperset(skills)

    def _keep_replay_share(self) -> None:
        if self.mixing is not None or not isinstance(self.sampler, SkillSampler):
            return
        share = self.supply.replay_share
        shares = {REPLAYED: share, TAUGHT: 1.0 - share}
        if share and shares != self.sampler.shares:
            self.sampler.set_shares(shares)

    def _offer(self, exercise: int, front: bool) -> None:
        """Have an exercise trained on from now on, or once its skills are open."""
        if self.supply.graph is not None:
            self.frontier.use(self.supply.graph, self.supply.elementary)
        planted = exercise not in self.table
        if planted or self.frontier.admit(exercise, self.table.asked(exercise).skills):
            self.epochs.add(exercise, front)

    def _release(self) -> None:
        for exercise in self.frontier.release():
            self.epochs.add(exercise, front=bool(self.table.asked(exercise).parents))

    def _open_frontier(self) -> bool:
        """Training does not wait for a gate: with nothing else to train on, the next skill is opened."""
        training = self.planner.textbooks_known and not self.planner.done
        idle = training and (self.sampler.eligible == 0 or not self._patient)
        change = self.frontier.open_next() if idle else None
        if change is None:
            return False
        self._tell(change, self.ledger.closed_step)
        self._release()
        return True

    def _pardon(self, exercises: Iterable[int]) -> None:
        for exercise in sorted(exercises):
            self.dropped -= self.policy.pardon(exercise)
            if exercise in self.sampler:
                self.sampler.restore(exercise)

    def _tell(self, change: Change, step: int) -> None:
        """Note what happened to a skill; one that was forgotten gets exercises."""
        replay = self._config.frontier.replay if change.what == "regressed" else 0
        ordered = self.supply.order_practice(change.skill, replay)
        told = {"skill": change.skill, "what": change.what, "step": step, "ordered": ordered}
        self._emit({"event": "frontier", **told})

    def _plant(self, question: int, number: int) -> None:
        """Keep the wanted number of planted wrong answers, one at most per exercise; this is the `number`th.

        None on what is replayed: trained on, they would unteach what the student knows.
        """
        dynamics = self._config.dynamics
        share = int(dynamics.planted_share * number)
        due = min(max(dynamics.planted_min, share), number // PLANT_EVERY + share)
        if len(self.table.planted) >= due or self._is_replay(self.table.skills_of(question)):
            return
        answer = self.table.wrong_answer_for(question, self._rng, self._config.train.row_tokens)
        if answer is None:
            return
        planted = self.supply.book.take_id()
        self.table.plant(planted, question, answer)
        self.history.mark_planted([planted])
        self.epochs.add(planted, front=False)
        self._emit({"event": "plant", "id": planted, "question": question, "answer": answer})

    def _keep_lead(self) -> None:
        """Order a further round when training would soon have nothing but visits beyond those that make a verdict."""
        supply, train, visits = self.supply, self._config.train, self._config.dynamics.visits
        if not supply.textbooks_settled or not len(self.table) or self.generation_over or self.epochs.on:
            return
        per_step = self.planner.rows_in_step * train.row_tokens / self.table.mean_tokens
        wanted = per_step * (LEAD_STEPS + 2 * train.slots / train.rows_per_step)
        coming = self.sampler.visits_due(visits) + visits * (supply.book.unsettled + self.frontier.held)
        while coming < wanted and (ordered := supply.order_round()):
            coming += visits * ordered

    def _close(self, step: int) -> None:
        self.history.close_step(step)
        verdicts = self.judge.verdicts(self.history.completed(), self.history.is_planted, self.table.skills_of)
        for verdict in self.epochs.later(verdicts):
            self._carry_out(verdict)
        if changes := self.frontier.close(step):
            for change in changes:
                self._tell(change, step)
            self._release()
        if self.planner.done and not self.ledger.open_rows:
            self.epochs.end(self._carry_out)

    @property
    def _patient(self) -> bool:
        """More is being written that may still join."""
        return self.supply.book.unsettled > 0 and not self.epochs.on

    def _plan(self) -> list[RowPlan] | None:
        self._mix()
        return self.planner.plan(self.ledger.next_lease, self._patient, self.epochs.limit)

    def _turn_epoch(self) -> bool:
        """Nothing of this epoch is left to plan: whether the next one begins. It waits for all that is ordered."""
        planner, supply = self.planner, self.supply
        if not self.epochs.on or self.ledger.open_rows or not planner.textbooks_known or planner.done:
            return False
        self.epochs.end(self._carry_out)
        if not supply.enough(supply.book.unsettled, supply.book.unsettled + self.epochs.held):
            return False
        if self.epochs.begin(least=self.planner.rows_in_step):
            return True
        supply.order_round()
        return False

    def _carry_out(self, verdict: Verdict) -> None:
        asked = self.table.asked(verdict.exercise)
        facts = ExerciseFacts(
            kind=asked.kind,
            skills=asked.skills,
            difficulty=asked.difficulty,
            parents=asked.parents,
            dropped_share=(self.dropped + 1) / max(1, len(self.table)),
            replay=self._is_replay(asked.skills),
            stays_hard=self.supply.ladders.wants(
                verdict.exercise, asked.skills, self.hard_runs.take(asked.skills, verdict.verdict)
            ),
        )
        decision = self.policy.decide(verdict, facts)
        self.verdicts[verdict.verdict] += 1
        self.decisions.update(action.value for action in decision.actions)
        self.capped += decision.reason.startswith("drop_cap")
        before = self.latest.facts(verdict.exercise)["verdict"]
        self._mastery.replace(asked.skills, VerdictClass(before) if before else None, verdict.verdict)
        self.latest.put(verdict)
        if Action.DROP in decision.actions:
            self.dropped += decision.reason != "dropped_before"
            self.sampler.drop(verdict.exercise)
        else:
            self.sampler.set_weight(verdict.exercise, decision.weight)
        if Action.LADDER in decision.actions:
            self.supply.ladders.order(verdict.exercise, asked.skills)
        children = self._order_children(decision, verdict)
        decided = {**shallow(decision), "orders": tuple(map(shallow, decision.orders))}
        told = {"decision": decided, "children": children, "exercises": len(self.table)}
        self._emit({"event": "verdict", **shallow(verdict), **told})

    def _order_children(self, decision: Decision, verdict: Verdict) -> list[int]:
        children = []
        for nth, order in enumerate(decision.orders):
            request = self.supply.order(order, cause=(verdict.exercise, verdict.cycle), nth=nth)
            if request is not None:
                self.children.ordered(request.id, request.kind, verdict.step, self._clock())
                children.append(request.id)
        return children
