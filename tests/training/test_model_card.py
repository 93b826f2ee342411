from pathlib import Path

import pytest
import yaml

from dsa_ray.config import Config, parse
from dsa_ray.training.model_card import CardFacts, license_of, model_card


def a_config(target: str = "Calculus", **sections: dict) -> Config:
    return parse({"run": {"name": "one"}, "graph": {"target": target}, **sections})


def front(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_has_the_facts_of_the_run() -> None:
    facts = CardFacts(
        step=1200,
        skills=24,
        prerequisites=41,
        textbooks=20,
        exercises=3400,
        accuracy={"before": 0.25, "after": 0.75},
        base_license="mit",
    )
    card = model_card(a_config(student={"model": "owner/base"}), facts)
    assert front(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["dsa_ray", "skill-graph", "synthetic-data"],
        "base_model": "owner/base",
        "license": "mit",
    }
    for line in (
        "| Optimizer steps | 1,200 |",
        "| Skill graph | 24 skills, 41 prerequisites |",
        "| Exercises written | 3,400 |",
        "| Accuracy before | 25.0% |",
        "| Accuracy after | 75.0% |",
        "| Base model | `owner/base` |",
    ):
        assert line in card
    assert "torch " in card


def test_what_is_not_known_is_left_out_and_paths_are_not_told() -> None:
    card = model_card(a_config(student={"model": "/home/somebody/models/base"}), CardFacts(step=1))
    assert "somebody" not in card
    assert "`base`" in card
    assert "Accuracy" not in card
    assert "Exercises" not in card
    assert {"license", "base_model"} & front(card).keys() == set()


def test_an_adapter_says_so() -> None:
    card = model_card(a_config(train={"lora_rank": 8}), CardFacts(step=1))
    assert front(card)["library_name"] == "peft"
    assert "LoRA, rank 8," in card


def test_a_model_with_its_adapter_folded_in_is_loaded_by_transformers() -> None:
    card = model_card(a_config(train={"lora_rank": 8}), CardFacts(step=1, merged=True))
    assert front(card)["library_name"] == "transformers"
    assert "LoRA, rank 8, merged" in card


def test_a_target_cannot_become_markup() -> None:
    card = model_card(a_config("x`\n---\nlicense: stolen\n<script>|a|"), CardFacts(step=1))
    assert "license" not in front(card)
    assert "`x' --- license: stolen <script>/a/`" in card


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n# A model", "apache-2.0"),
        ("---\nlicense: [a, b]\n---\n", None),
        ("---\nlicense: 'x\\n<b>'\n---\n", None),
        ("---\n: : :\n---\n", None),
        ("# no front matter", None),
    ],
)
def test_the_bases_licence_is_read_from_its_card(tmp_path: Path, text: str, expected: str | None) -> None:
    (tmp_path / "README.md").write_text(text)
    assert license_of(str(tmp_path)) == expected


def test_licences_without_a_card() -> None:
    assert license_of("embedded:student") == "apache-2.0"
    assert license_of("nobody/has-this-model") is None
