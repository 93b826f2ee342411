"""What ladders taught becomes part of the run that they are of, and is trained on."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from dsa_ray import laddering, local
from dsa_ray.actors.replica import Replica
from dsa_ray.embedded.engine import exact_writer
from dsa_ray.engines.base import EngineAnswer, EngineCall
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladder_intake import SAMPLES, take_in
from dsa_ray.ladders.ladder import Ladder, Shape
from dsa_ray.sections import LaddersConfig
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_from_row
from dsa_ray.streams.climber import Answering, Climber
from tests.engines.scripted import ScriptedEngine
from tests.test_local import small


def student(call: EngineCall) -> EngineAnswer:
    """Wrong at first, then gives up thinking: the exact teacher's solutions are shown in the end."""
    return EngineAnswer(text=f"Answer: {len(call.messages)}0123", finish_reason="stop", output_tokens=4)


async def climbed(run: RunFolder, record: laddering._Record) -> list[Ladder]:
    """Ladders for the run, all in this process."""
    config, over = run.config, []
    climber = Climber(
        Replica("teacher", config, exact_writer()),
        Replica("student", config, ScriptedEngine(student)),
        Examiner(config, StudentTokenizer(config.student.model), ()).examine,
        AnswerChecker(2.0),
        Shape(generalized=1, harder=1, refinements=1),
        Answering(max_tokens=16),
    )
    basics = laddering.starts(record, LaddersConfig(hard_verdicts=1, per_skill=2))
    await climber.climb_all(basics, 8, over.append)
    climber.close()
    return over


def test_a_run_is_resumed_with_what_its_ladders_taught(tmp_path: Path) -> None:
    config = small(tmp_path, yoda={"demonstrate": True})
    with RunFolder.create(config.run.storage, config) as folder:
        examiner = Examiner(config, StudentTokenizer(config.student.model), ())
        before = local.run(config, folder, exact_writer(), examiner, config.student.model).facts()
        record = laddering._Record.read(folder)
        ladders = asyncio.run(climbed(folder, record))
        assert ladders
        counts = laddering._conclude(folder, config, ladders, Counter())
        taken = take_in(folder)
        assert sum(taken.values()) == counts["samples"] > 0
        assert take_in(folder) == {}
        items = [written_from_row(row) for _, rows in iter_segments(folder.journal, STREAM) for row in rows]
        samples = [item for item in items if dict(item.checks).get("ladder")]
        assert {item.request.parents[0] for item in samples} <= set(record.written)
        assert len({item.request.id for item in items}) == len(items)
        dialogues = [item for item in samples if dict(item.checks)["turns"] != "1"]
        assert dialogues
        tokenizer = StudentTokenizer(config.student.model).tokenizer
        for item in dialogues:
            assert "Try again." in tokenizer.decode(item.input_ids[: item.prompt_tokens])
            assert tokenizer.decode(item.input_ids[item.prompt_tokens : -1]) == item.item.solution
        longer = config.model_copy(update={"train": config.train.model_copy(update={"steps": 80})})
        after = local.run(longer, folder, exact_writer(), examiner, config.student.model).facts()
    new = {item.request.id for item in samples}
    assert not new & set(before["exercises"])
    assert new <= set(after["exercises"])
    assert any(after["exercises"][number]["visits"] for number in new)


def test_nothing_is_taken_in_where_nothing_was_climbed(tmp_path: Path) -> None:
    config = small(tmp_path)
    with RunFolder.create(config.run.storage, config) as folder:
        assert take_in(folder) == {}
        assert not folder.exists(SAMPLES)
