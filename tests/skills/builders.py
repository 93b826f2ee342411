"""Small graphs for tests."""

from __future__ import annotations

from hypothesis import strategies as st

from dsa_ray.records import Edge, Session, Skill, SkillGraph
from dsa_ray.skills.graph import build


def a_graph(
    *links: str, target: str = "calculus", alone: tuple[str, ...] = (), groups: tuple[str, ...] = ()
) -> SkillGraph:
    """Each link `a>b` says that a is needed for b."""
    pairs = [tuple(link.split(">")) for link in links]
    ids = sorted({target, *alone, *(end for pair in pairs for end in pair)})
    skills = [Skill(id=skill, name=skill.title(), group=skill in groups) for skill in ids]
    return build(target, skills, [Edge(prerequisite=before, skill=after) for before, after in pairs])


lines = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
"""Words that every text format can hold."""


@st.composite
def graphs(draw: st.DrawFn, texts: st.SearchStrategy[str] = lines, most: int = 7) -> SkillGraph:
    """Random acyclic graphs with provenance, groups and sessions; the target may be anywhere."""
    count = draw(st.integers(1, most))
    sessions = st.builds(Session, name=texts, description=texts, concepts=st.lists(texts, max_size=3).map(tuple))
    origin = {
        "source": st.sampled_from(["teacher", "syllabus", "hand", "taxonomy"]),
        "request": st.none() | st.integers(1, 99),
        "generator": st.sampled_from(["", "a/b@1"]),
        "proposals": st.integers(1, 5),
    }
    skills = [
        draw(
            st.builds(
                Skill,
                id=st.just(f"s{n}"),
                name=texts,
                description=st.just("") | texts,
                found_from=st.none() | st.just("s0"),
                group=st.booleans(),
                sessions=st.lists(sessions, max_size=2).map(tuple),
                **origin,
            )
        )
        for n in range(count)
    ]
    edges = [
        draw(st.builds(Edge, prerequisite=st.just(f"s{before}"), skill=st.just(f"s{after}"), **origin))
        for after in range(count)
        for before in range(after)
        if draw(st.booleans())
    ]
    return build(f"s{draw(st.integers(0, count - 1))}", skills, edges)
