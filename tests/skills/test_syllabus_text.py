import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.records import SkillGraph
from dsa_ray.skills.graph import GraphError, check
from dsa_ray.skills.syllabus_text import MAX_LINES, read

MARKDOWN = """
# Calculus

## Limits
- Bounds: what a value stays below
- Sequences (needs: Number lines)

```
not a skill
```
## Derivatives (requires: Limits)
1. Slopes
2. Rules
   - Chain rule
3. *Curves* - shapes of graphs
"""


def links(graph: SkillGraph) -> set[str]:
    return {f"{edge.prerequisite}>{edge.skill}" for edge in graph.edges}


def test_headings_lists_numbers_and_needs_become_edges() -> None:
    graph, faults = read(MARKDOWN, "Calculus")
    assert links(graph) == {
        "limits>calculus",
        "derivatives>calculus",
        "limits>derivatives",
        "bounds>limits",
        "sequences>limits",
        "number-lines>sequences",
        "slopes>derivatives",
        "rules>derivatives",
        "curves>derivatives",
        "slopes>rules",
        "rules>curves",
        "chain-rule>rules",
    }
    about = {skill.id: skill.description for skill in graph.skills}
    assert (about["bounds"], about["curves"]) == ("what a value stays below", "shapes of graphs")
    assert {skill.source for skill in graph.skills} == {"target", "syllabus"}
    assert faults == []
    assert check(graph) == []


def test_plain_text_goes_by_its_indentation() -> None:
    graph, _ = read("Limits\n    Bounds\n\tSequences\nDerivatives\n", "Calculus")
    assert links(graph) == {"limits>calculus", "bounds>limits", "sequences>limits", "derivatives>calculus"}


def test_a_document_that_contradicts_itself_is_resolved_and_told() -> None:
    graph, faults = read("A (needs: B)\nB (needs: A)\n", "Calculus")
    assert check(graph) == []
    assert faults == ["syllabus: 1 closing a cycle (a before b)"]


def test_long_prose_is_no_skill() -> None:
    graph, faults = read("Limits\n" + "word " * 60, "Calculus")
    assert {skill.id for skill in graph.skills} == {"calculus", "limits"}
    assert len(faults) == 1


@pytest.mark.parametrize("content", ["", "...\n---\n", "a\n" * (MAX_LINES + 1)])
def test_a_document_without_skills_or_too_long_a_one_is_refused(content: str) -> None:
    with pytest.raises(GraphError, match="syllabus"):
        read(content, "Calculus")


@given(st.text(st.sampled_from("ab# -1.)\n(needs:,\t"), max_size=80))
def test_any_text_gives_a_sound_graph_or_is_refused(content: str) -> None:
    try:
        graph, _ = read(content, "Calculus")
    except GraphError:
        return
    assert check(graph) == []
