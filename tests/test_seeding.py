"""A user's own exercises enter through the same checks and the same journal, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.curriculum.supply import Supply
from dsa_ray.embedded import shipped
from dsa_ray.generation.checks import make_examiner
from dsa_ray.generation.fingerprint import check_fingerprint
from dsa_ray.generation.seeds import BadSeed, Seed, _seed, read_seeds, seeds_of
from dsa_ray.records import Edge, Exercise, Kind, Skill, SkillGraph, Textbook
from dsa_ray.sections import SeedConfig
from dsa_ray.seeding import take_seeds
from dsa_ray.skills.files.formats import graph_text
from dsa_ray.skills.start import kept_start, read_start
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.reviews import items
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, numbers

GSM = {"question": "A hen lays 3 eggs a day. How many in a week?", "answer": "3 * 7 = <<3*7=21>>21 eggs.\n#### 21"}
ROW = {"answer": "11"}
CHAT = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "What is 6 * 7?"}]}
CHAT["messages"].append({"role": "assistant", "content": "Six sevens.\nAnswer: 42"})


def lines(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def config(folder: Path, *seeds: dict[str, Any], **generate: Any) -> Config:
    return parse(
        {
            "run": {"name": "r", "storage": str(folder / "runs")},
            "graph": {"target": "t"},
            "generate": {"seeds": seeds, **generate},
        }
    )


def test_a_whole_solution_is_taken_apart_and_a_column_of_skills_is_read(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", GSM, "no JSON", {"question": "?"}, {**GSM, "topic": ["Chain rule", "Limits"]})
    found = list(read_seeds(SeedConfig(path=path, skill="Word problems")))
    assert found[0] == Seed(1, ("Word problems",), GSM["question"], "3 * 7 = 21 eggs.", "21")
    assert [type(row) for row in found] == [Seed, BadSeed, BadSeed, Seed]
    by_column = list(read_seeds(SeedConfig(path=path, skill_field="topic")))
    assert [type(row) for row in by_column] == [BadSeed, BadSeed, BadSeed, Seed]
    assert isinstance(by_column[3], Seed)
    assert by_column[3].skills == ("Chain rule", "Limits")


def test_messages_and_parquet_are_read_too(tmp_path: Path) -> None:
    path = lines(tmp_path / "chat.jsonl", CHAT, {"messages": []}, {"messages": "x"})
    found = list(read_seeds(SeedConfig(path=path, skill="S", messages_field="messages")))
    assert found[0] == Seed(1, ("S",), "What is 6 * 7?", "Six sevens.\nAnswer: 42", "42")
    assert all(isinstance(row, BadSeed) for row in found[1:])
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"q": ["What is 1 + 1?"], "a": [2], "s": ["Count."]}), table)
    source = SeedConfig(path=str(table), skill="S", question_field="q", answer_field="a", solution_field="s")
    assert list(read_seeds(source)) == [Seed(1, ("S",), "What is 1 + 1?", "Count.", "2")]


def test_a_file_that_cannot_be_read_or_has_no_skill_is_a_broken_configuration(tmp_path: Path) -> None:
    text = lines(tmp_path / "a.txt", GSM)
    for path, skill in ((f"{tmp_path}/none.jsonl", "S"), (text, "S"), (lines(tmp_path / "a.jsonl", GSM), None)):
        with pytest.raises(ConfigError, match=r"generate\.seeds"):
            list(read_seeds(SeedConfig(path=path, skill=skill)))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(ConfigError, match=r"generate\.seeds"):
        list(read_seeds(SeedConfig(path=f"{tmp_path}/broken.parquet", skill="S")))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda v: st.lists(v, max_size=3))


@given(st.dictionaries(st.sampled_from(["question", "answer", "messages", "skill"]), JSON), st.booleans())
def test_no_row_breaks_the_reader(row: dict[str, Any], chat: bool) -> None:
    source = SeedConfig(path="x.jsonl", skill_field="skill", messages_field="messages" if chat else None)
    assert isinstance(_seed(row, 1, source), Seed | BadSeed)


def test_rows_become_accepted_exercises_or_counted_rejections_once(tmp_path: Path) -> None:
    other = {"question": "What is 5 + 6?", "answer": "11"}
    path = lines(tmp_path / "a.jsonl", GSM, GSM, {"question": "?", "answer": "1"}, "broken", other)
    own = config(tmp_path, {"path": path, "skill": "Word problems"})
    student = shipped.resolve("embedded:student")

    def examiner():
        return make_examiner(own, student, [])

    with RunFolder.create(own.run.storage, own) as run:
        assert take_seeds(own, run, examiner) == {"accepted": 2, "duplicate": 1, "length": 1, "schema": 1}
        taken = list(items(run.journal))
        assert [item.request.id for item in taken] == [1, 5]
        assert all(item.request.kind is Kind.GIVEN and item.request.skills == ("word-problems",) for item in taken)
        assert isinstance(taken[0].item, Exercise)
        assert (taken[0].generator, taken[0].generator_version) == (path, "row 1")
        assert take_seeds(own, run, examiner) == {}
        assert list(items(run.journal)) == taken


def test_what_was_taken_before_a_crash_is_not_taken_twice(tmp_path: Path) -> None:
    rows = [{"question": f"What is {number} + 6?", "answer": str(number + 6)} for number in range(4)]
    own = config(tmp_path, {"path": lines(tmp_path / "a.jsonl", *rows), "skill": "S"})
    student = shipped.resolve("embedded:student")
    with RunFolder.create(own.run.storage, own) as run:
        from dsa_ray.seeding import _all, _examined
        from dsa_ray.storage.texts import STREAM, written_row

        first = _examined(make_examiner(own, student, []), next(_all(own, {})))
        SegmentWriter(run.journal, STREAM).write([written_row(first)])
        assert take_seeds(own, run, lambda: make_examiner(own, student, []))["accepted"] == 4
        assert [item.request.id for item in items(run.journal)] == [1, 2, 3, 4]


def test_a_seeds_skill_is_that_of_the_graph_the_target_or_an_earlier_row_in_whatever_spelling(tmp_path: Path) -> None:
    names = ["adding-fractions", "The Limit", "The calculus", "Own skills", "own skill", ["Own skill", "own-skills"]]
    rows = [{**ROW, "question": f"What is {number} + 6?", "topic": name} for number, name in enumerate(names)]
    graph = SkillGraph(
        target="calculus",
        skills=(
            Skill(id="s1", name="Adding fractions"),
            Skill(id="limits", name="Limits"),
            Skill(id="calculus", name="C"),
        ),
        edges=tuple(Edge(prerequisite=id, skill="calculus") for id in ("s1", "limits")),
    )
    file = tmp_path / "graph.json"
    file.write_text(graph_text(graph, "nodelink"))
    seed = {"path": lines(tmp_path / "a.jsonl", *rows), "skill_field": "topic"}
    for key, value, found in (
        ("file", str(file), ["s1", "limits", "calculus", "own-skills", "own-skills", "own-skills"]),
        (
            "elementary",
            ["Limits"],
            ["adding-fractions", "limits", "calculus", "own-skills", "own-skills", "own-skills"],
        ),
    ):
        data = config(tmp_path, seed).model_dump()
        target = {"file": "C", "elementary": "Calculus"}[key]
        own = parse({**data, "run": {**data["run"], "name": key}, "graph": {"target": target, key: value}})
        with RunFolder.create(own.run.storage, own) as run:
            examiner = make_examiner(own, shipped.resolve("embedded:student"), [])
            assert take_seeds(own, run, lambda examiner=examiner: examiner) == {"accepted": 6}
            assert [item.request.skills for item in items(run.journal)] == [(skill,) for skill in found]


def taxonomy(folder: Path) -> Path:
    """One skill with two examples, one of which marks no answer; one with passages of a document."""
    sums = [{"question": f"What is {n} + 1?", "answer": f"Count on from {n}.\nAnswer: {n + 1}"} for n in range(2)]
    long = {"question": "What is a sum, at length?", "answer": "A sum is what comes out. " * 20}
    passages = ["Phoenix is a minor constellation of the southern sky. " * 3, "Its brightest star is Ankaa. " * 5]
    pairs = [{"question": "What is Phoenix, in the sky?", "answer": "A constellation."}]
    known = [{"context": text, "questions_and_answers": pairs if text is passages[0] else []} for text in passages]
    for place, data in (
        ("skills/sums", {"version": 2, "task_description": "Add.", "seed_examples": [*sums, long]}),
        ("knowledge/phoenix", {"version": 3, "document": {"repo": "x"}, "seed_examples": [*known, known[0]]}),
    ):
        (folder / place).mkdir(parents=True)
        (folder / place / "qna.yaml").write_text(json.dumps(data))
    return folder


def test_the_examples_and_passages_of_a_taxonomy_are_exercises_and_textbooks_from_the_start(tmp_path: Path) -> None:
    folder = taxonomy(tmp_path / "tree")
    data = config(tmp_path, {"path": lines(tmp_path / "a.jsonl", GSM), "skill": "Sum"}).model_dump()
    own = parse({**data, "graph": {"target": "Everything", "file": str(folder), "elementary": ["Sum"]}})
    student = shipped.resolve("embedded:student")
    with RunFolder.create(own.run.storage, own) as run:
        taken = take_seeds(own, run, lambda: make_examiner(own, student, []))
        assert taken == {"accepted": 4, "textbooks": 1, "schema": 1, "duplicate": 1}
        items_ = {item.request.id: item for item in items(run.journal)}
        events: list[dict[str, Any]] = []
        rows = [numbers(row, at) for _, rows in iter_segments(run.journal, STREAM) for at, row in enumerate(rows)]
        supply = Supply(own, events.append, kept_start(own.graph, run))
        supply.restore([{"event": "seeds", "id": 7}], [(0, row) for row in rows])
        supply.start()
    assert items_[1].request.skills == ("sums",)
    phoenix, sums = items_[2].item, items_[5].item
    assert (sums.skills, sums.solution, sums.answer) == (("sums",), "Count on from 1.", "2")
    assert (phoenix.skills, phoenix.answer) == (("phoenix",), "A constellation.")
    book = items_[7].item
    assert isinstance(book, Textbook)
    assert book.skill == "phoenix"
    assert book.text.startswith("Phoenix is")
    assert book.text.endswith("Ankaa.")
    assert book.text.count("Phoenix is") == 3
    assert supply.taught == ("phoenix",)
    assert supply.elementary == {"sums"}
    assert [e["skills"] for e in events if e["event"] == "request" and e["kind"] == Kind.TEXTBOOK] == []
    assert supply.textbooks_settled
    ordered = [e for e in events if e["event"] == "request"]
    assert len([e for e in ordered if e["skills"][0] == "phoenix"]) == own.generate.exercises_per_skill
    assert min(e["id"] for e in ordered) == 8
    again = Supply(own, (later := []).append, read_start(own.graph))
    again.restore([{"event": "seeds", "id": 7}, *ordered], [(0, row) for row in rows])
    again.start()
    assert [e for e in later if e["event"] == "request"] == []


def test_a_changed_file_or_prompt_is_noticed_when_a_run_is_gone_on_with(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", GSM)
    own = config(tmp_path, {"path": path, "skill": "S"})
    with RunFolder.create(own.run.storage, own) as run:
        check_fingerprint(own, run)
        check_fingerprint(own, run)
        (tmp_path / "exercise.j2").write_text("{% block system %}s{% endblock %}{% block user %}u{% endblock %}")
        with pytest.raises(ConfigError, match=r"generate\.prompts exercise\.j2"):
            check_fingerprint(config(tmp_path, {"path": path, "skill": "S"}, prompts=str(tmp_path)), run)
        (tmp_path / "own").mkdir()
        (tmp_path / "exercise.j2").rename(tmp_path / "own" / "class_exercise.j2")
        with pytest.raises(ConfigError, match=r"generate\.prompts class_exercise\.j2"):
            check_fingerprint(config(tmp_path, {"path": path, "skill": "S"}, prompts=str(tmp_path / "own")), run)
        lines(tmp_path / "a.jsonl", GSM, GSM)
        with pytest.raises(ConfigError, match=r"generate\.seeds .*a\.jsonl"):
            check_fingerprint(own, run)
        check_fingerprint(own, run, allow=True)
        check_fingerprint(own, run)


def test_what_a_template_includes_and_checks_of_ones_own_are_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    texts = {
        "exercise.j2": "{% block system %}{% include 'tone.j2' %}{% endblock %}{% block user %}u{% endblock %}",
        "tone.j2": "{% import 'words.j2' as words %}Be brief.",
        "words.j2": "",
    }

    def prompts(**changes: str) -> Config:
        folder = tmp_path / f"prompts-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, text in {**texts, **{f"{name}.j2": text for name, text in changes.items()}}.items():
            (folder / name).write_text(text)
        return config(tmp_path, prompts=str(folder), checks={"user": ["own_check_of_seeding:short"]})

    module = tmp_path / "own_check_of_seeding.py"
    module.write_text("def short(item): return None\n")
    own = prompts()
    with RunFolder.create(own.run.storage, own) as run:
        check_fingerprint(own, run)
        check_fingerprint(prompts(), run)
        with pytest.raises(ConfigError, match=r"generate\.prompts tone\.j2"):
            check_fingerprint(prompts(tone="Be long."), run)
        with pytest.raises(ConfigError, match=r"generate\.prompts words\.j2"):
            check_fingerprint(prompts(words="a"), run)
        module.write_text("def short(item): return 'long'\n")
        with pytest.raises(ConfigError, match=r"generate\.checks\.user own_check_of_seeding:short"):
            check_fingerprint(own, run)


def test_a_run_whose_fingerprint_has_less_is_gone_on_with_and_has_it_from_then_on(tmp_path: Path) -> None:
    own = config(tmp_path)
    with RunFolder.create(own.run.storage, own) as run:
        check_fingerprint(own, run)
        whole = json.loads(run.read_text("fingerprint.json"))
        run.write_text("fingerprint.json", json.dumps({"generate.prompts hint.j2": whole["generate.prompts hint.j2"]}))
        check_fingerprint(own, run)
        assert json.loads(run.read_text("fingerprint.json")) == whole


def test_a_check_of_ones_own_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    own = config(tmp_path, checks={"user": ["no_such_module_at_all:short"]})
    with RunFolder.create(own.run.storage, own) as run, pytest.raises(ConfigError, match="there is no module"):
        check_fingerprint(own, run)


@pytest.mark.parametrize(
    ("text", "solution", "answer"),
    [
        ("Paris.", "Paris.", "Paris."),
        ("Two and two.\n#### 4", "Two and two.", "4"),
        ("Roses are red,\nviolets are blue.", "Roses are red,\nviolets are blue.", "Roses are red,\nviolets are blue."),
        ("It is long. " * 30 + "\nForty-two.", ("It is long. " * 30).strip(), "Forty-two."),
    ],
)
def test_an_example_is_taken_apart_where_it_marks_an_answer_or_is_too_long(
    text: str, solution: str, answer: str
) -> None:
    (seed,) = seeds_of([("sums", "What?", text)])
    assert isinstance(seed, Seed)
    assert (seed.skills, seed.solution.strip(), seed.answer) == (("sums",), solution, answer)
    (bad,) = seeds_of([("sums", "What?", "It is long. " * 30)])
    assert isinstance(bad, BadSeed)
