"""The book of requests: minted once, leased to replicas, settled by acceptance or by a final rejection.

Two queues: what a verdict ordered is urgent and goes first. `slots` bounds what is out at one time: it is the
backpressure on generation and the bound on the feedback lag that generation adds.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from dsa_ray.records import ExerciseRequest, Kind, Order


@dataclass(frozen=True, slots=True)
class RequestLease:
    """Who holds a request, and since when (seconds of the caller's clock)."""

    request: ExerciseRequest
    replica: str
    incarnation: str
    since: float


class RequestBook:
    """Every request that is not settled yet.

    Args:
        slots: how many requests may be leased at one time.
        attempts: a request that fails this often is final.
        timeout_s: a lease older than this is given to another replica.
        seed: seed of the run; every attempt of every request has a sampling seed of its own.
    """

    def __init__(self, slots: int, attempts: int, timeout_s: float, seed: int) -> None:
        self._slots = slots
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._seed = seed
        self._urgent: deque[ExerciseRequest] = deque()
        self._normal: deque[ExerciseRequest] = deque()
        self._leased: dict[int, RequestLease] = {}
        self._ordered: dict[tuple[tuple[int, int], int], int] = {}
        self._waiting: Counter[Kind] = Counter()
        self.next_id = 1
        self.minted: Counter[Kind] = Counter()

    @property
    def queue_depth(self) -> int:
        """Requests that wait for a replica."""
        return len(self._urgent) + len(self._normal)

    @property
    def outstanding(self) -> int:
        """Requests that a replica or the generation stream holds."""
        return len(self._leased)

    @property
    def unsettled(self) -> int:
        return self.queue_depth + self.outstanding

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
        if cause is not None and (cause, nth) in self._ordered:
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
            self._ordered[cause, nth] = request.id
        self.minted[request.kind] += 1
        self._waiting[request.kind] += 1
        (self._normal if cause is None else self._urgent).append(request)
        return request

    def take_id(self) -> int:
        """The next unused id."""
        self.next_id += 1
        return self.next_id - 1

    def lease(self, replica: str, incarnation: str, n: int, now: float) -> list[ExerciseRequest]:
        """Up to `n` requests for a replica; what its earlier incarnations held, and what is overdue, goes out again."""
        self._reclaim(replica, incarnation, now)
        leased = []
        while len(leased) < n and len(self._leased) < self._slots and (self._urgent or self._normal):
            request = (self._urgent or self._normal).popleft()
            request = replace(request, seed=self._seed_of(request))
            self._leased[request.id] = RequestLease(request, replica, incarnation, now)
            leased.append(request)
        return leased

    def settle(self, request_id: int) -> ExerciseRequest | None:
        """The item is written. Returns its request, or None when it was settled before or is not known."""
        lease = self._leased.pop(request_id, None)
        request = lease.request if lease else self._remove_queued(request_id)
        if request is not None:
            self._waiting[request.kind] -= 1
        return request

    def fail(self, request_id: int, attempt: int) -> tuple[ExerciseRequest, bool] | None:
        """An attempt was rejected: queue the next one, or close the request.

        Returns:
            The request and whether it is final; None when this attempt is no longer the current one.
        """
        lease = self._leased.get(request_id)
        if lease is None or lease.request.attempt != attempt:
            return None
        del self._leased[request_id]
        if attempt + 1 >= self._attempts:
            self._waiting[lease.request.kind] -= 1
            return lease.request, True
        self._requeue(lease.request)
        return lease.request, False

    def adopt(self, request: ExerciseRequest) -> None:
        """Take over a request that was minted elsewhere: its id and its place among its cause's orders are used."""
        self.next_id = max(self.next_id, request.id + 1)
        self.minted[request.kind] += 1
        if request.cause is not None:
            nth = 0
            while (request.cause, nth) in self._ordered:
                nth += 1
            self._ordered[request.cause, nth] = request.id

    def oldest_lease_s(self, now: float) -> float:
        """Age of the oldest lease, seconds; 0 when nothing is out."""
        return max((now - lease.since for lease in self._leased.values()), default=0.0)

    def restore(self, minted: Iterable[ExerciseRequest], settled: Container[int]) -> None:
        """Take up every request that a journal names, in the order minted; what is not settled waits again."""
        for request in minted:
            self.adopt(request)
            if request.id not in settled:
                self._waiting[request.kind] += 1
                (self._normal if request.cause is None else self._urgent).append(request)

    def _reclaim(self, replica: str, incarnation: str, now: float) -> None:
        for lease in list(self._leased.values()):
            dead = lease.replica == replica and lease.incarnation != incarnation
            if dead or now - lease.since > self._timeout_s:
                del self._leased[lease.request.id]
                self._requeue(lease.request)

    def _requeue(self, request: ExerciseRequest) -> None:
        again = replace(request, attempt=request.attempt + 1)
        (self._normal if request.cause is None else self._urgent).appendleft(again)

    def _remove_queued(self, request_id: int) -> ExerciseRequest | None:
        """A late answer to an attempt that was given up: the text counts, the new attempt is not needed."""
        for queue in (self._urgent, self._normal):
            for request in queue:
                if request.id == request_id:
                    queue.remove(request)
                    return request
        return None

    def _seed_of(self, request: ExerciseRequest) -> int:
        text = f"{self._seed}/{request.id}/{request.attempt}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
