"""The shipped models: made by the current recipe, loadable, and as able as promised."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dsa_ray.embedded import syllabus
from dsa_ray.embedded.exam import exam
from dsa_ray.embedded.recipe.build import MODELS, STUDENT, TEACHER, Recipe, fingerprint
from dsa_ray.embedded.recipe.measure import ask, exam_shares
from dsa_ray.embedded.recipe.teacher_report import decomposition, teacher_report


def loaded(name: str):
    folder = MODELS / name
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("recipe", [STUDENT, TEACHER], ids=lambda recipe: recipe.name)
def test_the_shipped_model_was_made_by_the_current_recipe(recipe: Recipe):
    shipped = json.loads((MODELS / recipe.name / "recipe.json").read_text())
    assert shipped["fingerprint"] == fingerprint(recipe), (
        "prompts or families changed: python -m dsa_ray.embedded.recipe"
    )


def test_the_models_are_small():
    assert sum(path.stat().st_size for path in Path(MODELS).rglob("*") if path.is_file()) < 8_000_000


def test_the_base_student_knows_the_elementary_skills_and_no_others():
    known = syllabus.load()
    shares = exam_shares(*loaded("student"), exam(4, seed=1))
    assert sum(shares[skill.id] for skill in known.elementary) / len(known.elementary) >= 0.75
    assert sum(shares[skill.id] for skill in known.taught) / len(known.taught) <= 0.1


@pytest.mark.slow
def test_the_teacher_writes_valid_and_mostly_right_exercises():
    torch.manual_seed(0)
    report = teacher_report(*loaded("teacher"), count=60, targets=())
    assert min(report["valid"].values()) >= 0.9
    assert report["right_exercises"] >= 0.7


@pytest.mark.parametrize("target", ["differential calculus", "integral calculus", syllabus.load().held_out])
def test_the_teacher_decomposes_a_target_into_a_deep_graph(target: str):
    torch.manual_seed(0)
    found = decomposition(*loaded("teacher"), target, temperature=0.7)
    assert found["skills"] >= 20
    assert found["levels"] >= 5


def test_any_prompt_gets_an_answer():
    model, tokenizer = loaded("teacher")
    assert len(ask(model, tokenizer, [[{"role": "user", "content": "Grüße, ∫ und 漢字"}]], 8)) == 1
