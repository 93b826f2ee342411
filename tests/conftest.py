"""Shared by all tests."""

from hypothesis import settings

# Machines under load are slow, not wrong: pytest's own timeout is the deadline.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
