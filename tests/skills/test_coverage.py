from dsa_ray.records import ExerciseRequest, Kind, Session, Skill
from dsa_ray.skills.coverage import Coverage
from dsa_ray.skills.graph import build

GRAPH = build(
    "algebra",
    [Skill(id="algebra", name="A", sessions=(Session(name="x", concepts=("p", "q")), Session(name="y")))],
    [],
)


def request(id: int, *concepts: tuple[int, int]) -> ExerciseRequest:
    return ExerciseRequest(id=id, kind=Kind.EXERCISE, skills=("algebra",), concepts=concepts)


def test_each_concept_counts_what_was_ordered_and_what_was_written_once() -> None:
    ledger = Coverage()
    for made in (request(1, (0, 0), (0, 1)), request(2, (0, 1)), request(3)):
        ledger.order(made)
    for _ in range(2):
        ledger.write(request(2, (0, 1)))
    ledger.write(request(3))
    rows = [(row["session"], row["concept"], row["ordered"], row["written"]) for row in ledger.rows(GRAPH)]
    assert rows == [("x", "p", 1, 0), ("x", "q", 2, 1)]
    assert ledger.totals(GRAPH) == {"concepts": 2, "covered": 1}


def test_an_exercise_on_two_concepts_of_a_session_counts_once_for_the_session_and_its_subject() -> None:
    ledger = Coverage()
    for id, places in ((1, [(0, 0), (0, 1)]), (2, [(0, 1)])):
        ledger.write(request(id, *places))
    assert [ledger.written(*place) for place in (("algebra",), ("algebra", 0), ("algebra", 0, 1), ("algebra", 1))] == [
        2, 2, 2, 0,
    ]  # fmt: skip
    assert ledger.lines(GRAPH) == [
        "2 of 2 key concepts have an exercise; exercises written on each subject, session, key concept:",
        "      2  A",
        "      2    x",
        "      1      p",
        "      2      q",
        "      0    y",
    ]


def test_of_a_large_graph_the_subjects_with_the_fewest_exercises_are_told() -> None:
    skills = [Skill(id=f"s{n}", name=f"S{n}", sessions=(Session(name="x", concepts=("p",)),)) for n in range(5)]
    graph = build("s0", skills, [])
    ledger = Coverage()
    for n in (0, 2, 3, 4):
        ledger.write(ExerciseRequest(id=n, kind=Kind.EXERCISE, skills=(f"s{n}",), concepts=((0, 0),)))
    assert ledger.lines(graph, most=2) == [
        "4 of 5 key concepts have an exercise; exercises written on each subject, the fewest first:",
        "      0  S1",
        "      1  S0",
        "         and 3 subjects more",
    ]
    assert ledger.lines(build("a", [Skill(id="a", name="A")], [])) == []
