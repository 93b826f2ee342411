from typing import Any

import pytest

from dsa_ray.curriculum.latest import LatestVerdicts
from dsa_ray.curriculum.places import Places
from dsa_ray.records import TextRef, Verdict, VerdictClass
from dsa_ray.storage.state import pack_state, unpack_state


def verdict(exercise: int, **changes: Any) -> Verdict:
    values = {"cycle": 0, "step": 3, "verdict": VerdictClass.EASY, "mean_loss": 0.5, "loss_spread": 0.1, "reason": "r"}
    return Verdict(exercise=exercise, **{**values, **changes})


def test_a_later_verdict_replaces_an_earlier_one():
    latest = LatestVerdicts()
    latest.put(verdict(7))
    latest.put(verdict(2, verdict=VerdictClass.HARD))
    latest.put(verdict(7, verdict=VerdictClass.AMBIGUOUS, mean_loss=1.5))
    assert latest.facts(7) == {"verdict": "ambiguous", "mean_loss": 1.5, "loss_spread": 0.1}
    assert latest.facts(2)["verdict"] == "hard_to_learn"
    assert latest.facts(3) == {"verdict": None, "mean_loss": None, "loss_spread": None}
    assert len(latest) == 2


def test_they_come_back_from_a_checkpoint():
    latest, again = LatestVerdicts(), LatestVerdicts()
    for exercise in range(3000, 0, -1):
        latest.put(verdict(exercise, mean_loss=float(exercise)))
    again.load_state_dict(unpack_state(pack_state(latest.state_dict())))
    assert all(again.facts(exercise) == latest.facts(exercise) for exercise in range(3010))


def test_places_are_a_mapping_over_written_ids():
    places = Places()
    places[5] = TextRef(segment=0, row=9)
    places[4000] = TextRef(segment=7, row=0)
    assert places[5] == TextRef(segment=0, row=9)
    assert places[4000] == TextRef(segment=7, row=0)
    assert [id in places for id in (4, 5, 4000, 4001, -1, 10**9)] == [False, True, True, False, False, False]
    with pytest.raises(KeyError):
        places[6]
