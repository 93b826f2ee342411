from dsa_ray.config import Config
from dsa_ray.curriculum.frontier import Change, Frontier
from dsa_ray.records import Edge, ExerciseRequest, Kind, Skill, SkillGraph
from dsa_ray.sections import FrontierConfig
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum.simulation import World, small_config

GRAPH = SkillGraph(
    target="c",
    skills=tuple(Skill(id=name, name=name, level=level) for level, name in enumerate("eabc")),
    edges=tuple(Edge(prerequisite=first, skill=second) for first, second in ("ea", "ab", "bc")),
)


def frontier(**values) -> Frontier:
    made = Frontier(FrontierConfig(**{"gate": 0.5, "window": 3, **values}))
    made.use(GRAPH, {"e"})
    return made


def meet(gate: Frontier, step: int, skill: str, *losses: float, kind: Kind = Kind.EXERCISE, visit: int = 1) -> list:
    requests = [ExerciseRequest(id=100 * step + k, kind=kind, skills=(skill,)) for k in range(len(losses))]
    gate.observe(step, [(request.id, request, visit, loss) for request, loss in zip(requests, losses, strict=True)])
    return gate.close(step)


def test_a_skill_waits_for_its_prerequisites_and_elementary_ones_are_not_waited_for():
    gate = frontier()
    assert gate.admit(1, ("a",))
    assert not gate.admit(2, ("b",))
    assert not gate.admit(3, ("c",))
    assert meet(gate, 1, "a", 0.1, 0.1, 0.1) == [Change("a", "passed")]
    assert gate.release() == [2]
    assert gate.held == 1


def test_one_wrong_answer_does_not_keep_a_gate_shut_and_few_exercises_do_not_open_it():
    assert meet(frontier(), 1, "a", 0.1, 9.0, 0.2) == [Change("a", "passed")]
    assert meet(frontier(), 1, "a", 0.1, 0.1) == []


def test_later_visits_and_composed_exercises_tell_nothing():
    assert meet(frontier(), 1, "a", 0.1, 0.1, 0.1, visit=2) == []
    assert meet(frontier(), 1, "a", 0.1, 0.1, 0.1, kind=Kind.COMPOSED) == []


def test_skills_that_come_together_do_not_wait_for_each_other():
    assert frontier().admit(1, ("a", "b"))
    assert not frontier().admit(1, ("a", "c"))


def test_what_was_mastered_and_gets_worse_has_regressed_until_it_recovers():
    gate = frontier()
    meet(gate, 1, "a", 0.1, 0.1, 0.1)
    assert meet(gate, 2, "a", 0.6, 0.6) == []  # above the gate, not yet half as much again
    assert meet(gate, 3, "a", 0.9, 0.9) == [Change("a", "regressed")]
    assert meet(gate, 4, "a", 0.9) == []
    assert gate.admit(5, ("b",))
    assert meet(gate, 5, "a", 0.2, 0.2) == [Change("a", "recovered")]


def test_the_first_closed_skill_in_learning_order_opens_when_nothing_else_is_left():
    gate = frontier()
    gate.admit(3, ("c",))
    gate.admit(2, ("b",))
    assert gate.open_next() == Change("b", "opened")
    assert gate.release() == [2]
    assert gate.open_next() == Change("c", "opened")
    assert gate.release() == [3]
    assert gate.open_next() is None


def test_without_a_gate_nothing_is_held():
    gate = frontier(gate=None)
    assert gate.admit(3, ("c",))
    assert meet(gate, 1, "a", 0.1, 0.1, 0.1) == []


def test_state_goes_out_and_in():
    gate, other = frontier(), frontier()
    gate.admit(2, ("b",))
    gate.admit(3, ("c",))
    meet(gate, 1, "a", 0.1, 0.1)
    other.load_state_dict(gate.state_dict())
    assert meet(other, 2, "a", 0.1) == [Change("a", "passed")]
    assert other.release() == [2]


def gated(gate: float, **values) -> Config:
    return small_config(frontier={"gate": gate, "window": 4, **values})


def news(world: World) -> list[tuple[str, str]]:
    return [(event["skill"], event["what"]) for event in world.events if event["event"] == "frontier"]


def test_a_run_trains_a_skill_only_after_its_prerequisites_are_passed():
    world = World(gated(1.5))
    world.run()
    assert ("limits", "passed") in news(world)
    passed = {
        event["skill"]: event["step"]
        for event in world.events
        if event["event"] == "frontier" and event["what"] in ("passed", "opened")
    }
    table, first = world.curator.table, {}
    for row in world.rows:
        for item in row.items:
            if row.phase == "exercises" and item.exercise in table and len(table.asked(item.exercise).skills) == 1:
                first.setdefault(table.asked(item.exercise).skills[0], row.step)
    for skill, needed in (("derivatives", "limits"), ("calculus", "derivatives"), ("calculus", "integrals")):
        assert first[skill] > passed[needed]


def test_a_gate_that_nobody_passes_stops_no_run():
    scarce = {"max_exercises": 72, "exercises_per_skill": 12, "slots": 64, "in_flight": 16, "max_question_tokens": 64}
    world = World(
        small_config(frontier={"gate": 0.001}, generate=scarce, dynamics={"variants": 0}, train={"steps": 38})
    )
    world.run()
    assert ("limits", "opened") not in news(world)  # it needs elementary skills only
    assert {what for _, what in news(world)} == {"opened"}
    assert world.curator.status()["step"] == world.curator.status()["steps"]


def test_what_is_held_stays_held_in_a_restored_run():
    world = World(gated(1.5))
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while not world.curator.frontier.held:
        world.write()
        world.train_step(attempt)
    held = world.curator.frontier.held
    state = unpack_state(pack_state(world.curator.training_state()))
    world.curator.restore_training(state)
    assert world.curator.frontier.held == held
    world.curator.restore_training(None)
    assert world.curator.frontier.held >= held


def test_a_forgotten_skill_gets_exercises():
    world = World(gated(1.5, replay=5))
    world.run()
    world.curator.supply.spent = False
    before = len([event for event in world.events if event["event"] == "request"])
    world.curator._tell(Change("limits", "regressed"), 99)
    orders = [event for event in world.events if event["event"] == "request"][before:]
    assert [order["skills"][0] for order in orders] == ["limits"] * 5
    assert world.events[-1]["ordered"] == 5
