from dsa_ray.curriculum.planner import StepPlanner, reading_order
from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.records import ExerciseRequest, Kind, TextRef
from dsa_ray.sections import TrainConfig

TRAIN = TrainConfig(ranks=2, rows_per_step=1, slots=4, row_tokens=100, steps=10, textbook_passes=1)


def planner(exercises: int = 0, train: TrainConfig = TRAIN, cap: int = 6) -> StepPlanner:
    table, sampler = ExerciseTable(), Sampler(cap=cap)
    for number in range(exercises):
        request = ExerciseRequest(id=100 + number, kind=Kind.EXERCISE, skills=("a",))
        table.add(request, TextRef(segment=1, row=number), prompt_tokens=10, tokens=25, answer_hash=number)
        sampler.add(request.id)
    return StepPlanner(train, table, sampler)


def books(*tokens: int) -> list[tuple[int, TextRef, int]]:
    return [(number, TextRef(segment=0, row=number), count) for number, count in enumerate(tokens, start=1)]


def steps_of(plan: StepPlanner, patient: bool = False) -> list[list]:
    steps = []
    while (rows := plan.plan(1, patient)) is not None:
        steps.append(rows)
    return steps


def test_textbooks_come_first_in_order_and_long_ones_are_cut():
    plan = planner()
    plan.set_textbooks(books(60, 250, 30))
    items = [item for rows in steps_of(plan) for row in rows for item in row.items]
    read = [(item.exercise, item.offset, item.tokens) for item in items]
    assert read[:3] == [(1, 0, 60), (2, 0, 40), (2, 40, 100)]
    assert sum(tokens for book, _, tokens in read[:5] if book == 2) == 250
    assert plan.textbook_steps == len(items) // 2 or plan.textbook_steps >= 2


def test_the_last_textbook_step_is_filled_up_so_that_all_ranks_train_equally():
    plan = planner()
    plan.set_textbooks(books(90, 90, 90))
    rows = [row for step in steps_of(plan) for row in step]
    assert [row.items[0].exercise for row in rows] == [1, 2, 3, 1]
    assert [row.rank for row in rows] == [0, 1, 0, 1]


def test_textbooks_are_read_as_often_as_asked_and_zero_leaves_them_out():
    twice = planner(train=TRAIN.model_copy(update={"textbook_passes": 2}))
    twice.set_textbooks(books(90, 90))
    assert twice.textbook_steps == 2
    none = planner(train=TRAIN.model_copy(update={"textbook_passes": 0}))
    none.set_textbooks(books(90, 90))
    assert none.textbook_steps == 0


def test_what_is_read_again_waits_for_late_textbooks_and_never_takes_more_than_a_step():
    plan = planner(exercises=400, train=TRAIN.model_copy(update={"steps": 60, "textbook_replay": 0.25}))
    plan.set_textbooks(books(90, 90))
    plan.add_late(books(*[90] * 22)[2:])
    steps = steps_of(plan)
    tuning = [row for step in steps for row in step if row.phase == "exercises"]
    assert plan.done
    assert len(tuning) == 120
    read = [row.items[0].exercise for row in tuning if row.items[0].exercise < 100]
    assert sorted(book for book in read if book > 2) == list(range(3, 23))  # the late ones, once
    assert sum(book <= 2 for book in read) == 30


def test_nothing_is_planned_before_the_textbooks_are_known():
    assert planner(exercises=20).plan(1, patient=False) is None


def test_a_half_empty_step_waits_only_while_more_is_being_written():
    plan = planner(exercises=3)
    plan.set_textbooks([])
    assert plan.plan(1, patient=True) is None
    rows = plan.plan(1, patient=False)
    assert rows is not None
    assert sum(len(row.items) for row in rows) == 3


def test_progress_runs_from_0_to_1_in_each_phase_and_the_run_ends():
    plan = planner(exercises=40)
    plan.set_textbooks(books(90, 90, 90, 90))
    steps = steps_of(plan)
    assert plan.done
    assert [round(rows[0].progress, 3) for rows in steps[:2]] == [0.25, 0.75]
    assert [round(rows[0].progress, 3) for rows in steps[2:]] == [round((n + 0.5) / 10, 3) for n in range(10)]
    assert [rows[0].step for rows in steps] == list(range(1, 13))


def test_a_probe_has_weight_zero_and_an_inline_plant_has_one():
    for probes in (True, False):
        table, sampler = ExerciseTable(probes=probes), Sampler(cap=6)
        for number in (1, 2):
            request = ExerciseRequest(id=number, kind=Kind.EXERCISE, skills=("a",))
            table.add(request, TextRef(segment=0, row=number), 10, 25, answer_hash=number)
        table.plant(3, question=1, answer=2)
        for number in (1, 2, 3):
            sampler.add(number)
        plan = StepPlanner(TRAIN, table, sampler)
        plan.set_textbooks([])
        rows = plan.plan(1, patient=False)
        items = {item.exercise: item for row in rows for item in row.items}
        assert items[3].weight == (0.0 if probes else 1.0)
        assert (items[3].prompt, items[3].answer) == (items[1].prompt, items[2].prompt)
        assert rows[0].denominator == 15.0 * (2 if probes else 3)


def test_textbooks_are_read_again_among_the_exercises_in_their_share_and_order():
    mixed = TRAIN.model_copy(update={"textbook_replay": 0.3})
    plan = planner(exercises=60, train=mixed)
    plan.set_textbooks(books(90, 90, 90, 90))
    rows = [row for step in steps_of(plan) for row in step if row.phase == "exercises"]
    again = [row.items[0].exercise for row in rows if row.items[0].exercise < 100]
    assert again == [1, 2, 3, 4, 1, 2]
    assert len(rows) == 20

    resumed = StepPlanner(mixed, plan._table, plan._sampler)
    resumed.set_textbooks(books(90, 90, 90, 90))
    resumed.load_state_dict(plan.state_dict())
    visits = {exercise: plan._sampler.visits(exercise) for exercise in plan._table.ids()}
    resumed.withdraw(rows[10:])
    replanned = [row for step in steps_of(resumed) for row in step]
    assert [row.items[0].exercise for row in replanned if row.items[0].exercise < 100] == [4, 1, 2]
    assert {exercise: plan._sampler.visits(exercise) for exercise in visits} == visits


def test_textbook_rows_are_packed_to_full_length():
    plan = planner()
    plan.set_textbooks(books(60, 90, 70, 30, 150))
    rows = [row for step in steps_of(plan) for row in step]
    filled = [sum(item.tokens for item in row.items) for row in rows]
    assert filled == [100, 100, 100, 100]
    read = [(item.exercise, item.offset, item.tokens) for row in rows for item in row.items]
    assert read == [(1, 0, 60), (2, 0, 40), (2, 40, 50), (3, 0, 50), (3, 50, 20), (4, 0, 30), (5, 0, 50), (5, 50, 100)]


def test_a_reading_order_is_that_of_the_graph_its_reverse_or_a_shuffle_of_the_seed():
    skills = [f"s{number}" for number in range(9)]
    assert reading_order(skills, "graph", 3) == skills
    assert reading_order(skills, "reversed", 3) == skills[::-1]
    shuffled = reading_order(skills, "shuffled", 3)
    assert sorted(shuffled) == skills
    assert shuffled != skills
    assert shuffled == reading_order(skills, "shuffled", 3) != reading_order(skills, "shuffled", 4)


def test_steps_taken_back_are_planned_again_for_other_ranks():
    one = planner(exercises=40)
    one.set_textbooks(books(100, 100, 100))
    steps = steps_of(one)
    trained, open_rows = steps[:1], [row for rows in steps[1:] for row in rows]
    visits = sum(one._sampler.visits(exercise) for exercise in one._table.ids())
    alone = TRAIN.model_copy(update={"ranks": 1})
    two = StepPlanner(alone, one._table, one._sampler)
    two.set_textbooks(books(100, 100, 100))
    two.load_state_dict(one.state_dict())
    two.withdraw(open_rows)
    assert two._sampler.unvisited == 40
    again = steps_of(two)
    read = [row.items[0].exercise for rows in (*trained, *again) for row in rows if row.phase == "textbooks"]
    assert read == [1, 2, 3]  # each book once, whoever read it
    assert [rows[0].step for rows in again] == list(range(2, 13))
    assert sum(rows[0].phase == "exercises" for rows in again) == TRAIN.steps
    assert {row.rank for rows in again for row in rows} == {0}
    assert 0 < sum(two._sampler.visits(exercise) for exercise in two._table.ids()) < visits  # half as many rows
    assert two.done
