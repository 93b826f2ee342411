"""GSM8K as the benchmarks take it: two JSONL files, `gsm8k_train.jsonl` and `gsm8k_test.jsonl`, in one folder."""

from __future__ import annotations

import json
from pathlib import Path

REMEDY = "give the folder that holds gsm8k_train.jsonl and gsm8k_test.jsonl by --data FOLDER"


def read(folder: str | None, split: str) -> list[dict[str, str]]:
    """The rows of a split: `question` and `answer` (the reasoning, then `#### NUMBER`). Exits with one line."""
    path = Path(folder or ".") / f"gsm8k_{split}.jsonl"
    if not path.is_file():
        raise SystemExit(f"there is no file {path}; {REMEDY}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
