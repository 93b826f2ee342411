import json
import random
import re
import time
from html.parser import HTMLParser

import pytest

from dsa_ray.records import Edge, Session, Skill, SkillGraph
from dsa_ray.report.graph_page import graph_page
from dsa_ray.skills.graph import build

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&lt;'


class Page(HTMLParser):
    """Tags with attributes, and the script that holds the data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def chain(count: int, ahead: int = 3) -> SkillGraph:
    rng = random.Random(count)
    skills = [Skill(id=f"s{n}", name=f"Skill {n}") for n in range(count)]
    pairs = {(n, rng.randint(n + 1, min(count - 1, n + ahead))) for n in range(count - 1)}
    return build(f"s{count - 1}", skills, [Edge(prerequisite=f"s{a}", skill=f"s{b}") for a, b in sorted(pairs)])


def test_every_skill_and_edge_is_drawn_and_told() -> None:
    graph = chain(30)
    page = Page(graph_page(graph, {"s0": {"accuracy": 0.5}}))
    assert len(page.with_class("skill")) == 30
    assert len(page.with_class("edge")) == len(graph.edges)
    assert [skill["name"] for skill in page.data["skills"]] == [skill.name for skill in graph.skills]
    assert ["accuracy", "0.5"] in page.data["skills"][0]["facts"]
    assert "30 skills" in graph_page(graph)


def test_names_that_are_markup_stay_text() -> None:
    skills = [
        Skill(id="a", name=EVIL, description=EVIL, generator=EVIL, sessions=(Session(name=EVIL, concepts=(EVIL,)),)),
        Skill(id="b", name=EVIL),
    ]
    page = Page(graph_page(build("b", skills, [Edge(prerequisite="a", skill="b")]), {"a": {EVIL: EVIL}}))
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert page.data["skills"][0]["about"] == EVIL
    assert page.data["skills"][0]["sessions"] == [[EVIL, EVIL]]


def test_the_page_loads_nothing_and_runs_only_its_own_script() -> None:
    page = Page(graph_page(chain(5)))
    policy = next(
        attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'")
    assert not [tag for tag, attributes in page.tags if attributes.get("src") or attributes.get("href")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("count", [1, 2, 121, 301])
def test_no_two_boxes_overlap_and_all_lie_in_the_picture(count: int) -> None:
    page = Page(graph_page(chain(count, ahead=20)))
    spots = [(skill["x"], skill["y"]) for skill in page.data["skills"]]
    for index, (x, y) in enumerate(spots):
        assert 84 <= x <= page.data["width"] - 84
        assert 22 <= y <= page.data["height"] - 22
        assert all(abs(x - a) >= 168 or abs(y - b) >= 44 for a, b in spots[:index])


def test_two_thousand_skills_are_drawn_within_seconds_and_megabytes() -> None:
    began = time.process_time()
    text = graph_page(chain(2000, ahead=400))
    assert time.process_time() - began < 10
    assert len(text) < 3_000_000
    assert 'class="crowded"' in text


def test_what_the_data_found_and_what_it_doubts_are_drawn_differently() -> None:
    skills = [Skill(id=name, name=name) for name in ("a", "b", "c", "d")]
    edges = [
        Edge(prerequisite="a", skill="d", transfer=-0.1),
        Edge(prerequisite="b", skill="d", source="data", transfer=0.4),
        Edge(prerequisite="c", skill="d", transfer=0.2),
    ]
    page = graph_page(build("d", skills, edges))
    assert page.count('class="edge found"') == page.count('class="edge doubted"') == page.count('class="edge"') == 1
    assert "1 found in the data alone (solid), 1 not borne out by it (dotted)" in page
