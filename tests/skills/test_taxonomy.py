import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.config import parse
from dsa_ray.records import Kind, Prerequisites, SkillGraph
from dsa_ray.skills.files.formats import graph_text, read_graph
from dsa_ray.skills.graph import GraphError, build, check
from dsa_ray.skills.start import construction, read_start
from dsa_ray.skills.taxonomy import TaxonomyBuild
from dsa_ray.skills.taxonomy_tree import Entry, read, write
from dsa_ray.skills.versions import merge
from tests.skills.builders import a_graph

LISTS = {
    (Kind.FIELDS, "Knowledge"): ["Science", "Trades", "science."],
    (Kind.SUBFIELDS, "Science"): ["Mathematics", "Astrology"],
    (Kind.SUBFIELDS, "Trades"): ["Wood"],
    (Kind.DISCIPLINES, "Mathematics"): ["Statistics", "Mathematics"],
    (Kind.DISCIPLINES, "Wood"): ["Carpentry", "Statistics"],
    (Kind.SUBJECTS, "Statistics"): ["Sampling", "Sampling", "Tests"],
    (Kind.SUBJECTS, "Mathematics"): ["Sampling"],
    (Kind.SUBJECTS, "Carpentry"): ["Joints", "🪵"],
}


def names(kind: Kind, name: str) -> tuple[tuple[str, str], ...]:
    if kind is Kind.SESSIONS:
        return ((f"{name} I", "first"), (f"{name} II", "second"))
    if kind is Kind.CONCEPTS:
        return (("mean", f"{name} I"), ("Means", f"{name} I"), ("error", f"{name} II"), ("lost", "nowhere"))
    return tuple((each, f"about {each}") for each in LISTS.get((kind, name), ()))


def run(made: TaxonomyBuild, fails=lambda question: False) -> TaxonomyBuild:
    """Answer everything; the request ids count up."""
    waiting, request = made.questions(), 0
    while waiting:
        question = waiting.pop(0)
        request += 1
        if fails(question):
            made.fail(question.kind, question.brief.id)
        else:
            answer = Prerequisites(skill=question.brief.id, names=names(question.kind, question.brief.name))
            made.take(question.kind, answer, request, "teacher@0")
        waiting += made.questions()
    assert made.done
    return made


def test_a_taxonomy_ends_in_subjects_with_sessions_and_key_concepts() -> None:
    graph = run(TaxonomyBuild("Knowledge", 100)).graph()
    assert check(graph) == []
    subjects = {skill.id: skill for skill in graph.skills if not skill.group}
    assert set(subjects) == {
        "statistics-sampling", "statistics-tests", "mathematics-discipline-sampling", "carpentry-joints",
    }  # fmt: skip
    sampling = subjects["statistics-sampling"]
    assert [(session.name, session.concepts) for session in sampling.sessions] == [
        ("Sampling I", ("mean",)),
        ("Sampling II", ("error",)),
    ]
    assert (sampling.found_from, sampling.proposals, sampling.generator) == ("statistics", 2, "teacher@0")
    assert {(e.prerequisite, e.skill) for e in graph.edges if e.prerequisite == "statistics"} == {
        ("statistics", "mathematics"),
        ("statistics", "wood"),
    }


def test_subjects_of_one_name_below_different_disciplines_stay_apart_on_every_way_into_a_run(tmp_path) -> None:
    graph = run(TaxonomyBuild("Knowledge", 100)).graph()
    assert [skill.id for skill in graph.skills if skill.name == "Sampling"] == [
        "mathematics-discipline-sampling",
        "statistics-sampling",
    ]
    for suffix, format in ((".yaml", "yaml"), (".json", "nodelink"), (".graphml", "graphml")):
        path = tmp_path / f"graph{suffix}"
        path.write_text(graph_text(graph, format))
        assert read_graph(path) == graph
        config = parse({"run": {"name": "x"}, "graph": {"target": "Knowledge", "file": str(path), "grow": True}}).graph
        start = read_start(config)
        assert construction(config.model_copy(update={"grow": False}), start).graph() == graph
        grown = construction(config, start).graph()
        assert {skill.id for skill in grown.skills} == {skill.id for skill in graph.skills}
        assert {(e.prerequisite, e.skill) for e in grown.edges} == {(e.prerequisite, e.skill) for e in graph.edges}
    assert merge(graph, graph) == (graph, [])


def test_a_merge_takes_a_subject_for_that_of_the_same_discipline_alone() -> None:
    ours = a_graph("biology-sampling>biology", "biology>science", target="science", groups=("biology",))
    theirs = a_graph(
        *("physics-sampling>physics", "physics>science", "life-sampling>biology", "biology>science"),
        target="science",
        groups=("physics", "biology"),
    )
    ours, theirs = (renamed(graph, "sampling", "Sampling") for graph in (ours, theirs))
    merged, notes = merge(ours, theirs)
    assert {skill.id for skill in merged.skills if not skill.group} == {
        "biology-sampling", "physics-sampling", "science",
    }  # fmt: skip
    assert notes == ["life-sampling: taken for biology-sampling, another spelling"]


def renamed(graph: SkillGraph, ending: str, name: str) -> SkillGraph:
    skills = [replace(skill, name=name) if skill.id.endswith(ending) else skill for skill in graph.skills]
    return build(graph.target, skills, graph.edges)


def test_what_was_lost_is_told() -> None:
    made = run(TaxonomyBuild("Knowledge", 100))
    assert "carpentry: 1 without a letter or digit (🪵)" in made.faults
    assert "statistics-tests: 1 key concepts of no session (lost)" in made.faults


def test_subjects_are_asked_for_several_times_and_joined() -> None:
    made = TaxonomyBuild("Knowledge", 100, queries=10)
    seen: list[tuple[Kind, str]] = []
    run(made, lambda question: seen.append((question.kind, question.brief.name)) or False)
    assert seen.count((Kind.SUBJECTS, "Carpentry")) == 10
    assert seen.count((Kind.SYLLABUS, "Joints")) == 1
    assert {skill.id: skill.proposals for skill in made.graph().skills}["carpentry-joints"] == 10


def test_the_syllabus_is_the_parent_of_what_is_read_from_it() -> None:
    given = Entry(name="Joints")
    for name in ("D", "S", "F", "Knowledge"):
        given = Entry(name=name, below=(given,))
    made = TaxonomyBuild("Knowledge", 100, given=given)
    [syllabus] = made.questions()
    assert (syllabus.kind, syllabus.parents, syllabus.brief.part_of) == (
        Kind.SYLLABUS,
        (),
        ("D", "S", "F", "Knowledge"),
    )
    made.take(Kind.SYLLABUS, Prerequisites(skill="d-joints", names=()), 41, "t")
    [sessions] = made.questions()
    assert (sessions.kind, sessions.parents) == (Kind.SESSIONS, (41,))
    made.take(Kind.SESSIONS, Prerequisites(skill="d-joints", names=(("I", ""),)), 42, "t")
    [concepts] = made.questions()
    assert (concepts.kind, concepts.parents) == (Kind.CONCEPTS, (41,))
    assert [session.name for session in concepts.brief.sessions] == ["I"]


@pytest.mark.parametrize("until", ["field", "subfield", "discipline", "subject"])
def test_a_draft_ends_at_the_tier_that_is_asked_for(until: str) -> None:
    made = run(TaxonomyBuild("Knowledge", 100, until=until))
    ids = {skill.id for skill in made.graph().skills}
    assert ("science" in ids, "wood" in ids, "carpentry" in ids, "carpentry-joints" in ids) == (
        True,
        until != "field",
        until in ("discipline", "subject"),
        until == "subject",
    )
    assert not any(skill.sessions for skill in made.graph().skills)


MARKED = """
name: Knowledge
below:
  - name: Science
    below:
      - name: Astrology
        keep: [true, false, false]
      - Mathematics
  - name: Trades
    keep: false
    below: [Wood]
  - name: Arts
    below: []
"""


def test_marks_are_honoured_and_what_is_listed_is_not_asked_again() -> None:
    seen: list[tuple[Kind, str]] = []
    made = TaxonomyBuild("Knowledge", 100, given=read(MARKED))
    run(made, lambda question: seen.append((question.kind, question.brief.name)) or False)
    ids = {skill.id for skill in made.graph().skills}
    assert ids.isdisjoint({"astrology", "trades", "wood", "carpentry"})
    assert {"science", "mathematics", "statistics", "arts"} <= ids
    assert Kind.FIELDS not in {kind for kind, _ in seen}
    assert {skill.id: skill.source for skill in made.graph().skills}["arts"] == "hand"


def test_what_was_removed_stays_out_whoever_proposes_it() -> None:
    marked = "name: Knowledge\nbelow: [{name: Astrology, keep: false}, {name: Science}]"
    given = read(marked)
    given = Entry(name="Knowledge", below=given.below)
    made = TaxonomyBuild("Knowledge", 100, given=given)
    made._removed.add((2, "astrology"))
    assert "astrology" not in {skill.id for skill in run(made).graph().skills}
    assert any("removed by hand" in fault for fault in made.faults)


def test_a_built_taxonomy_can_be_written_marked_and_read_again() -> None:
    graph = run(TaxonomyBuild("Knowledge", 100)).graph()
    again = TaxonomyBuild("Knowledge", 100, given=read(write(graph)))
    waiting = [question.brief.name for question in again.questions()]
    assert waiting == ["Astrology", "Mathematics"] or set(waiting) <= {"Astrology", "Mathematics"}
    sessions = {skill.name: skill.sessions for skill in again.graph().skills if not skill.group}
    assert sessions["Joints"] == {s.name: s.sessions for s in graph.skills}["Joints"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("[]", "has no `name`"),
        ("name: Knowledge\nbelow: 7", "should be a list"),
        ("name: Knowledge\nkeep: perhaps", "should be true, false"),
        ("name: Knowledge\nbelw: []", "unknown field 'belw'"),
        ("name: '!'", "neither a letter"),
        ("name: K\nsessions: []", "only subjects have sessions"),
        ("{name: K, below: [{name: a, below: [{name: b, below: [{name: c, below: [{name: d, below: [e]}]}]}]}]}",
         "below a subject"),
        ("a: &x [1]\nb: *x", "aliases"),
    ],
)  # fmt: skip
def test_broken_taxonomies_are_refused_in_one_line(content: str, fault: str) -> None:
    with pytest.raises(GraphError, match="taxonomy") as error:
        read(content)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_the_taxonomy_of_another_target_is_refused() -> None:
    with pytest.raises(GraphError, match=r"graph\.target"):
        TaxonomyBuild("Cooking", 100, given=read(MARKED))


def test_a_teacher_that_fails_leaves_what_there_is() -> None:
    made = run(TaxonomyBuild("Knowledge", 100), lambda question: question.kind is Kind.SYLLABUS)
    assert {skill.id for skill in made.graph().skills if not skill.group}
    assert any("without a usable answer (syllabus)" in fault for fault in made.faults)


@settings(deadline=None)
@given(st.integers(), st.integers(1, 30), st.integers(1, 3))
def test_whatever_the_teacher_says_the_graph_is_sound(seed: int, max_skills: int, queries: int) -> None:
    rng = random.Random(seed)
    words = ["a", "A.", "as", "Knowledge", "", "?", "b", "the b", "c c", "é"]
    made = TaxonomyBuild("Knowledge", max_skills, queries=queries)
    waiting, request = made.questions(), 0
    while waiting:
        question = waiting.pop(rng.randrange(len(waiting)))
        request += 1
        if rng.random() < 0.1:
            made.fail(question.kind, question.brief.id)
            continue
        names = tuple((rng.choice(words), rng.choice(words)) for _ in range(rng.randint(0, 4)))
        for _ in range(2):  # told twice, counted once
            made.take(question.kind, Prerequisites(skill=question.brief.id, names=names), request, "t")
            if queries > 1:
                break
        waiting += made.questions()
    assert made.done
    assert len(made.graph().skills) <= max_skills
    assert [fault for fault in check(made.graph()) if "spellings" not in fault] == []
