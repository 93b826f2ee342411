"""The parts of the LEGO benchmark, at sizes that say nothing about methods."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

BENCH = Path(__file__).resolve().parents[2] / "jobs" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import _lego_arms
    import _lego_model
    import _lego_plot
    import _lego_settings
    import lego

    yield type("Bench", (), {"arms": _lego_arms, "model": _lego_model, "plot": _lego_plot, "settings": _lego_settings,
                             "job": lego})  # fmt: skip
    for name in ("_lego_arms", "_lego_model", "_lego_plot", "_lego_settings", "lego"):
        sys.modules.pop(name, None)


def micro(bench, **changes):
    setting = bench.settings.SETTINGS["tiny"]
    small = {"steps": 24, "batch": 6, "hidden": 16, "layers": 1, "heads": 2, "evaluations": 12}
    small |= {"lookups": 2, "chains": 2}
    return dataclasses.replace(setting, **small, **changes)


def test_every_setting_has_whole_rounds_and_evaluations(bench):
    for setting in bench.settings.SETTINGS.values():
        assert setting.steps % setting.rounds == 0
        assert setting.round_steps % setting.every == 0


def test_the_pieces_hold_everything_but_the_spaces_between_digits(bench):
    for setting in bench.settings.SETTINGS.values():
        sample = setting.task.sample(2, Random(1))
        ids = bench.model.pieces(sample.text)
        names = {number: piece for piece, number in bench.model._NUMBER.items()}
        assert "".join(names[number] for number in ids).replace(" ", "") == sample.text.replace(" ", "")
        assert bench.model.pieces(sample.prompt) == ids[:-1]


def test_a_look_up_is_answered_by_its_own_clause(bench):
    for seed in range(20):
        prompt, answer = bench.model.lookup(Random(seed), 3)
        asked = prompt[-1]
        assert prompt.count(f"{asked}{answer}") == 1
        letters = re.findall(r"([a-z]) = ", prompt)
        sources = re.findall(r"(?:val|not) ([a-z])", prompt)
        assert not set(letters) & set(sources)


def test_every_arm_trains_all_its_steps_on_new_samples(bench, tmp_path: Path):
    setting = micro(bench)
    for arm in bench.settings.ARMS:
        result = bench.arms.run(setting, arm, seed=1, folder=tmp_path)
        assert result["steps"] == list(range(0, 25, 2))
        assert len(result["losses"][0]) == 3
        json.dumps(result)


def test_arms_differ_in_what_they_train_on(bench, tmp_path: Path):
    setting = micro(bench)
    skills = {}
    for arm in bench.settings.ARMS:
        model, encode = bench.model.base_model(setting, tmp_path, 0)
        learner = bench.model.Learner(setting, model, encode, setting.steps)
        kept = bench.arms.Evaluations(setting)
        kept.take(learner, 0)
        source = bench.arms.Source(setting.task, 1, kept.prompts)
        batches = list(bench.arms.arm_batches(setting, arm, learner, source, kept, []))
        assert [len(batch) for batch in batches] == [6] * 24
        samples = [sample for batch in batches for sample in batch]
        assert all(setting.task.solve(sample.prompt) == sample.answer for sample in samples)
        if "curriculum" not in arm:
            assert len({sample.prompt for sample in samples}) == len(samples)
        skills[arm] = Counter(sample.skill for sample in samples)
        first = Counter(sample.skill for sample in samples[:12])
        assert len(first) == 1 if arm.startswith("skill-") and "curriculum" in arm else len(first) > 1
    assert skills["stratified"] == {1: 48, 2: 48, 3: 48}
    assert skills["random"][3] > skills["random"][2] > skills["random"][1]


def test_a_stopped_benchmark_goes_on_and_another_setting_is_refused(bench, tmp_path: Path, monkeypatch):
    setting = micro(bench)
    runs = bench.job.measure(setting, ["stratified"], 2, tmp_path, None)
    monkeypatch.setattr(bench.job, "run", None)
    assert bench.job.measure(setting, ["stratified"], 2, tmp_path, None) == runs
    with pytest.raises(SystemExit, match="another setting"):
        bench.job.measure(micro(bench, eta=0.1), ["stratified"], 1, tmp_path, None)


def test_the_table_and_the_page_say_what_was_measured(bench):
    steps = [0, 10, 20]
    runs = {
        arm: [{"steps": steps, "accuracy": [[0.5, 0.5]] * 2 + [[a, a]], "losses": [[1.0, 1.0]] * 3} for a in ends]
        for arm, ends in {"stratified": (0.8, 1.0), "skill-it": (0.9, 0.9)}.items()
    }
    end = bench.arms.summary(runs, 1.0)
    assert end["stratified"]["accuracy"] == {"mean": 0.9, "half": pytest.approx(1.2706, abs=1e-4)}
    assert end["skill-it"]["per_skill"] == [0.9, 0.9]
    assert bench.arms.summary(runs, 0.5)["skill-it"]["step"] == 10
    bars = bench.job.bars(bench.arms.summary(runs, 0.5), end)
    assert bars["stratified_worst_skill"]["ok"]
    assert set(bars) == {"stratified_worst_skill", "half_way_lead_over_stratified"}
    html = bench.plot.page(runs, "LEGO", 0.5, published=True)
    assert html.count("<polyline") == 2
    assert "skill-it 90.0 % (paper 99.4)" in html
    assert "http" not in html.replace("http://www.w3.org", "")
