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
