from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.places import Places
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.records import ExerciseRequest, Kind, PackedItem, TextRef

IDS = st.integers(1, 5000)


def add(
    table: ExerciseTable, id: int, parents: tuple[int, ...] = (), prompt_tokens: int = 10, tokens: int = 25
) -> None:
    request = ExerciseRequest(id=id, kind=Kind.VARIANT, skills=("a", f"b{id % 3}"), difficulty=2, parents=parents)
    table.add(request, TextRef(segment=id // 7, row=id % 7), prompt_tokens, tokens, answer_hash=id)


@given(st.dictionaries(IDS, st.lists(IDS, max_size=3), max_size=30))
def test_what_was_asked_for_comes_back_whatever_the_order(parents: dict[int, list[int]]):
    table = ExerciseTable()
    for id, those in parents.items():
        add(table, id, tuple(those))
    for id, those in parents.items():
        asked = table.asked(id)
        assert (asked.kind, asked.difficulty, asked.parents) == (Kind.VARIANT, 2, tuple(those))
        assert asked.skills == ("a", f"b{id % 3}")
    assert list(table.ids()) == list(parents)


def test_a_planted_one_has_the_question_of_one_and_the_answer_of_another():
    places = Places()
    table = ExerciseTable(places=places)
    add(table, 1, prompt_tokens=10, tokens=25)
    add(table, 2, prompt_tokens=4, tokens=9)
    table.plant(3, question=1, answer=2)
    planted = PackedItem(exercise=3, prompt=places[1], answer=places[2], tokens=15, loss_tokens=5, visit=1, weight=0.5)
    assert table.item(3, visit=1, weight=0.5) == planted
    assert table.item(1, visit=2, weight=1.0).loss_tokens == 15
    assert len(table) == 2


def test_an_exercise_that_a_review_has_written_anew_is_trained_on_so_and_stays_where_it_is_for_others():
    places = Places()
    places[5], places[6] = TextRef(segment=0, row=3), TextRef(segment=0, row=4)
    table = ExerciseTable(places=places)
    add(table, 5)
    add(table, 6)
    written_anew = TextRef(segment=0, row=6)
    assert table.item(6, visit=1, weight=1.0).prompt == written_anew
    assert table.item(5, visit=1, weight=1.0).answer == TextRef(segment=0, row=5)
    assert places[6] == TextRef(segment=0, row=4)  # where its children's prompts read it


def test_an_exercise_without_a_prompt_has_no_loss_on_its_first_token():
    table = ExerciseTable()
    add(table, 1, prompt_tokens=0, tokens=9)
    assert table.item(1, visit=1, weight=1.0).loss_tokens == 8
