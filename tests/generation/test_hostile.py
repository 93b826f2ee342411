"""Two thousand hostile answers: each is a valid item or a counted rejection, and none runs code."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

from dsa_ray.config import parse
from dsa_ray.generation.checks import REASONS, Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Exercise, Rejection, Textbook, Written
from dsa_ray.storage.texts import written_from_row, written_row

COUNT = 2_000
BENCH = Path(__file__).parents[2] / "jobs" / "bench"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_hostile", BENCH / "_hostile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_hostile_answer_crashes_runs_code_or_takes_long(tokenizer_path: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    checks = {"mathematics": True, "near_duplicate": 0.9}
    config = parse(
        {
            "run": {"name": "r"},
            "graph": {"target": "t"},
            "generate": {"checks": checks},
        }
    )
    examiner = Examiner(config, StudentTokenizer(tokenizer_path), held_out=["What is 2 times 3?"])
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for completion in generator().completions(COUNT, str(canary), seed=1):
        began = time.thread_time()
        result = examiner.examine(completion)
        slowest = max(slowest, time.thread_time() - began)
        if isinstance(result, Rejection):
            assert result.reason in REASONS
            assert len(result.detail.encode("utf-8")) <= 800
        else:
            assert valid(result)
        outcomes["accepted" if isinstance(result, Written) else result.reason] += 1
    examiner.close()
    assert sum(outcomes.values()) == COUNT
    assert outcomes["accepted"] > COUNT / 10
    assert len(outcomes) > 8
    assert slowest < 2.0
    assert not canary.exists()


def valid(written: Written) -> bool:
    """It survives the journal and holds text that can be stored."""
    assert written_from_row(json.loads(json.dumps(written_row(written)))) == written
    item = written.item
    if isinstance(item, Exercise):
        texts = [item.question, item.solution, item.answer]
    else:
        texts = [item.text] if isinstance(item, Textbook) else [name for name, _ in item.names]
    return all(text.strip() and text.encode("utf-8") and "\x00" not in text for text in texts)
