import pytest

from dsa_ray.embedded import syllabus
from dsa_ray.embedded.families import FAMILIES
from dsa_ray.embedded.writers import prerequisites
from dsa_ray.records import SkillBrief
from dsa_ray.skills.names import normalise


def below(target: str) -> dict[str, list[str]]:
    """The prerequisites of every skill that recursive decomposition finds."""
    found: dict[str, list[str]] = {}
    pending = [target]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = [entry["name"] for entry in prerequisites(SkillBrief(id=normalise(name), name=name))]
            pending += found[name]
    return found


def depth(found: dict[str, list[str]], name: str) -> int:
    return 1 + max((depth(found, needed) for needed in found[name]), default=-1)


def test_every_skill_has_a_family_and_prerequisites_that_come_before_it():
    skills = syllabus.load().skills
    assert [skill.id for skill in skills] == list(FAMILIES)
    seen: set[str] = set()
    for skill in skills:
        assert set(skill.needs) <= seen
        assert bool(skill.needs) != skill.elementary
        seen.add(skill.name)


@pytest.mark.parametrize("target", ["differential calculus", "integral calculus", syllabus.load().held_out])
def test_a_target_decomposes_into_twenty_skills_on_five_levels(target: str):
    found = below(target)
    assert len(found) - 1 >= 20
    assert depth(found, target) >= 5


def test_names_are_found_in_other_spellings():
    known = syllabus.load()
    assert known.find("the chain-rule") is known.find("Chain rule for powers") is known.skill("chain-rule")
    assert known.find("cooking") is None


def test_the_held_out_target_shares_no_word_with_a_training_target():
    known = syllabus.load()
    small = {"of"}
    trained = {word for phrase, _ in known.targets() for word in phrase.split()}
    assert not (set(known.held_out.split()) - small) & trained


def test_a_phrase_names_the_field_of_its_longest_topic():
    known = syllabus.load()
    assert known.field_of("Introduction to Integral Calculus") is known.fields[1]
    assert known.field_of("calculus") is known.fields[2]
