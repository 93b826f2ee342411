from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.review import Ballot, Finding, Reviews
from dsa_ray.records import Kind, TextRef


def ballot(number: int, answer: int) -> Ballot:
    ref = TextRef(segment=0, row=number)
    return Ballot(id=number, answer_hash=answer, ref=ref, tokens=20, prompt_tokens=10)


def voted(own: int, answers: list[int], agreement: float = 0.5, missing: int = 0) -> Finding:
    reviews = Reviews(len(answers) + missing, agreement, judge=0)
    reviews.begin(ballot(1, own))
    findings = [reviews.no_vote(1) for _ in range(missing)]
    findings += [reviews.vote(1, ballot(10 + place, answer)) for place, answer in enumerate(answers)]
    assert all(finding is None for finding in findings[:-1])
    assert findings[-1] is not None
    assert len(reviews) == 0
    return findings[-1]


def test_the_answer_that_most_give_is_kept() -> None:
    finding = voted(own=7, answers=[5, 7, 7, 7])
    assert (finding.kept, finding.winner.id, finding.agreed, finding.votes) == (True, 1, 3, 4)


def test_a_majority_against_the_questions_own_answer_replaces_it() -> None:
    finding = voted(own=4, answers=[5, 7, 5, 5])
    assert (finding.kept, finding.winner.id, finding.winner.answer_hash) == (True, 10, 5)


def test_too_little_agreement_drops_the_exercise() -> None:
    finding = voted(own=4, answers=[5, 6, 7, 5, 9], agreement=0.5)
    assert (finding.kept, finding.reason) == (False, "disagreement")
    assert voted(own=4, answers=[5, 6, 7, 5, 9], agreement=0.4).kept


def test_answers_that_were_given_up_do_not_vote_and_none_at_all_is_no_agreement() -> None:
    assert voted(own=4, answers=[5, 5], missing=2).kept
    reviews = Reviews(1, 0.0, judge=0)
    reviews.begin(ballot(1, 4))
    finding = reviews.no_vote(1)
    assert finding is not None
    assert finding.reason == "disagreement"


def test_a_judge_needs_its_score_and_a_judge_that_failed_keeps_nothing() -> None:
    for score, kept in ((5, True), (4, True), (3, False), (None, False)):
        reviews = Reviews(0, 0.5, judge=4)
        reviews.begin(ballot(1, 4))
        finding = reviews.judged(1, score)
        assert finding is not None
        assert (finding.kept, finding.score) == (kept, score)


def test_what_is_lacking_is_what_was_not_ordered() -> None:
    reviews = Reviews(3, 0.5, judge=4)
    reviews.begin(ballot(1, 4))
    assert Counter(reviews.lacking(Counter())) == {(1, Kind.ANSWER): 3, (1, Kind.CRITIQUE): 1}
    assert list(reviews.lacking(Counter({(1, Kind.ANSWER): 2, (1, Kind.CRITIQUE): 1}))) == [(1, Kind.ANSWER)]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=7), st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_order_in_which_votes_come_does_not_matter(answers: list[int], own: int, rng) -> None:
    ballots = [ballot(10 + place, answer) for place, answer in enumerate(answers)]
    findings = []
    for _ in range(3):
        rng.shuffle(ballots)
        reviews = Reviews(len(ballots), 0.5, judge=0)
        reviews.begin(ballot(1, own))
        told = [finding for one in ballots for _ in range(2) if (finding := reviews.vote(1, one))]
        findings += told
        assert len(told) == 1
    assert len(set(findings)) == 1
