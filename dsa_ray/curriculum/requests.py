"""The book of requests: minted once, leased to replicas, settled by acceptance or by a final rejection.

Queues per teacher: reviews go first, then what verdicts ordered, then the rest. Of the children the newest goes first:
where verdicts order more than a teacher can write, the old ones wait, and the feedback that arrives is fresh. `slots`
bounds what is out at one time: it is the backpressure on generation and the bound on the lag that generation adds.

A request that was out when its replica died is given out again. After the second death it is suspect: it goes out
alone, to a replica that holds nothing else, and if that one dies too it is closed as poison. So one poison prompt
costs a few restarts, and no other request.

A request whose answer could not be read goes to another replica of its teacher, if one is there, and its last attempt
waits for one that is still to come: a broken one, which is quick to ask again, would else spend all attempts of what
little there is to write while the graph is drawn.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace

from dsa_ray.dynamics.number_set import NumberSet
from dsa_ray.records import REVIEW_KINDS, ExerciseRequest, Kind, Order

SUSPECT_DEATHS = 2
ELSEWHERE_S = 30.0
"""So long another replica is waited for at most, seconds of the caller's clock."""
THERE_S = 5.0
"""A replica that asked in the last so many seconds, or that holds requests, is there."""
_NTH_BITS = _CYCLE_BITS = 16


@dataclass(frozen=True, slots=True)
class RequestLease:
    """Who holds a request, and since when (seconds of the caller's clock)."""

    request: ExerciseRequest
    replica: str
    incarnation: str
    since: float
    alone: bool = False
    """Given out by itself, because replicas died with it before."""


class _Queues:
    """The waiting requests of one teacher."""

    def __init__(self) -> None:
        self.reviews: deque[ExerciseRequest] = deque()
        self.children: deque[ExerciseRequest] = deque()
        self.normal: deque[ExerciseRequest] = deque()
        self.suspects: deque[ExerciseRequest] = deque()

    def __len__(self) -> int:
        return len(self.reviews) + len(self.children) + len(self.normal) + len(self.suspects)

    def add(self, request: ExerciseRequest) -> None:
        """A new one: the newest child goes first, everything else behind its like."""
        if request.kind in REVIEW_KINDS:
            self.reviews.append(request)
        elif request.cause is not None:
            self.children.appendleft(request)
        else:
            self.normal.append(request)

    def add_again(self, request: ExerciseRequest, suspect: bool) -> None:
        """One that was out before goes before its like."""
        if suspect:
            self.suspects.appendleft(request)
        elif request.kind in REVIEW_KINDS:
            self.reviews.appendleft(request)
        else:
            (self.children if request.cause is not None else self.normal).appendleft(request)

    def take(self, barred: Container[int] = ()) -> ExerciseRequest | None:
        """The next that need not go alone, and is not barred by its id."""
        for queue in (self.reviews, self.children, self.normal):
            for place, request in enumerate(queue):
                if request.id not in barred:
                    del queue[place]
                    return request
        return None


class RequestBook:
    """Every request that is not settled yet.

    Args:
        slots: how many requests may be leased at one time.
        attempts: a request that fails this often is final.
        timeout_s: a lease older than this is given to another replica.
        seed: seed of the run; every attempt of every request has a sampling seed of its own.
        route: the number of the teacher that writes an attempt of a request; without it there is one, 0.
        replicas: how many replicas a teacher should have.
    """

    def __init__(
        self,
        slots: int,
        attempts: int,
        timeout_s: float,
        seed: int,
        route: Callable[[ExerciseRequest], int] = lambda request: 0,
        replicas: Callable[[int], int] = lambda teacher: 1,
    ) -> None:
        self._slots = slots
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._seed = seed
        self._route = route
        self._replicas = replicas
        self._queues: defaultdict[int, _Queues] = defaultdict(_Queues)
        self._deaths: Counter[int] = Counter()
        self._poison: list[ExerciseRequest] = []
        self._asked: defaultdict[int, dict[str, float]] = defaultdict(dict)
        """When each replica of a teacher last asked."""
        self._unread: dict[int, tuple[str, float, bool]] = {}
        """Requests that wait: the replica whose answer could not be read, since when, whether one attempt is left."""
        self._now = 0.0
        self._leased: dict[int, RequestLease] = {}
        self._ordered = NumberSet()
        """Children, by cause and number among its orders."""
        self._waiting: Counter[Kind] = Counter()
        self.next_id = 1
        self.minted: Counter[Kind] = Counter()

    @property
    def queue_depth(self) -> int:
        """Requests that wait for a replica."""
        return sum(len(queues) for queues in self._queues.values())

    @property
    def outstanding(self) -> int:
        """Requests that a replica or the generation stream holds."""
        return len(self._leased)

    @property
    def unsettled(self) -> int:
        return self.queue_depth + self.outstanding

    def backlog(self, teacher: int) -> int:
        """Requests that wait for a teacher or are out at it."""
        out = sum(self._route(lease.request) == teacher for lease in self._leased.values())
        return len(self._queues[teacher]) + out

    def outstanding_at(self, teacher_of: Callable[[str], int]) -> Counter[int]:
        """Requests that are out, by the number of the teacher whose replica holds them."""
        return Counter(teacher_of(lease.replica) for lease in self._leased.values())

    def unsettled_of(self, kind: Kind) -> int:
        """How many requests of a kind are neither accepted nor finally rejected."""
        return self._waiting[kind]

    def mint(self, order: Order, cause: tuple[int, int] | None = None, nth: int = 0) -> ExerciseRequest | None:
        """Give an order an id and queue it, at the head when a verdict caused it.

        Args:
            nth: which of the orders of its cause this is.

        Returns:
            None when this cause has ordered its nth child before.
        """
        if cause is not None and _child_key(cause, nth) in self._ordered:
            return None
        request = ExerciseRequest(
            id=self.take_id(),
            kind=order.kind,
            skills=order.skills,
            difficulty=order.difficulty,
            parents=order.parents,
            cause=cause,
            concepts=order.concepts,
        )
        if cause is not None:
            self._ordered.add(_child_key(cause, nth))
        self.minted[request.kind] += 1
        self._waiting[request.kind] += 1
        self._queue(request)
        return request

    def take_id(self) -> int:
        """The next unused id."""
        return self.take_ids(1)

    def take_ids(self, count: int) -> int:
        """The first of so many unused ids, one after another."""
        self.next_id += count
        return self.next_id - count

    def lease(self, replica: str, incarnation: str, n: int, now: float, teacher: int = 0) -> list[ExerciseRequest]:
        """Up to `n` requests for a replica; what its earlier incarnations held, and what is overdue, goes out again."""
        self._now = self._asked[teacher][replica] = now
        self._reclaim(replica, incarnation, now)
        queues = self._queues[teacher]
        held = [lease for lease in self._leased.values() if lease.replica == replica] if self._deaths else []
        if any(lease.alone for lease in held) or (queues.suspects and held):
            return []
        if queues.suspects and n > 0 and len(self._leased) < self._slots:
            return [self._give(queues.suspects.popleft(), replica, incarnation, now, alone=True)]
        leased, barred = [], self._for_others(replica, teacher)
        while len(leased) < n and len(self._leased) < self._slots and (request := queues.take(barred)) is not None:
            leased.append(self._give(request, replica, incarnation, now))
        return leased

    def take_poison(self) -> list[ExerciseRequest]:
        """Requests closed since the last call because replicas died of them."""
        taken, self._poison = self._poison, []
        return taken

    def drop_waiting(self) -> list[ExerciseRequest]:
        """Close everything that waits for a replica: nobody is going to write it."""
        dropped = [r for queues in self._queues.values() for q in vars(queues).values() for r in q]
        self._queues.clear()
        self._unread.clear()
        for request in dropped:
            self._waiting[request.kind] -= 1
        return dropped

    def reroute(self, teacher: int) -> int:
        """Give what waits for a teacher to those who are drawn for it now. Returns how many."""
        queues = self._queues.pop(teacher, _Queues())
        for queue in vars(queues).values():
            for request in reversed(queue):
                suspect = queue is queues.suspects
                self._queues[self._route(request)].add_again(request, suspect)
        return len(queues)

    def settle(self, request_id: int) -> ExerciseRequest | None:
        """The item is written. Returns its request, or None when it was settled before or is not known."""
        lease = self._leased.pop(request_id, None)
        self._unread.pop(request_id, None)
        request = lease.request if lease else self._remove_queued(request_id)
        if request is not None:
            self._waiting[request.kind] -= 1
        return request

    def fail(
        self, request_id: int, attempt: int, spare: bool = False, unread: bool = False
    ) -> tuple[ExerciseRequest, bool] | None:
        """An attempt was rejected: queue the next one, or close the request.

        Args:
            spare: it goes out once more even if this was its last attempt.
            unread: there was no text that could be read; another replica should try.

        Returns:
            The request and whether it is final; None when this attempt is no longer the current one.
        """
        lease = self._leased.get(request_id)
        if lease is None or lease.request.attempt != attempt:
            return None
        del self._leased[request_id]
        if attempt + 1 >= self._attempts and not spare:
            self._waiting[lease.request.kind] -= 1
            return lease.request, True
        self._requeue(lease.request)
        if unread:
            self._unread[request_id] = lease.replica, self._now, attempt + 2 >= self._attempts
        return lease.request, False

    def take_back(self, replica: str, incarnation: int) -> int:
        """A process is to be replaced: queue what it holds. Nobody died of these requests. Returns how many."""
        who = replica, str(incarnation)
        held = [each for each in self._leased.values() if (each.replica, str(each.incarnation)) == who]
        for lease in held:
            del self._leased[lease.request.id]
            self._requeue(lease.request)
        return len(held)

    def adopt(self, request: ExerciseRequest) -> None:
        """Take over a request that was minted elsewhere: its id and its place among its cause's orders are used."""
        self.next_id = max(self.next_id, request.id + 1)
        self.minted[request.kind] += 1
        if request.cause is not None:
            nth = 0
            while _child_key(request.cause, nth) in self._ordered:
                nth += 1
            self._ordered.add(_child_key(request.cause, nth))

    def oldest_lease_s(self, now: float) -> float:
        """Age of the oldest lease, seconds; 0 when nothing is out."""
        return max((now - lease.since for lease in self._leased.values()), default=0.0)

    def restore(self, minted: Iterable[ExerciseRequest], settled: Container[int]) -> None:
        """Take up every request that a journal names, in the order minted; what is not settled waits again."""
        for request in minted:
            self.adopt(request)
            if request.id not in settled:
                self._waiting[request.kind] += 1
                self._queue(request)

    def _for_others(self, replica: str, teacher: int) -> set[int]:
        """Requests whose answer by this replica could not be read, and for which another one is waited for."""
        if not self._unread:
            return set()
        busy = {lease.replica for lease in self._leased.values()}
        others = (other for other in self._asked[teacher].items() if other[0] != replica)
        there = any(other in busy or self._now - asked <= THERE_S for other, asked in others)
        to_come = self._replicas(teacher) > 1
        return {
            request
            for request, (who, since, last) in self._unread.items()
            if who == replica and self._now - since < ELSEWHERE_S and (there or (last and to_come))
        }

    def _give(
        self, request: ExerciseRequest, replica: str, incarnation: str, now: float, alone: bool = False
    ) -> ExerciseRequest:
        self._unread.pop(request.id, None)
        request = replace(request, seed=self._seed_of(request))
        self._leased[request.id] = RequestLease(request, replica, incarnation, now, alone)
        return request

    def _queue(self, request: ExerciseRequest) -> None:
        self._queues[self._route(request)].add(request)

    def _reclaim(self, replica: str, incarnation: str, now: float) -> None:
        for lease in list(self._leased.values()):
            dead = lease.replica == replica and lease.incarnation != incarnation
            if dead or now - lease.since > self._timeout_s:
                del self._leased[lease.request.id]
                self._deaths[lease.request.id] += dead
                if dead and lease.alone:
                    self._waiting[lease.request.kind] -= 1
                    self._poison.append(lease.request)
                else:
                    self._requeue(lease.request)

    def _requeue(self, request: ExerciseRequest) -> None:
        again = replace(request, attempt=request.attempt + 1)
        suspect = self._deaths[request.id] >= SUSPECT_DEATHS
        self._queues[self._route(again)].add_again(again, suspect)

    def _remove_queued(self, request_id: int) -> ExerciseRequest | None:
        """A late answer to an attempt that was given up: the text counts, the new attempt is not needed."""
        for queues in self._queues.values():
            for queue in vars(queues).values():
                for request in queue:
                    if request.id == request_id:
                        queue.remove(request)
                        return request
        return None

    def _seed_of(self, request: ExerciseRequest) -> int:
        text = f"{self._seed}/{request.id}/{request.attempt}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def _child_key(cause: tuple[int, int], nth: int) -> int:
    exercise, cycle = cause
    return (exercise << _CYCLE_BITS | cycle) << _NTH_BITS | nth
