import random

import numpy as np
import pytest

from dsa_ray.generation import seen
from dsa_ray.generation.seen import NOBODY, SeenHashes
from dsa_ray.storage.pages import distinct


def test_what_is_known_is_searched_where_it_lies() -> None:
    known = distinct(np.array([7, -3]), np.array([7, 2**62]))
    known.flags.writeable = False
    hashes = SeenHashes(known)
    hashes.add(7, 5)
    hashes.add(8, 6)
    assert [hashes.get(digest) for digest in (-3, 7, 2**62, 8, 9)] == [NOBODY, NOBODY, NOBODY, 6, None]
    assert len(hashes) == 4


def test_hashes_are_found_as_a_dict_finds_them_before_and_after_they_are_merged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seen, "_MERGE", 50)
    rng = random.Random(0)
    known = [rng.randrange(-(2**63), 2**63) for _ in range(30)]
    hashes, plain = SeenHashes([*known, known[0]]), dict.fromkeys(known, NOBODY)
    for item in range(500):
        digest = rng.choice(known) if rng.random() < 0.2 else rng.randrange(-(2**63), 2**63)
        known.append(digest)
        hashes.add(digest, item)
        plain.setdefault(digest, item)
    assert len(hashes) == len(plain)
    assert {digest: hashes.get(digest) for digest in plain} == plain
    assert hashes.get(17) is None
