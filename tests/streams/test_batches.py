from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.records import Completion, ExerciseRequest, Kind, Rejection
from dsa_ray.streams.batches import completion_from_json, completion_json, rejection_row

names = st.text(max_size=8)
requests = st.builds(
    ExerciseRequest,
    id=st.integers(0, 2**62),
    kind=st.sampled_from(list(Kind)),
    skills=st.lists(names, max_size=3).map(tuple),
    difficulty=st.integers(1, 5),
    parents=st.lists(st.integers(), max_size=2).map(tuple),
    cause=st.none() | st.tuples(st.integers(), st.integers()),
    attempt=st.integers(0, 5),
    seed=st.integers(0, 2**63 - 1),
)
completions = st.builds(
    Completion,
    request=requests,
    text=st.text(),
    finish_reason=names,
    generator=names,
    generator_version=names,
    prompt_version=names,
    output_tokens=st.integers(0, 10**6),
    seconds=st.floats(0, 1e6),
)


@given(completions)
def test_a_completion_survives_its_journey_as_json(completion: Completion):
    assert completion_from_json(completion_json(completion)) == completion


def test_a_rejection_is_told_with_a_bounded_detail():
    request = ExerciseRequest(id=4, kind=Kind.EXERCISE, skills=("a",), attempt=2)
    version = "0/teacher-1.3"
    row = rejection_row(Rejection(request=request, reason="schema", detail="x" * 1000, generator_version=version))
    told = {"output_tokens": 0, "input_tokens": 0, "seconds": 0.0, "generator_version": version}
    assert row == {"id": 4, "attempt": 2, "reason": "schema", "detail": "x" * 200, **told}
