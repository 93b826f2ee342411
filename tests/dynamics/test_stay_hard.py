from dsa_ray.dynamics.stay_hard import HardRuns, Judged, stay_hard
from dsa_ray.records import Verdict, VerdictClass
from dsa_ray.storage.state import pack_state, unpack_state

HARD, EASY, AMBIGUOUS = VerdictClass.HARD, VerdictClass.EASY, VerdictClass.AMBIGUOUS


def judged(exercise: int, verdict: VerdictClass, skill: str = "limits", mean_loss: float = 1.0) -> Judged:
    fell = Verdict(
        exercise=exercise, cycle=0, step=exercise, verdict=verdict, mean_loss=mean_loss, loss_spread=0.1, reason=""
    )
    return Judged(verdict=fell, skills=(skill,))


def test_a_skill_stays_hard_after_so_many_hard_verdicts_in_a_row() -> None:
    falls = [judged(1, EASY), judged(2, HARD), judged(3, HARD, mean_loss=2.0), judged(4, HARD)]
    assert stay_hard(falls, 3) == {("limits",): [3, 2, 4]}
    assert stay_hard(falls, 4) == {}


def test_one_verdict_of_another_kind_and_the_skill_is_no_longer_among_them() -> None:
    for other in (EASY, AMBIGUOUS, VerdictClass.ERRONEOUS):
        assert stay_hard([judged(1, HARD), judged(2, HARD), judged(3, other)], 2) == {}
        assert stay_hard([judged(1, HARD), judged(2, other), judged(3, HARD), judged(4, HARD)], 2)


def test_skills_count_apart_and_an_exercise_that_became_easy_is_no_start() -> None:
    falls = [
        judged(1, HARD),
        judged(2, HARD, "chain"),
        judged(2, EASY, "chain"),
        judged(1, HARD),
        judged(5, HARD, "sum"),
    ]
    assert stay_hard(falls, 2) == {("limits",): [1]}
    assert stay_hard(falls, 1) == {("limits",): [1], ("sum",): [5]}


def test_a_run_of_hard_verdicts_counts_up_ends_with_another_and_goes_with_the_state() -> None:
    runs = HardRuns()
    assert [runs.take(("a",), verdict) for verdict in (HARD, HARD, EASY, HARD)] == [1, 2, 0, 1]
    assert runs.take(("a", "b"), HARD) == 1
    again = HardRuns()
    again.load_state_dict(unpack_state(pack_state(runs.state_dict())))
    assert again.take(("a",), HARD) == 2
    assert again.take(("a", "b"), HARD) == 2
