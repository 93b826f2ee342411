from __future__ import annotations

import numpy as np
import pytest

from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladders.ladder import Ladder, Shape, Stage
from dsa_ray.ladders.samples import (
    Form,
    Sample,
    Tokenised,
    as_exercise,
    ordered,
    sample_id,
    sample_row,
    samples,
    tokenised,
)
from dsa_ray.records import Kind, PackedItem, RowPlan, TextRef, Written
from dsa_ray.sections import LADDER_IDS, LaddersConfig
from dsa_ray.training.collate import NO_LOSS, pack
from tests.generation.conftest import make_written, save_tokenizer

from .builders import climb, posed, right, told, wrong

ONE = Shape(generalized=0, harder=0, refinements=2)
CHATML = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> StudentTokenizer:
    return StudentTokenizer(save_tokenizer(tmp_path_factory.mktemp("tokenizer"), template=CHATML))


def refined(answers: int = 2) -> Ladder:
    return climb(ONE, lambda ask: right() if ask.turn == answers - 1 else wrong(f"Answer: {ask.turn}"))


def forms(ladder: Ladder, **how: bool) -> list[Form]:
    return [sample.form for sample in samples(ladder, **how)]


def test_an_answer_that_was_right_at_once_is_one_sample() -> None:
    (sample,) = samples(refined(1))
    assert sample.form is Form.ANSWER
    assert list(sample.messages) == [
        *student_messages("basic?"),
        {"role": "assistant", "content": "2+3=5\nAnswer: 5"},
    ]
    assert sample.versions == ("teacher@0", "student@1")


def test_a_refined_answer_is_two_samples_and_every_message_names_who_wrote_it() -> None:
    answer, dialogue = samples(refined(3))
    assert (answer.form, dialogue.form) == (Form.ANSWER, Form.DIALOGUE)
    assert [m["role"] for m in answer.messages] == ["user", "assistant"]
    assert [m["role"] for m in dialogue.messages] == ["user", "assistant"] * 3
    assert answer.messages[-1] == dialogue.messages[-1]
    assert dialogue.versions == ("teacher@0", "student@1", "teacher@0", "student@1", "teacher@0", "student@1")
    assert "Work out 2+3." in dialogue.messages[2]["content"]


def test_a_rung_that_failed_teaches_nothing_unless_it_is_demonstrated() -> None:
    failed = climb(ONE, lambda ask: wrong(f"Answer: {ask.turn}"))
    assert samples(failed) == []
    answer, dialogue = samples(failed, demonstrate=True)
    assert answer.demonstrated
    assert answer.messages[-1]["content"] == "2+3=5\nAnswer: 5"
    assert answer.versions[-1] == "teacher@0"
    assert [m["content"] for m in dialogue.messages if m["role"] == "assistant"][:2] == ["Answer: 0", "Answer: 1"]


def test_what_follows_feedback_that_tells_the_answer_is_never_learnt_from() -> None:
    ladder = Ladder.start(1, posed(), ONE)
    ladder.take(ladder.asks()[0], wrong())
    ladder.take(ladder.asks()[0], told("It is 5.", gives_away=True))
    ladder.take(ladder.asks()[0], right())
    assert ladder.over
    assert ladder.counts()["given_away"] == 1
    assert samples(ladder) == []
    (shown,) = samples(ladder, demonstrate=True)
    assert shown.form is Form.ANSWER
    assert shown.demonstrated


def test_a_dialogue_with_an_empty_turn_is_left_out_and_its_answer_stays() -> None:
    ladder = climb(ONE, lambda ask: right() if ask.turn else wrong(""))
    assert forms(ladder) == [Form.ANSWER]


def loss_texts(tokenizer: StudentTokenizer, ids: np.ndarray, labels: np.ndarray) -> list[str]:
    """The runs of tokens that carry loss, as text."""
    runs: list[list[int]] = []
    for at, label in enumerate(labels.tolist()):
        if label == NO_LOSS:
            continue
        assert label == ids[at]
        if at and labels[at - 1] != NO_LOSS and runs:
            runs[-1].append(label)
        else:
            runs.append([label])
    return [tokenizer.tokenizer.decode(run) for run in runs]


def packed(found: list[Tokenised], row_tokens: int = 1024) -> dict[str, np.ndarray]:
    """Samples in one row, by the same way as every other example."""
    texts: dict[TextRef, Written] = {}
    items = []
    for number, one in enumerate(found):
        ref = TextRef(segment=0, row=number)
        base = make_written()
        texts[ref] = Written(
            request=base.request,
            item=one.sample.exercise,
            generator="",
            generator_version="",
            prompt_version="",
            content_hash=0,
            input_ids=one.input_ids,
            prompt_tokens=one.prompt_tokens,
        )
        tokens, loss = len(one.input_ids), one.loss_tokens
        items.append(PackedItem(exercise=number, prompt=ref, answer=ref, tokens=tokens, loss_tokens=loss, visit=1))
    plan = RowPlan(
        lease=0, rank=0, attempt=0, step=1, phase="exercises", progress=0.0, denominator=1.0, items=tuple(items)
    )
    return pack(plan, texts.__getitem__, row_tokens)


def test_in_a_packed_row_a_dialogue_carries_loss_on_the_accepted_turn_alone(tokenizer: StudentTokenizer) -> None:
    found, too_long = tokenised(samples(refined(3)), tokenizer, 512)
    assert not too_long
    row = packed(found)
    assert loss_texts(tokenizer, row["input_ids"], row["labels"]) == ["2+3=5\nAnswer: 5</s>"] * 2
    shown = tokenizer.tokenizer.decode(row["input_ids"][row["segment"] == 1])
    assert [shown.count(text) for text in ("Answer: 0", "Answer: 1", "Try again.")] == [1, 1, 2]


def test_the_prompt_of_a_dialogue_is_what_the_student_is_given_to_answer(tokenizer: StudentTokenizer) -> None:
    dialogue = samples(refined(2))[1]
    ids, prompt_tokens = tokenizer.encode_dialogue(dialogue.messages)
    asked = tokenizer.tokenizer.apply_chat_template(
        list(dialogue.messages[:-1]), tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.tokenizer.decode(ids[:prompt_tokens]) == asked
    assert asked.endswith("[assistant]")
    assert asked.count("</s>") == 3


def test_a_question_alone_is_tokenised_as_every_exercise_is(tokenizer: StudentTokenizer) -> None:
    (sample,) = samples(refined(1))
    assert tokenizer.encode_dialogue(sample.messages) == tokenizer.encode_exercise("basic?", "2+3=5", "5")


def test_special_tokens_in_a_turn_end_no_turn(tokenizer: StudentTokenizer) -> None:
    messages = [*student_messages("a</s>b"), {"role": "assistant", "content": "c</s>d"}]
    ids, _ = tokenizer.encode_dialogue(messages)
    assert ids.count(tokenizer.tokenizer.eos_token_id) == 2


def test_what_does_not_end_with_the_student_is_refused(tokenizer: StudentTokenizer) -> None:
    with pytest.raises(ValueError, match="ends with a message of the student"):
        tokenizer.encode_dialogue(student_messages("a"))


def test_samples_that_are_too_long_are_set_aside(tokenizer: StudentTokenizer) -> None:
    answer, dialogue = samples(refined(2))
    most = len(tokenizer.encode_dialogue(answer.messages)[0])
    fitting, too_long = tokenised([answer, dialogue], tokenizer, most)
    assert [one.sample.form for one in fitting] == [Form.ANSWER]
    assert too_long == [dialogue]


def stages(found: list[Tokenised]) -> list[tuple[Stage, int]]:
    return [(one.sample.stage, one.sample.level) for one in found]


def test_a_curriculum_is_basic_then_generalized_then_harder_by_level_and_shuffled_is_the_same_mixed(
    tokenizer: StudentTokenizer,
) -> None:
    ladders = [climb(Shape(), lambda ask: right()) for _ in range(6)]
    found: list[Sample] = [sample for ladder in ladders for sample in samples(ladder)]
    tokens, _ = tokenised(found, tokenizer, 512)
    easy_first = ordered(tokens, True, 3)
    key = {Stage.BASIC: 0, Stage.GENERALIZED: 1, Stage.HARDER: 2}
    ranks = [(key[stage], level if stage is Stage.HARDER else 0) for stage, level in stages(easy_first)]
    assert ranks == sorted(ranks)
    mixed = ordered(tokens, False, 3)
    assert stages(mixed) != stages(easy_first)
    assert sorted(map(id, mixed)) == sorted(map(id, easy_first))
    assert ordered(tokens, False, 3) == mixed != ordered(tokens, False, 4)


def test_what_a_ladder_teaches_has_ids_of_its_own_whoever_climbs_it_again(tokenizer: StudentTokenizer) -> None:
    most = {name: LaddersConfig.model_fields[name].metadata for name in ("generalized", "harder")}
    largest = Shape(
        **{name: next(bound.le for bound in bounds if hasattr(bound, "le")) for name, bounds in most.items()}
    )
    ladder = climb(largest, lambda ask: right() if ask.turn else wrong())
    fitting, _ = tokenised(samples(ladder), tokenizer, 10_000)
    rows = [sample_row(one) for one in fitting]
    assert len(rows) == 50
    ids = [sample_id(row, 100) for row in rows]
    assert len(set(ids)) == len(ids)
    assert min(ids) >= 100
    assert max(ids) < 100 + LADDER_IDS


def test_a_sample_as_an_exercise_knows_its_tokens_its_parent_and_how_hard_it_is(tokenizer: StudentTokenizer) -> None:
    ladder = climb(Shape(generalized=0, harder=2), lambda ask: right())
    fitting, _ = tokenised(samples(ladder), tokenizer, 10_000)
    *_, last = map(sample_row, fitting)
    written = as_exercise(last, 77, difficulty=4)
    assert (written.request.id, written.request.kind, written.request.parents) == (77, Kind.GIVEN, (ladder.id,))
    assert written.request.difficulty == 5  # two levels above 4, and there is none above 5
    assert (written.input_ids, written.prompt_tokens) == (fitting[-1].input_ids, fitting[-1].prompt_tokens)
    assert (written.generator, written.generator_version) == ("student", "1")
    assert dict(written.checks)["ladder"] == f"{ladder.id}.2.answer"
