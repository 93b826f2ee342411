from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.records import Exercise, ExerciseRequest, Kind, Written
from dsa_ray.report.explain import UnknownExercise, render, trace
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.texts import written_row


def request(number: int, kind: Kind = Kind.EXERCISE, **more: Any) -> ExerciseRequest:
    return ExerciseRequest(id=number, kind=kind, skills=("chain-rule",), **more)


def asked(number: int, kind: Kind = Kind.EXERCISE, **more: Any) -> dict[str, Any]:
    return {"event": "request", **asdict(request(number, kind, **more))}


def leased(step: int, *visits: tuple[int, int]) -> dict[str, Any]:
    return {"event": "lease", "rows": [{"step": step, "items": [{"exercise": e, "visit": v} for e, v in visits]}]}


def observed(step: int, **losses: float) -> dict[str, Any]:
    ids = [int(name.removeprefix("e")) for name in losses]
    return {"event": "observe", "step": step, "rank": 0, "ids": ids, "losses": list(losses.values())}


def judged(number: int, step: int, children: list[int]) -> dict[str, Any]:
    decision = {"actions": ["augment"], "weight": 1.0}
    return {"event": "verdict", "exercise": number, "cycle": 0, "step": step, "verdict": "hard_to_learn",
            "reason": "mean 0.5 >= 0.1", "decision": decision, "children": children}  # fmt: skip


def journal(tmp_path: Path, events: list[dict[str, Any]], *written: Written) -> str:
    folder = str(tmp_path / "journal")
    SegmentWriter(folder, "events").write(events)
    if written:
        SegmentWriter(folder, "written").write([written_row(item) for item in written])
    return folder


def exercise(number: int, question: str = "What is 1 + 1?") -> Written:
    return Written(
        request=request(number),
        item=Exercise(skills=("chain-rule",), question=question, solution="Count.", answer="2"),
        generator="embedded:teacher",
        generator_version="0/teacher-0.0",
        prompt_version="exercise@3f9a1c20",
        content_hash=1,
        input_ids=(1, 2, 3, 4),
        prompt_tokens=2,
        checks=(("schema", "ok"),),
    )


def test_the_whole_story_of_an_exercise_is_told(tmp_path: Path) -> None:
    events = [
        asked(1),
        asked(2, parents=(1,), cause=(1, 0)),
        {"event": "reject", "id": 2, "final": False, "reason": "duplicate"},
        leased(4, (2, 1)),
        observed(4, e1=0.5, e2=1.25),
        judged(2, 4, [3]),
        asked(3, Kind.VARIANT, parents=(2,), cause=(2, 0)),
    ]
    found = trace(journal(tmp_path, events, exercise(1), exercise(2)), 2)
    assert [(visit.step, visit.visit, visit.loss) for visit in found.visits] == [(4, 1, 1.25)]
    assert [number for number, _ in found.ancestors] == [1]
    assert [row["id"] for row in found.children] == [3]
    text = render(found)
    for words in ("exercise@3f9a1c20", "segment 1, row 1" if found.place.segment else "segment 0, row 1", "duplicate",
                  "visit 1: step 4, rank 0, loss 1.2500", "hard_to_learn", "augment", "ordered 3", "What is 1 + 1?",
                  "the verdict of exercise 1 in cycle 0", "schema ok"):  # fmt: skip
        assert words in text


def test_steps_that_the_resumed_weights_never_took_are_left_out(tmp_path: Path) -> None:
    events = [
        asked(1),
        observed(4, e1=0.5),
        observed(5, e1=0.4),
        judged(1, 5, []),
        {"event": "attempt", "attempt": 2, "step": 4},
    ]
    found = trace(journal(tmp_path, [*events, observed(5, e1=0.3)]), 1)
    assert [(visit.step, visit.loss) for visit in found.visits] == [(4, 0.5), (5, 0.3)]
    assert found.verdicts == []


def test_a_request_that_is_not_written_yet_is_told_so(tmp_path: Path) -> None:
    assert "not (yet)" in render(trace(journal(tmp_path, [asked(1)]), 1))


def test_a_planted_wrong_answer_names_its_sources(tmp_path: Path) -> None:
    folder = journal(tmp_path, [asked(1), asked(2), {"event": "plant", "id": 9, "question": 1, "answer": 2}])
    assert "question of 1, answer of 2" in render(trace(folder, 9))


def test_ancestors_that_name_each_other_do_not_hang(tmp_path: Path) -> None:
    folder = journal(tmp_path, [asked(1, parents=(2,)), asked(2, parents=(1,))])
    assert [number for number, _ in trace(folder, 1).ancestors] == [2, 1]


def test_an_unknown_id_says_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownExercise, match="1 to 1"):
        trace(journal(tmp_path, [asked(1)]), 7)


def test_model_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    text = render(trace(journal(tmp_path, [asked(1)], exercise(1, "\x1b[2Jgone\x07\u202e")), 1))
    assert text.replace("\n", "").isprintable()
