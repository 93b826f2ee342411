"""One exercise family per skill of the syllabus, by topic."""

from __future__ import annotations

from dsa_ray.embedded.families import algebra, arithmetic, derivatives, integrals, limits
from dsa_ray.embedded.families.family import RESULT, Family, Problem
from dsa_ray.embedded.families.poly import Poly

FAMILIES: dict[str, Family] = {
    family.skill: family for topic in (arithmetic, algebra, limits, derivatives, integrals) for family in topic.FAMILIES
}
"""By skill id."""

__all__ = ["FAMILIES", "RESULT", "Family", "Poly", "Problem"]
