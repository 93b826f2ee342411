"""The feedback benchmark's arm without Ray, on a small set: longer epochs, longer lag."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def test_the_lag_of_the_epoch_wise_schedule_grows_with_its_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "jobs" / "bench"))
    before = set(sys.modules)
    import feedback

    try:
        monkeypatch.setattr(feedback, "EPOCHS", 4)
        lags = []
        for exercises in (160, 640):
            monkeypatch.setattr(feedback, "EPOCH_SET", exercises)
            found = feedback.epoch_wise()
            assert found["children_trained"] > 10
            lags.append(found["lag_steps"]["p50"])
        assert lags[1] > 2 * lags[0]
    finally:
        for name in {"feedback", "_paced", "_paced_teacher", "_result"} - before:
            sys.modules.pop(name, None)
