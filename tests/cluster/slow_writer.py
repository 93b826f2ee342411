"""The exact writer at a pace at which a backlog lasts."""

from dsa_ray.embedded.engine import ExactEngine


def slow_writer() -> ExactEngine:
    """What `teacher.factory` names."""
    return ExactEngine(seconds=0.6)
