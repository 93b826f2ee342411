"""Writing without training, in one process: reviews, budget, seeds, and what a resumed run does again (nothing)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dsa_ray import local
from dsa_ray.config import Config, parse
from dsa_ray.curriculum.host import CuratorHost
from dsa_ray.embedded import shipped
from dsa_ray.embedded.engine import ExactEngine, exact_writer
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Exercise, Kind, Written
from dsa_ray.seeding import take_seeds
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_from_row


@pytest.fixture(scope="module")
def tokenizer() -> StudentTokenizer:
    return StudentTokenizer(shipped.resolve("embedded:student"))


def small(folder: Path, **generate: Any) -> Config:
    return parse(
        {
            "run": {"name": "writing", "storage": str(folder)},
            "graph": {"target": "Differential calculus", "max_skills": 5, "elementary": ["Addition", "Powers"]},
            "teacher": {"kind": "python", "factory": "dsa_ray.embedded.engine:exact_writer"},
            "generate": {"exercises_per_skill": 4, "in_flight": 16, "slots": 32, **generate},
        }
    )


def write(config: Config, tokenizer: StudentTokenizer, engine: Any = None, resume: bool = False) -> CuratorHost:
    with RunFolder.create(config.run.storage, config, resume=resume) as folder:
        known = [item.content_hash for item in items(folder.path)]
        examiner = Examiner(config, tokenizer, (), known)
        return local.generate(config, folder, engine or exact_writer(), examiner)


def items(path: str) -> list[Written]:
    return [written_from_row(row) for _, rows in iter_segments(f"{path}/journal", STREAM) for row in rows]


def events(config: Config, name: str) -> list[dict[str, Any]]:
    journal = f"{config.run.storage}/{config.run.name}/journal"
    return [row for _, rows in iter_segments(journal, "events") for row in rows if row["event"] == name]


def test_all_that_is_ordered_is_written_and_the_cost_is_kept_by_skill_and_kind(tmp_path: Path, tokenizer) -> None:
    config = small(tmp_path)
    host = write(config, tokenizer)
    facts = host.facts()
    kinds = Counter(item.request.kind for item in items(f"{tmp_path}/writing"))
    assert kinds[Kind.TEXTBOOK] == len(host.curator.supply.taught)
    assert kinds[Kind.EXERCISE] >= 4 * len(host.curator.supply.taught)
    assert facts["planted"] == 0
    spending = facts["spending"]
    assert spending["by_kind"]["exercise"]["items"] == kinds[Kind.EXERCISE]
    assert spending["total"]["output_tokens"] == sum(item.output_tokens for item in items(f"{tmp_path}/writing"))
    assert sum(cost["output_tokens"] for cost in spending["by_skill"].values()) == spending["total"]["output_tokens"]


def test_a_finished_run_that_is_resumed_writes_nothing_and_knows_the_same(tmp_path: Path, tokenizer) -> None:
    config = small(tmp_path, checks={"votes": 3, "judge": 4})
    first = write(config, tokenizer).facts()
    before = items(f"{tmp_path}/writing")
    again = write(config, tokenizer, resume=True).facts()
    assert items(f"{tmp_path}/writing") == before
    for name in ("items_written", "rejected", "output_tokens", "exercises"):
        assert again[name] == first[name]
    assert again["spending"]["total"]["items"] == first["spending"]["total"]["items"]


class SometimesWrong(ExactEngine):
    """Exercises err, and every third answer to a question; critiques are right."""

    async def generate(self, call: Any) -> Any:
        request = call.assignment.request
        self.error_rate = 0.5 if request.kind is Kind.EXERCISE else 0.0
        answer = await super().generate(call)
        if request.kind is Kind.ANSWER and request.id % 3 == 0:
            text = json.dumps({"solution": "By guessing.", "answer": "wrong"})
            return type(answer)(text=text, finish_reason="stop", output_tokens=5)
        return answer


def test_votes_put_wrong_answers_right(tmp_path: Path, tokenizer) -> None:
    from dsa_ray.embedded import compose

    config = small(tmp_path, checks={"votes": 5, "agreement": 0.5})
    host = write(config, tokenizer, SometimesWrong())
    written = {item.request.id: item for item in items(f"{tmp_path}/writing")}
    exercises = [item for item in written.values() if item.request.kind is Kind.EXERCISE]
    wrong = [e for e in exercises if isinstance(e.item, Exercise) and compose.solve(e.item.question) != e.item.answer]
    assert len(wrong) > len(exercises) / 4
    reviews = {event["id"]: event for event in events(config, "review")}
    assert reviews.keys() == {exercise.request.id for exercise in exercises}
    table = host.curator.table
    kept = [number for number in reviews if number in set(table.ids())]
    assert len(kept) > 0.9 * len(exercises)
    for number in kept:
        trained = written[reviews[number]["winner"]].item
        assert isinstance(trained, Exercise)
        assert trained.answer == compose.solve(trained.question)
        assert trained.question == written[number].item.question


def test_a_judge_drops_what_it_finds_wrong(tmp_path: Path, tokenizer) -> None:
    config = small(tmp_path, checks={"judge": 4})
    host = write(config, tokenizer, SometimesWrong())
    scores = [event["score"] for event in events(config, "review")]
    assert set(scores) == {1, 5}
    assert host.facts()["rejected"]["judge"] == scores.count(1)
    assert len(host.curator.table) == scores.count(5)


def test_the_budget_ends_generation_and_is_never_exceeded(tmp_path: Path, tokenizer) -> None:
    free = write(small(tmp_path / "free", exercises_per_skill=16), tokenizer).facts()["spending"]["total"]
    limit = free["output_tokens"] // 2
    config = small(tmp_path / "paid", exercises_per_skill=16, budget={"tokens": limit})
    host = write(config, tokenizer)
    facts = host.facts()
    assert 0 < facts["spending"]["total"]["output_tokens"] <= limit
    assert facts["status"]["spent"]["over"] is True
    closed = events(config, "budget")
    assert [event["unwritten"] > 0 for event in closed] == [True]
    richer = small(tmp_path / "paid", exercises_per_skill=16, budget={"tokens": 100 * limit})
    again = write(richer, tokenizer, resume=True).facts()
    assert again["status"]["spent"]["over"] is False
    assert again["spending"]["total"]["output_tokens"] > limit


def test_a_price_is_a_budget_too_and_one_without_prices_is_refused(tmp_path: Path, tokenizer) -> None:
    budget = {"money": 0.02, "output_price": 4.0}
    host = write(small(tmp_path, budget=budget), tokenizer)
    assert 0.0 < host.facts()["spending"]["money"] <= 0.02
    with pytest.raises(Exception, match=r"generate\.budget\.money"):
        small(tmp_path, budget={"money": 1.0})


def test_a_taxonomys_examples_and_passages_are_there_and_the_rest_is_written_once(tmp_path: Path, tokenizer) -> None:
    page = "A power is a product of equal factors: 2*2*2 is written 2^3, and 2 is called its base. " * 2
    for name in ("addition", "powers"):
        pairs = [{"question": f"What are {n} and {n} under {name}?", "answer": f"Known.\n#### {n}"} for n in range(3)]
        examples = [{"context": page, "questions_and_answers": pairs}] if name == "powers" else pairs
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "qna.yaml").write_text(json.dumps({"version": 3, "seed_examples": examples}))
    config = small(tmp_path)
    graph = {"target": "Arithmetic", "file": str(tmp_path / "tree")}
    config = parse({**config.model_dump(), "graph": graph})
    with RunFolder.create(config.run.storage, config) as folder:
        taken = take_seeds(config, folder, lambda: Examiner(config, tokenizer, ()))
    assert taken == {"accepted": 6, "textbooks": 1}

    def kinds() -> Counter[tuple[str, str]]:
        return Counter((item.request.kind.value, item.request.skills[0]) for item in items(f"{tmp_path}/writing"))

    host = write(config, tokenizer, resume=True)
    assert host.curator.supply.taught == ("addition", "powers")
    written = kinds()
    assert [written["given", name] for name in ("addition", "powers")] == [3, 3]
    assert [written["textbook", name] for name in ("addition", "powers")] == [1, 1]
    assert [written["exercise", name] for name in ("addition", "powers")] == [4, 4]
    assert host.curator.supply.textbooks["powers"][0] == 7
    write(config, tokenizer, resume=True)
    assert kinds() == written
