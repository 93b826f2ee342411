"""Where the two small models lie that come with the package."""

from __future__ import annotations

from pathlib import Path

from dsa_ray.sections import TeacherConfig

MODELS = Path(__file__).parent / "models"
PREFIX = "embedded:"


def resolve(model: str) -> str:
    """The folder of `embedded:teacher` or `embedded:student`; any other name as it is.

    Raises:
        FileNotFoundError: an embedded model that is not there; the line says how to rebuild it.
    """
    if not model.startswith(PREFIX):
        return model
    folder = MODELS / model.removeprefix(PREFIX)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{model}: not in {MODELS}; rebuild it by `python -m dsa_ray.embedded.recipe`")
    return str(folder)


def served(teacher: TeacherConfig) -> str:
    """What an engine of this teacher is given as its model: vLLM reads a folder, the others know it by name."""
    return resolve(teacher.model) if teacher.kind == "vllm" else teacher.model
