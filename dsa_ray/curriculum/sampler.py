"""Which exercise is trained next: stride scheduling with weights, a cap of visits and a gap between visits."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dsa_ray.dynamics.columns import Columns
from dsa_ray.dynamics.index import NOWHERE, DenseIndex

_NEVER = np.iinfo(np.int32).min // 2
_MASK = (1 << 64) - 1
_SIGN = 1 << 63
_HASH_BITS, _SLOT_BITS = 64, 32
_Entry = int
"""Pass, not in front, hash, slot: what the order is by, from the highest bits to the lowest. One integer takes a third
of a tuple's memory."""


class Sampler:
    """Visits exercises in proportion to their weights.

    Every exercise has a virtual `pass`; the lowest comes next, and a visit adds 1/weight to it. A new one starts at the
    lowest pass of all, so it comes next and is then visited as often as the others; with `front` it comes before
    those of equal pass. Ties are broken by a seeded hash of the id, so the order depends on seed, ids and calls alone.

    The order is a heap with lazy deletion: an entry counts only while it carries its exercise's present pass. Entries
    that a `peek` has looked at stay aside, sorted, so that the next one need not take them out of the heap again.

    Args:
        cap: visits after which an exercise is exhausted.
        gap: an exercise taken at step s is not offered before step s + gap; 1 keeps it from coming twice in a step.
        seed: of the hash that breaks ties.
    """

    def __init__(self, cap: int, gap: int = 1, seed: int = 0) -> None:
        self._cap, self._gap, self._seed = cap, gap, seed
        self._reset()

    def _reset(self) -> None:
        self._columns = Columns(id="i4", weight="f8", virtual="f8", visits="i4", last_step="i4", front="?", dropped="?")
        self._index = DenseIndex()
        self._with_visits = [0] * (self._cap + 1)
        self._heap: list[_Entry] = []
        self._ahead: list[_Entry] = []
        self._clock = 0.0
        self._eligible = self._dropped = 0

    def __len__(self) -> int:
        """All exercises ever added."""
        return len(self._columns)

    def __contains__(self, exercise: int) -> bool:
        return exercise in self._index

    @property
    def eligible(self) -> int:
        """Exercises neither dropped nor at their cap; some may be within their gap."""
        return self._eligible

    @property
    def unvisited(self) -> int:
        """Exercises that were never taken and may still be."""
        return self._with_visits[0]

    def visits_due(self, visits: int) -> int:
        """How many visits are missing until everything that may still be taken has had so many."""
        return sum((visits - made) * count for made, count in enumerate(self._with_visits[:visits]))

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def exhausted(self) -> int:
        """Exercises at their cap and not dropped."""
        return len(self) - self._eligible - self._dropped

    def visits(self, exercise: int) -> int:
        """Visits made, those of leases under way included."""
        return int(self._columns["visits"][self._slot(exercise)])

    def weight(self, exercise: int) -> float:
        return float(self._columns["weight"][self._slot(exercise)])

    def add(self, exercise: int, weight: float = 1.0, front: bool = False, floor: float = 0.0) -> None:
        """Take in a new exercise, to come next, with a pass of at least `floor`.

        Raises:
            ValueError: it is in already, or the weight is not above 0.
        """
        _check_weight(exercise, weight)
        if exercise in self._index:
            raise ValueError(f"exercise {exercise} is in the sampler already")
        slot = len(self._columns)
        self._columns.append_one(
            id=exercise,
            weight=weight,
            virtual=max(self._minimum(), floor),
            visits=0,
            last_step=_NEVER,
            front=front,
            dropped=False,
        )
        self._index.put_one(exercise, slot)
        self._eligible += 1
        self._with_visits[0] += 1
        self._push(slot)

    def set_weight(self, exercise: int, weight: float) -> None:
        """Change how often it comes from its next visit on."""
        _check_weight(exercise, weight)
        self._columns["weight"][self._slot(exercise)] = weight

    def peek(self, count: int, step: int, below: float = math.inf) -> np.ndarray:
        """Up to `count` ids (int64) of a pass `below` this that may be trained at `step`, the next first.

        Changes nothing.
        """
        last_step, virtual = self._columns["last_step"], self._columns["virtual"]
        found: list[int] = []
        seen: list[_Entry] = []
        ahead = 0
        while len(found) < count and (ahead < len(self._ahead) or self._heap):
            if ahead < len(self._ahead) and not (self._heap and self._heap[0] < self._ahead[ahead]):
                entry = self._ahead[ahead]
                ahead += 1
            else:
                entry = heapq.heappop(self._heap)
            if not self._is_current(entry) or (seen and seen[-1] == entry):
                continue
            seen.append(entry)
            slot = _slot_of(entry)
            if virtual.item(slot) >= below:
                break
            if step - last_step.item(slot) >= self._gap:
                found.append(slot)
        self._ahead[:ahead] = seen
        return self._columns["id"][found].astype(np.int64)

    def take(self, exercises: Sequence[int], step: int) -> list[int]:
        """Count a visit of each at `step`; returns the 1-based numbers of these visits.

        Raises:
            ValueError: one is unknown, dropped, at its cap or named twice. Then no visit is counted.
        """
        slots = [self._slot(exercise) for exercise in exercises]
        if len(set(slots)) < len(slots):
            raise ValueError(f"an exercise is taken twice at step {step}: {sorted(exercises)}")
        for exercise, slot in zip(exercises, slots, strict=True):
            if not self._is_eligible(slot):
                raise ValueError(f"exercise {exercise} cannot be taken: it is dropped or at its cap of {self._cap}")
        return [self._visit(slot, step) for slot in slots]

    def untake(self, exercises: Iterable[int]) -> None:
        """Undo the newest visit of each, as often as it is named: the lease came to nothing. It may come again at once.

        Raises:
            ValueError: one is unknown or has no visit to undo.
        """
        for exercise in exercises:
            slot = self._slot(exercise)
            if not self._columns["visits"][slot]:
                raise ValueError(f"exercise {exercise} has no visit to undo")
            was_eligible = self._is_eligible(slot)
            self._count_visit(slot, -1)
            self._columns["virtual"][slot] -= 1.0 / self._columns["weight"][slot]
            self._columns["last_step"][slot] = _NEVER
            if self._is_eligible(slot):
                self._eligible += not was_eligible
                self._push(slot)

    def drop(self, exercise: int) -> None:
        """Never offer it again. Idempotent."""
        slot = self._slot(exercise)
        if not self._columns["dropped"][slot]:
            self._eligible -= self._is_eligible(slot)
            self._dropped += 1
            self._with_visits[self._columns["visits"].item(slot)] -= 1
            self._columns["dropped"][slot] = True

    def restore(self, exercise: int) -> None:
        """Undo `drop`, where the verdict behind it is void. Idempotent; it does not catch up on what it missed."""
        slot = self._slot(exercise)
        if not self._columns["dropped"][slot]:
            return
        self._columns["virtual"][slot] = max(self._columns["virtual"][slot], self._minimum())
        self._columns["dropped"][slot] = False
        self._dropped -= 1
        self._with_visits[self._columns["visits"].item(slot)] += 1
        if self._is_eligible(slot):
            self._eligible += 1
            self._push(slot)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything but cap, gap and seed, as numpy arrays."""
        return {"clock": np.array(self._clock), **self._columns.state_dict("sampler")}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything by what `state_dict` gave."""
        self._reset()
        self._clock = float(state["clock"])
        self._columns.load_state_dict(state, "sampler")
        columns = self._columns
        self._index.put(columns["id"], np.arange(len(columns)))
        visited = np.bincount(columns["visits"][~columns["dropped"]], minlength=self._cap + 1)
        self._with_visits = visited.tolist()
        slots = np.flatnonzero(~columns["dropped"] & (columns["visits"] < self._cap))
        self._dropped, self._eligible = int(columns["dropped"].sum()), len(slots)
        self._heap = [self._entry(slot) for slot in slots.tolist()]
        heapq.heapify(self._heap)

    def _visit(self, slot: int, step: int) -> int:
        columns = self._columns
        self._clock = float(columns["virtual"][slot])
        columns["virtual"][slot] += 1.0 / columns["weight"][slot]
        self._count_visit(slot, 1)
        columns["last_step"][slot] = step
        columns["front"][slot] = False
        if self._is_eligible(slot):
            self._push(slot)
        else:
            self._eligible -= 1
        return int(columns["visits"][slot])

    def _count_visit(self, slot: int, change: int) -> None:
        visits = self._columns["visits"]
        if not self._columns["dropped"].item(slot):
            self._with_visits[visits.item(slot)] -= 1
            self._with_visits[visits.item(slot) + change] += 1
        visits[slot] += change

    def _minimum(self) -> float:
        """The lowest pass of all eligible; with none, that of the last one taken."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        stale = next((k for k, entry in enumerate(self._ahead) if self._is_current(entry)), len(self._ahead))
        del self._ahead[:stale]
        firsts = [_slot_of(entry) for entry in (*self._heap[:1], *self._ahead[:1])]
        return min((self._columns["virtual"].item(slot) for slot in firsts), default=self._clock)

    def _slot(self, exercise: int) -> int:
        slot = self._index.get(exercise)
        if slot == NOWHERE:
            raise ValueError(f"exercise {exercise} is not in the sampler")
        return slot

    def _is_eligible(self, slot: int) -> bool:
        return not self._columns["dropped"].item(slot) and self._columns["visits"].item(slot) < self._cap

    def _is_current(self, entry: _Entry) -> bool:
        slot = _slot_of(entry)
        return self._is_eligible(slot) and entry >> (_HASH_BITS + _SLOT_BITS) == self._place(slot)

    def _entry(self, slot: int) -> _Entry:
        tie = tie_break(self._columns["id"].item(slot), self._seed)
        return (self._place(slot) << _HASH_BITS | tie) << _SLOT_BITS | slot

    def _place(self, slot: int) -> int:
        """Pass and not in front, as an integer that orders as they do."""
        bits = self._columns["virtual"].view(np.int64).item(slot)
        # Of floats the bits of positive ones rise with them, those of negative ones fall.
        rising = ~bits & (2 * _SIGN - 1) if bits < 0 else bits | _SIGN
        return rising << 1 | (not self._columns["front"].item(slot))

    def _push(self, slot: int) -> None:
        heapq.heappush(self._heap, self._entry(slot))


def _slot_of(entry: _Entry) -> int:
    return entry & ((1 << _SLOT_BITS) - 1)


def _check_weight(exercise: int, weight: float) -> None:
    if not weight > 0:
        raise ValueError(f"exercise {exercise}: weight {weight} is not above 0; drop it instead")


def tie_break(exercise: int, seed: int) -> int:
    """64-bit mix (splitmix64): ids in a row come out in no visible order. One-to-one, so no two ids tie."""
    value = ((exercise ^ seed) + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
