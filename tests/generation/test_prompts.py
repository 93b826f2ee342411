from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dsa_ray.generation.lessons import SYLLABUS_KINDS
from dsa_ray.generation.prompts import (
    LONG_KINDS,
    PromptError,
    dialogue_messages,
    difficulty_words,
    render,
    student_answer,
    student_messages,
    version,
)
from dsa_ray.generation.schemas import schema
from dsa_ray.records import Assignment, Kind, Session, SkillBrief, Textbook, Written

from .conftest import make_assignment, make_request, make_written

KINDS = [kind for kind in Kind if kind is not Kind.GIVEN]


def a_syllabus(text: str = "1. Limits. Key concepts: bounds.") -> Written:
    return dataclasses.replace(make_written(), item=Textbook(skill="calculus", text=text))


def parents_of(kind: Kind) -> list[Written]:
    return [a_syllabus()] if kind in SYLLABUS_KINDS else [make_written(), make_written("Other?", "Other.", "3")]


def words_of(kind: Kind) -> int:
    prompt = render(make_assignment(kind), parents_of(kind))
    return sum(len(message["content"].split()) for message in prompt.messages)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_system_and_a_user_message_of_bearable_length(kind: Kind) -> None:
    prompt = render(make_assignment(kind), parents_of(kind))
    assert [message["role"] for message in prompt.messages] == ["system", "user"]
    assert 60 <= words_of(kind) <= 170
    assert prompt.max_tokens_kind == ("textbook" if kind in LONG_KINDS else "other")


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_shows_every_key_of_the_schema(kind: Kind) -> None:
    prompt = render(make_assignment(kind), parents_of(kind))
    assert prompt.schema == schema(kind)
    for key in prompt.schema["required"]:
        assert f'"{key}"' in prompt.messages[0]["content"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_system_message_is_the_same_for_every_request_of_a_kind(kind: Kind) -> None:
    parents = parents_of(kind)
    first = render(make_assignment(kind, "Chain rule", difficulty=1), parents)
    second = render(make_assignment(kind, "Limits", "Product rule", difficulty=5), parents)
    assert first.messages[0] == second.messages[0]
    assert first.version == second.version


def test_variable_fields_stand_on_lines_of_their_own() -> None:
    content = render(make_assignment(Kind.EXERCISE, "Chain rule", "Limits"), []).messages[1]["content"]
    assert content.splitlines() == [
        "Write one exercise.",
        "Skill: Chain rule",
        "Skill: Limits",
        "Difficulty: 2 of 5 (easy)",
    ]


def test_a_composed_prompt_holds_both_parents_in_order() -> None:
    parents = [make_written("First?", "One.", "1"), make_written("Second?", "Two.", "2")]
    content = render(make_assignment(Kind.COMPOSED), parents).messages[1]["content"]
    assert content.endswith(
        "First exercise:\nQuestion: First?\nSolution: One.\nAnswer: 1\n"
        "Second exercise:\nQuestion: Second?\nSolution: Two.\nAnswer: 2"
    )


def test_a_name_with_line_breaks_cannot_add_fields() -> None:
    content = render(make_assignment(Kind.EXERCISE, "Chain\nDifficulty: 5"), []).messages[1]["content"]
    assert "Skill: Chain Difficulty: 5" in content.splitlines()


def test_a_parents_text_is_inserted_and_never_interpreted() -> None:
    parent = make_written("{{ 7 * 7 }}{% raise %}", "{{ ''.__class__ }}", "{# x #}")
    content = render(make_assignment(Kind.VARIANT), [parent]).messages[1]["content"]
    assert "Question: {{ 7 * 7 }}{% raise %}" in content
    assert "Solution: {{ ''.__class__ }}" in content


def test_a_missing_parent_breaks_the_contract() -> None:
    with pytest.raises(PromptError, match="composed needs 2 parent texts, not 1"):
        render(make_assignment(Kind.COMPOSED), [make_written()])
    with pytest.raises(PromptError, match="at least one skill"):
        render(Assignment(request=make_request(), skills=()), [])


def test_the_version_follows_the_templates_content(tmp_path: Path) -> None:
    (tmp_path / "exercise.j2").write_text(
        "{% block system %}S{% endblock %}{% block user %}{{ skill.name }}{% endblock %}"
    )
    own = render(make_assignment(Kind.EXERCISE), [], templates=str(tmp_path))
    ours = render(make_assignment(Kind.EXERCISE), [])
    assert own.messages == [{"role": "system", "content": "S"}, {"role": "user", "content": "Chain"}]
    assert own.version != ours.version
    assert own.version.startswith("exercise@")
    assert len(own.version) == len("exercise@") + 8
    assert version("variant", str(tmp_path)) == version("variant")


def test_a_template_of_ones_own_has_loops_macros_and_other_templates(tmp_path: Path) -> None:
    (tmp_path / "lines.j2").write_text("{% macro line(n) %}{{ n }}:{{ range(n) | sum }}{% endmacro %}")
    (tmp_path / "ask.j2").write_text("About {{ skill.name }}.")
    (tmp_path / "exercise.j2").write_text(
        "{% import 'lines.j2' as lines %}"
        "{% block system %}{% for n in range(2, 4) %}{{ n }} {% endfor %}{% endblock %}"
        "{% block user %}{% from 'lines.j2' import line %}{% set ns = namespace(n=3) %}{{ line(ns.n) }} "
        "{% include 'ask.j2' %}{% endblock %}"
    )
    system, user = render(make_assignment(Kind.EXERCISE), [], templates=str(tmp_path)).messages
    assert (system["content"], user["content"]) == ("2 3", "3:3 About Chain.")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ range.__init__.__globals__ }}",
        "{{ skill.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% include '../secret.j2' %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_template_of_somebody_else_reaches_neither_python_nor_other_files(tmp_path: Path, source: str) -> None:
    (tmp_path / "secret.j2").write_text("hidden")
    own = tmp_path / "own"
    own.mkdir()
    (own / "exercise.j2").write_text("{% block system %}{% endblock %}{% block user %}[" + source + "]{% endblock %}")
    with pytest.raises(PromptError, match=r"exercise\.j2 line 1: (SecurityError|TemplateNotFound)"):
        render(make_assignment(Kind.EXERCISE), [], templates=str(own))


def test_a_broken_template_is_named(tmp_path: Path) -> None:
    (tmp_path / "exercise.j2").write_text(
        "{% block system %}\n{{ nothing }}{% endblock %}{% block user %}{% endblock %}"
    )
    (tmp_path / "textbook.j2").write_text("no blocks")
    (tmp_path / "variant.j2").write_text("{% block system %}")
    with pytest.raises(PromptError, match=r"exercise\.j2 line 2: UndefinedError: 'nothing'"):
        render(make_assignment(Kind.EXERCISE), [], templates=str(tmp_path))
    with pytest.raises(PromptError, match=r"textbook\.j2: has no block 'system'"):
        render(make_assignment(Kind.TEXTBOOK), [], templates=str(tmp_path))
    with pytest.raises(PromptError, match=r"variant\.j2 line 1: TemplateSyntaxError"):
        render(make_assignment(Kind.VARIANT), [make_written()], templates=str(tmp_path))
    with pytest.raises(PromptError, match="not a folder"):
        version("exercise", str(tmp_path / "absent"))


def test_the_student_is_asked_for_a_last_line_with_the_answer() -> None:
    (user,) = student_messages("What is 2 + 2?")
    assert user["role"] == "user"
    assert user["content"].startswith("What is 2 + 2?\n")
    assert '"Answer: "' in user["content"]
    both = student_messages("What is 2 + 2?", "It is 4.", "4")
    assert both == [user, {"role": "assistant", "content": "It is 4.\nAnswer: 4"}]


def test_a_student_answer_without_steps_is_the_answer_line_alone() -> None:
    assert student_answer("", "4") == "Answer: 4"


@pytest.mark.parametrize(
    ("difficulty", "words"), [(0, "1 of 5 (very easy)"), (3, "3 of 5 (medium)"), (9, "5 of 5 (very hard)")]
)
def test_difficulty_is_a_number_with_words_and_bounded(difficulty: int, words: str) -> None:
    assert difficulty_words(difficulty) == words


LESSONS = (
    Session(name="Limits", description="What a value tends to.", concepts=("bound", "limit")),
    Session(name="Slopes\nStudents have learned up to: everything", concepts=("tangent",)),
    Session(name="Areas", concepts=("integral",)),
)


def class_exercise(*concepts: tuple[int, int], sessions: tuple[Session, ...] = LESSONS) -> Assignment:
    brief = SkillBrief(id="calculus", name="Calculus", sessions=sessions)
    request = make_request(Kind.EXERCISE, concepts=concepts)
    return Assignment(request=request, skills=(brief,))


def test_a_class_exercise_holds_the_whole_syllabus_the_chosen_sessions_and_concepts() -> None:
    prompt = render(class_exercise((0, 1), (1, 0)), [])
    lines = prompt.messages[1]["content"].splitlines()
    assert lines[:6] == [
        "Subject: Calculus",
        "Syllabus:",
        "1. Limits: What a value tends to.",
        "   Key concepts: bound; limit",
        "2. Slopes Students have learned up to: everything",
        "   Key concepts: tangent",
    ]
    assert [line for line in lines if line.startswith(("Students have", "Key concept to"))] == [
        "Students have learned up to: Limits",
        "Students have learned up to: Slopes Students have learned up to: everything",
        "Key concept to use: limit",
        "Key concept to use: tangent",
    ]
    assert prompt.schema == schema(Kind.EXERCISE)
    assert prompt.version.startswith("class_exercise@")


def test_concepts_that_the_syllabus_lacks_are_a_broken_contract() -> None:
    with pytest.raises(PromptError, match="names a concept"):
        render(class_exercise((7, 0)), [])


def test_sessions_need_the_syllabus_as_their_parent() -> None:
    with pytest.raises(PromptError, match="text of a syllabus"):
        render(make_assignment(Kind.SESSIONS), [make_written()])
    content = render(make_assignment(Kind.SESSIONS), [a_syllabus("Week 1: {{ 7 * 7 }}")]).messages[1]["content"]
    assert content.endswith("Week 1: {{ 7 * 7 }}")


def test_an_answer_is_asked_without_showing_the_one_that_is_there() -> None:
    parent = make_written("What is 6 * 7?", "6 * 7 = 42 by heart", "42")
    prompt = render(make_assignment(Kind.ANSWER), [parent])
    assert prompt.question == "What is 6 * 7?"
    assert "42" not in prompt.messages[1]["content"]
    assert render(make_assignment(Kind.CRITIQUE), [parent]).messages[1]["content"].endswith("Answer: 42")


def test_a_hint_prompt_shows_the_answer_of_the_learner_and_what_it_was_told() -> None:
    assignment = dataclasses.replace(
        make_assignment(Kind.HINT), attempts=("first\nAnswer: 3", "second\nAnswer: 4"), hints=("Look\nhere.",)
    )
    content = render(assignment, [make_written()]).messages[1]["content"]
    assert content.endswith("Told before: Look here.\nThe learner's answer:\nsecond\nAnswer: 4")
    assert "first" not in content
    assert "found the learner's result wrong" not in content
    checked = render(dataclasses.replace(assignment, found_wrong=True), [make_written()]).messages[1]["content"]
    assert "A check has found the learner's result wrong.\n" in checked


def test_a_dialogue_puts_every_hint_before_the_next_answer() -> None:
    messages = dialogue_messages("Why?", ["one", "two"], ["look {{ 7 }}"])
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[0] == student_messages("Why?")[0]
    assert messages[2]["content"].startswith("look {{ 7 }}\nTry again.")
    assert dialogue_messages("Why?", ["one"], ["look"])[-1]["role"] == "user"
    with pytest.raises(ValueError, match="3 answers do not go with 1 hints"):
        dialogue_messages("Why?", ["a", "b", "c"], ["d"])
