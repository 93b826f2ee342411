from __future__ import annotations

from pathlib import Path

import pytest

from dsa_ray.generation.own_templates import KNOWN, check_templates, referenced
from dsa_ray.generation.prompts import OF_LESSONS, STUDENT_VALUES, TEMPLATES, VALUES, PromptError, _values
from dsa_ray.records import Kind
from tests.generation.conftest import make_assignment


def blocks(user: str, system: str = "s") -> str:
    return f"{{% block system %}}{system}{{% endblock %}}\n{{% block user %}}{user}{{% endblock %}}"


def folder(path: Path, **texts: str) -> str:
    """A folder of templates, by their names without the suffix."""
    for name, text in texts.items():
        (path / f"{name}.j2").write_text(text)
    return str(path)


def refusal(path: str) -> str:
    with pytest.raises(PromptError) as caught:
        check_templates(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_built_in_templates_pass_as_a_folder_of_ones_own(tmp_path: Path) -> None:
    texts = {path.stem: path.read_text() for path in TEMPLATES.glob("*.j2")}
    check_templates(folder(tmp_path, **texts))
    assert {f"{kind.value}.j2" for kind in Kind if kind is not Kind.GIVEN} < KNOWN


def test_the_values_that_are_known_are_those_that_a_template_gets() -> None:
    assert _values(make_assignment(Kind.EXERCISE), []).keys() == VALUES
    assert OF_LESSONS < VALUES
    assert not VALUES & {name for names in STUDENT_VALUES.values() for name in names}


def test_what_templates_of_ones_own_may_do(tmp_path: Path) -> None:
    check_templates(
        folder(
            tmp_path,
            exercise=blocks(
                "{% from 'lines.j2' import line %}{% set tone = 'kind' %}{% include 'tone.j2' %}{{ line(2) }}"
                "{% include 'absent.j2' ignore missing %}"
                "{% for one in skills %}{{ loop.index }}{{ one.name }}{% endfor %}"
            ),
            tone="Be {{ tone }} about {{ skill.name }}.",
            lines="{% macro line(n) %}{{ n }}{{ range(n) | sum }}{% endmacro %}",
            student="{{ question }} Think.",
            refine="{{ hint }} Again.",
        )
    )
    (tmp_path / "README.md").write_text("{{ anything }}")
    check_templates(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("exercise", blocks("{{ skill.name }"), "exercise.j2 line 2: TemplateSyntaxError: unexpected '}'"),
        (
            "exercise",
            blocks("{{ skill.name | no_such }}"),
            "exercise.j2 line 2: No filter named 'no_such'; mend it, or take",
        ),
        ("exercise", blocks("\n{{ dificulty }}"), "line 3: there is no value 'dificulty'; did you mean 'difficulty'?"),
        ("variant", blocks("{% if 0 %}{{ zzz }}{% endif %}"), "no value 'zzz'; known here are attempt, chosen, "),
        ("student", "{{ skill.name }}", "student.j2 line 1: there is no value 'skill'; known here are question"),
        ("exercise", "{% set x = 1 %}" + blocks("{{ x }}"), "'x' is set outside the block that uses it; set it inside"),
        ("exercise", blocks("{% include 'tone.j2' %}"), "exercise.j2 line 2: takes in 'tone.j2', which is neither in "),
        ("textbook", "no blocks", "textbook.j2: has no block 'system'"),
        ("exercise", blocks("{{ skill.nmae }}"), "exercise.j2 line 2: UndefinedError: 'dict object' has no attribute"),
        ("variant", blocks("{{ parents[1].question }}"), "variant.j2 line 2: UndefinedError"),
        ("exercise", blocks("{{ difficulty + 1 }}"), "exercise.j2 line 2: TypeError"),
        ("exercse", blocks("u"), "exercse.j2: nothing asks for a template of this name; did you mean exercise.j2?"),
        ("Exercise", blocks("u"), "Exercise.j2: nothing asks for a template of this name; did you mean exercise.j2?"),
        ("qqqqqqqq", blocks("u"), "qqqqqqqq.j2: nothing asks for a template of this name; known names are answer.j2, "),
    ],
)
def test_what_would_fail_or_do_nothing_later_is_one_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    line = refusal(folder(tmp_path, **{name: text}))
    assert told in line
    assert str(tmp_path) in line


def test_a_template_that_is_taken_in_is_looked_at_with_the_values_that_it_sees(tmp_path: Path) -> None:
    own = folder(tmp_path, exercise=blocks("{% include 'tone.j2' %}"), tone="\n{{ tone }}")
    assert f"{tmp_path}/tone.j2 line 2: there is no value 'tone'" in refusal(own)
    folder(
        tmp_path,
        tone="{% from 'lines.j2' import line %}{{ line() }}",
        lines="{% macro line() %}{{ skill }}{% endmacro %}",
    )
    assert "lines.j2 line 1: there is no value 'skill'; known here are those that its macros take" in refusal(own)


def test_where_a_name_is_worked_out_no_file_counts_as_one_that_nothing_asks_for(tmp_path: Path) -> None:
    check_templates(folder(tmp_path, exercise=blocks("{% include skill.name ~ '.j2' %}"), sums="Add."))


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert "absent: not a folder" in refusal(str(tmp_path / "absent"))


def test_templates_that_are_taken_in_are_found_through_each_other(tmp_path: Path) -> None:
    own = folder(
        tmp_path,
        exercise=blocks("{% include ['none.j2', 'a.j2'] %}{% include 'gone.j2' ignore missing %}"),
        a="{% import 'b.j2' as b %}",
        b="{% include 'a.j2' %}",
    )
    assert referenced("exercise.j2", own) == ["a.j2", "b.j2"]
