"""One plan that gives every process of a run its share of CPUs and GPUs, checked before anything starts.

CPUs in Ray are bookkeeping, not isolation: a share only has to add up. On a small machine all shares shrink in
proportion, so that training ranks, replicas and the tasks of both streams always fit together in the real CPUs (a
stream whose source cannot be placed waits for ever); on a large one each gets what it can use. GPUs are never
stretched: they are laid out card by card, node by node, and what does not fit is an error.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dsa_ray.config import Config, ConfigError
from dsa_ray.machine import ClusterShape
from dsa_ray.memory import MemoryRow, teacher_share
from dsa_ray.records import Scope
from dsa_ray.sections import Group, PoolTeacher

Clock = Callable[[], float]
CPU_ROW_TOKENS = 512
"""Longest packed row that pays on CPU (at 4,096 a third of the speed is left)."""


class PlacementError(ConfigError):
    """The run does not fit the cluster: one line that names what is missing and the key to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What each of `count` equal processes gets."""

    name: str
    count: int
    cpus: float
    """Each; what to give Ray as `num_cpus`."""
    gpus: float
    """Each; what to give Ray as `num_gpus`."""
    threads: int
    """Each; how many threads it should compute with."""
    key: str
    """The configuration key that changes the count or the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Shares by name: curator, recorder, teacher, student, rank, training_source, generation_source, examiner, spare.

    `spare` is no process: CPUs that stay free for what Ray Data and Ray Train start on their own.
    """

    cluster: ClusterShape
    shares: tuple[Share, ...]

    def __getitem__(self, name: str) -> Share:
        for share in self.shares:
            if share.name == name:
                return share
        raise KeyError(name)

    @property
    def cpus(self) -> float:
        return sum(share.count * share.cpus for share in self.shares)

    @property
    def gpus(self) -> float:
        return sum(share.count * share.gpus for share in self.shares)


@dataclass(frozen=True, slots=True)
class _Wish:
    name: str
    count: int
    cpus: float
    """What one can use."""
    least: float
    """Below this it would not get on."""
    gpus: float
    key: str
    computes: bool = False
    """Whether it keeps CPUs busy, and so gets threads."""


def plan(config: Config, cluster: ClusterShape, scope: Scope = Scope.TRAINING, elastic: bool = False) -> Placement:
    """Lay the run out on the cluster.

    `cluster.cpus` of the configuration limits the CPUs; on a cluster that is joined (`cluster.address`) it may also be
    more than is there now, for an autoscaler to bring.

    Short of training there are neither ranks nor a student. An `elastic` cluster has to have cards for the least number
    of replicas and ranks only (`generate.min_replicas`, `train.min_ranks`): its autoscaler brings those for more.

    Raises:
        PlacementError: with what is missing and the key to change.
    """
    wishes = [wish for wish in _wishes(config) if scope is Scope.TRAINING or wish.name not in _TRAINING]
    available = _available_cpus(config, cluster)
    _check_gpu_keys(config)
    needed = [_at_least(config, wish) for wish in wishes] if elastic else wishes
    _check_groups(config, needed, cluster)
    _place_cards(needed, cluster)
    factor = _shrink(wishes, available)
    shares = tuple(_share(wish, factor, available, wishes) for wish in wishes)
    return Placement(cluster=cluster, shares=shares)


def bundles(config: Config, scope: Scope = Scope.TRAINING) -> list[dict[str, float]]:
    """What each process asks of a node for the run to begin, for an autoscaler: CPU, GPU, the resource of its group."""
    wishes = [
        _at_least(config, wish) for wish in _wishes(config) if scope is Scope.TRAINING or wish.name not in _TRAINING
    ]
    return [
        {"CPU": wish.cpus, **({"GPU": wish.gpus} if wish.gpus else {}), **node_of(config, wish.name)}
        for wish in wishes
        for _ in range(wish.count)
    ]


def node_of(config: Config, process: str) -> dict[str, float]:
    """Ray resources that bring a process to the nodes of its group (`cluster.groups`); none where it has no group.

    Args:
        process: the name of a share, or `core`.
    """
    kind = _GROUPS.get(process) or process.partition("-")[0]
    group = config.cluster.groups.get(kind)
    return {group: GROUP_SHARE} if group else {}


_GROUPS: dict[str, Group] = {
    **dict.fromkeys(("curator", "recorder", "ladders", "generation_source", "examiner"), "core"),
    "training_source": "rank",
}
"""Of what is not its own group. A node that comes and goes with a replica holds nothing else, or it would never go."""
GROUP_SHARE = 0.001
"""Of a node's one unit of its group's resource: the group says where, and never how many."""


def settle(
    find: Callable[[], Placement], ask: Callable[[], None], timeout_s: float, clock: Clock = time.monotonic
) -> Placement:
    """The first placement that can be met, in a cluster that grows when it is asked to.

    Args:
        find: plans on the cluster as it is now.
        ask: tells the autoscaler what is needed; called once, when something is missing.

    Raises:
        PlacementError: what is still missing after `timeout_s`.
    """
    began, asked = clock(), False
    while True:
        try:
            return find()
        except PlacementError as error:
            if clock() - began >= timeout_s:
                raise PlacementError(f"{error} (waited {timeout_s:g} s, cluster.placement_timeout_s)") from None
        if not asked:
            ask()
            asked = True
        time.sleep(min(1.0, timeout_s / 10))


def demand(config: Config) -> ClusterShape:
    """The cluster on which nothing would have to shrink: what to rent, when the real one is not known yet."""
    _check_gpu_keys(config)
    wishes = _wishes(config)
    whole = max(1, math.ceil(max(wish.gpus for wish in wishes)))
    cards = math.ceil(sum(wish.count * (wish.gpus if wish.gpus < 1 else math.ceil(wish.gpus)) for wish in wishes))
    while cards and not _fits(wishes, [cards]):
        cards += 1
    nodes = max(1, math.ceil(cards / max(8, whole)))
    cpus = math.ceil(sum(wish.count * wish.cpus for wish in wishes))
    return ClusterShape(cpus=max(cpus, config.cluster.cpus or 0), gpus=cards, nodes=nodes, node_gpus=(cards,))


_TRAINING = frozenset({"student", "rank", "training_source", "ladders"})


def _teacher_wish(config: Config, number: int) -> _Wish:
    teacher, gpus = config.pool[number], config.cluster.replica_gpus
    served_here = teacher.kind != "openai"
    cpus = (1.0 + teacher.tensor_parallel) if gpus else 4.0
    return _Wish(
        teacher_share(number),
        teacher.replicas,
        cpus if served_here else 0.5,
        0.1 if served_here else 0.02,
        gpus if served_here else 0,
        f"teachers.{number}.replicas" if config.teachers else "generate.replicas",
        served_here,
    )


def _wishes(config: Config) -> list[_Wish]:
    """What each process could use. A process on a GPU needs CPUs only to feed it."""
    places, ranks = config.cluster, config.train.ranks
    replicas = sum(teacher.replicas for teacher in config.pool)
    return [
        _Wish("curator", 1, 1.0, 0.02, 0, "cluster.cpus"),
        _Wish("recorder", 1, 0.5, 0.02, 0, "cluster.cpus"),
        *(_teacher_wish(config, number) for number in range(len(config.pool))),
        _Wish(
            "student", 1, 2.0 if places.student_gpus else 4.0, 0.05, places.student_gpus, "cluster.student_gpus", True
        ),
        _Wish("rank", ranks, 2.0 if places.rank_gpus else 4.0, 0.1, places.rank_gpus, "train.ranks", True),
        _Wish("training_source", ranks, 0.5, 0.02, 0, "train.ranks"),
        _Wish("generation_source", replicas, 0.25, 0.02, 0, "generate.replicas"),
        _Wish("examiner", 1, 1.0, 0.02, 0, "cluster.cpus"),
        *([_Wish("ladders", 1, 0.5, 0.02, 0, "yoda.live")] if config.yoda.live else []),
        _Wish("spare", 1, 1.0, 0.05, 0, "cluster.cpus"),
    ]


def _at_least(config: Config, wish: _Wish) -> _Wish:
    """Of elastic replicas and ranks, what has to be there at the start."""
    if wish.name.startswith("teacher"):
        least = config.generate.min_replicas
    else:
        least = config.train.min_ranks if wish.name in ("rank", "training_source") else None
    if least is None:
        return wish
    return dataclasses.replace(wish, count=min(wish.count, least))


def _available_cpus(config: Config, cluster: ClusterShape) -> float:
    asked = config.cluster.cpus
    if asked is None or asked <= cluster.cpus:
        return asked or cluster.cpus
    if config.cluster.address is None:
        raise PlacementError(
            f"cluster.cpus: {asked:g} CPUs asked, this machine has {cluster.cpus:g}; lower it or leave it out"
        )
    return asked


def _shrink(wishes: Sequence[_Wish], available: float) -> float:
    """The factor, at most 1, by which wishes shrink so that they add up to what is there."""
    least = sum(wish.count * wish.least for wish in wishes)
    if least > available:
        largest = max(wishes, key=lambda wish: wish.count * wish.least)
        raise PlacementError(
            f"{largest.key}: {largest.count} of {largest.name} and the other processes need at least {least:.1f} CPUs, "
            f"the cluster has {available:g}; lower {largest.key} or use a larger cluster"
        )
    low, high = 0.0, 1.0
    if _total(wishes, 1.0) <= available:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _total(wishes, middle) <= available else (low, middle)
    return low


def _total(wishes: Iterable[_Wish], factor: float) -> float:
    return sum(wish.count * _cpus(wish, factor) for wish in wishes)


def _cpus(wish: _Wish, factor: float) -> float:
    """One process's CPUs, rounded down to hundredths: Ray counts in ten-thousandths, and the sum must not exceed."""
    return math.floor(max(wish.least, wish.cpus * factor) * 100 + 1e-6) / 100


def _share(wish: _Wish, factor: float, available: float, wishes: Sequence[_Wish]) -> Share:
    """Threads are counted apart from shares: busy processes divide the real CPUs, light ones compute with one."""
    threads = 1
    if wish.computes and not wish.gpus:
        busy = sum(other.count for other in wishes if other.computes and not other.gpus and other.name != "student")
        threads = max(1, int(available // (1 if wish.name == "student" else max(1, busy))))
    return Share(
        name=wish.name,
        count=wish.count,
        cpus=_cpus(wish, factor),
        gpus=wish.gpus,
        threads=threads,
        key=wish.key,
    )


def _check_groups(config: Config, wishes: Sequence[_Wish], cluster: ClusterShape) -> None:
    """Raise when no node belongs to the group of a process: its actor would wait for one for ever."""
    for wish in wishes if cluster.resources is not None else ():
        for name in node_of(config, wish.name).keys() - cluster.resources if wish.count else ():
            raise PlacementError(
                f"cluster.groups: {wish.count} of {wish.name} need a node that offers the resource {name!r}, and none "
                "does; start such nodes, or correct the name"
            )


def _check_gpu_keys(config: Config) -> None:
    places = config.cluster
    for key in ("replica_gpus", "rank_gpus", "student_gpus"):
        value = getattr(places, key)
        if value > 1 and value != int(value):
            raise PlacementError(f"cluster.{key}: {value:g} GPUs; above one only whole GPUs can be given")
    if places.rank_gpus > 1:
        raise PlacementError(f"cluster.rank_gpus: {places.rank_gpus:g}; a rank uses one GPU: raise train.ranks instead")
    for number, teacher in enumerate(config.pool):
        if teacher.kind == "vllm":
            _check_teacher_gpus(f"teachers.{number}" if config.teachers else "teacher", teacher, places.replica_gpus)


def _check_teacher_gpus(name: str, teacher: PoolTeacher, gpus: float) -> None:
    """A served model keeps to its part of a card, and has as many cards as it is split over."""
    fraction, split = teacher.memory_fraction, teacher.tensor_parallel
    if 0 < gpus < 1 and fraction > gpus:
        raise PlacementError(
            f"{name}.memory_fraction: a replica would take {fraction:g} of a card's memory, and has "
            f"cluster.replica_gpus={gpus:g} of it; set {name}.memory_fraction to that or less"
        )
    if split > 1 and gpus != split:
        raise PlacementError(
            f"cluster.replica_gpus: {gpus:g}, but {name}.tensor_parallel={split} uses that "
            f"many GPUs per replica; set cluster.replica_gpus={split}"
        )


def _place_cards(wishes: Sequence[_Wish], cluster: ClusterShape) -> None:
    """Raise unless every process finds its card, or its cards on one node."""
    needed = sum(wish.count * wish.gpus for wish in wishes)
    if needed == 0 or _fits(wishes, cluster.cards()):
        return
    asking = ", ".join(f"{wish.count} x {wish.gpus:g} ({wish.name})" for wish in wishes if wish.gpus)
    largest = max(wishes, key=lambda wish: wish.count * wish.gpus)
    key = {"teacher": "cluster.replica_gpus", "rank": "cluster.rank_gpus"}.get(largest.name, "cluster.student_gpus")
    have = (
        f"{cluster.gpus} GPUs on {cluster.nodes} node{'s' if cluster.nodes > 1 else ''}" if cluster.gpus else "no GPU"
    )
    raise PlacementError(
        f"{key}: {needed:g} GPUs asked ({asking}), the cluster has {have}; "
        f"lower cluster.replica_gpus, cluster.rank_gpus, generate.replicas or train.ranks, or use a larger cluster"
    )


def _fits(wishes: Iterable[_Wish], cards: Sequence[int]) -> bool:
    """First fit, largest first: whole cards from one node, then fractions of a card."""
    nodes = [[1.0] * count for count in cards]
    sizes = sorted((wish.gpus for wish in wishes for _ in range(wish.count) if wish.gpus), reverse=True)
    for size in sizes:
        spot = _whole_cards(nodes, int(size)) if size >= 1 else _part_of_card(nodes, size)
        if not spot:
            return False
        for node, card in spot:
            nodes[node][card] -= min(size, 1.0)
    return True


def _whole_cards(nodes: list[list[float]], count: int) -> list[tuple[int, int]]:
    for number, node in enumerate(nodes):
        free = [card for card, left in enumerate(node) if left > 1 - 1e-9]
        if len(free) >= count:
            return [(number, card) for card in free[:count]]
    return []


def _part_of_card(nodes: list[list[float]], size: float) -> list[tuple[int, int]]:
    room = [(left, n, c) for n, node in enumerate(nodes) for c, left in enumerate(node) if left >= size - 1e-9]
    return [min(room)[1:]] if room else []


def render(placement: Placement, memory: Sequence[MemoryRow]) -> str:
    """Two tables for people: who gets which CPUs and GPUs, and about how much memory that takes."""
    cluster = placement.cluster
    nodes = f", {cluster.nodes} nodes" if cluster.nodes > 1 else ""
    lines = [
        f"Placement on {cluster.cpus:g} CPUs and {cluster.gpus} GPUs{nodes}",
        f"  {'process':<20}{'count':>6}{'CPUs each':>11}{'GPUs each':>11}{'threads':>9}",
    ]
    for share in placement.shares:
        lines.append(f"  {share.name:<20}{share.count:>6}{share.cpus:>11.2f}{share.gpus:>11.2f}{share.threads:>9}")
    lines.append(f"  {'together':<20}{'':>6}{placement.cpus:>11.2f}{placement.gpus:>11.2f}")
    lines += [
        "",
        "Memory, estimated (GiB)",
        f"  {'process':<20}{'where':<6}{'count':>6}{'each':>9}{'all':>9}  of which",
    ]
    for row in memory:
        lines.append(
            f"  {row.name:<20}{row.where:<6}{row.count:>6}{row.gib:>9.2f}{row.gib * row.count:>9.2f}  {row.parts}"
        )
    for where, have in (("CPU", cluster.memory_gib), ("GPU", 0.0)):
        total = sum(row.gib * row.count for row in memory if row.where == where)
        if total:
            lines.append(
                f"  {'together':<20}{where:<6}{'':>6}{'':>9}{total:>9.2f}" + (f"  of {have:.1f}" if have else "")
            )
        if have and total > have:
            lines.append(
                f"  warning: more than the {have:.1f} GiB that are there; use smaller models or fewer processes"
            )
    lines += [f"  warning: {fault}" for fault in crowded_cards(placement, memory)]
    return "\n".join(lines)


def slow_rows(config: Config) -> list[str]:
    """A line where rows are longer than pays: on CPU, attention of a packed row costs its length squared."""
    rows = config.train.row_tokens
    if config.cluster.rank_gpus or rows <= CPU_ROW_TOKENS:
        return []
    return [
        f"train.row_tokens: rows of {rows} train slower on CPU than rows of {CPU_ROW_TOKENS}; "
        "lower it unless texts need it"
    ]


def crowded_cards(placement: Placement, memory: Sequence[MemoryRow]) -> list[str]:
    """One line per kind of process that needs more of its cards' memory than it is given; none where that is unknown.

    Cards of which less than a whole is given are divided like the share: 0.4 of a card has 0.4 of its memory.
    """
    card = placement.cluster.gpu_gib
    faults = []
    for row in memory if card else ():
        if row.where != "GPU":
            continue
        share = placement[row.name]
        have = share.gpus * card
        if row.gib > have:
            faults.append(
                f"a {row.name} needs about {row.gib:.0f} GiB and has {have:.0f} ({share.gpus:g} x {card:g}); use a "
                f"smaller model, or raise its share"
            )
    return faults
