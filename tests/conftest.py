"""Shared by all tests."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Machines under load are slow, not wrong: pytest's own timeout is the deadline.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# Ray asks for a token as soon as the user has one, once per process: a process that changed its mind would be refused.
os.environ["RAY_AUTH_MODE"] = "disabled"


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A test leaves the environment as it found it: engines that run in this process set variables."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def no_ray_left() -> Iterator[None]:
    """For tests that start a Ray in this process: it ends with them."""
    yield
    sys.modules["ray"].shutdown()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and lose much where the cores are shared."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
