"""From an assignment to an engine's call, and from its answer to a completion."""

from __future__ import annotations

from collections.abc import Sequence

from dsa_ray.config import Config
from dsa_ray.engines.base import EngineAnswer, EngineCall
from dsa_ray.generation.prompts import Prompt
from dsa_ray.records import Assignment, Completion, Written


def call_for(assignment: Assignment, parents: Sequence[Written], prompt: Prompt, config: Config) -> EngineCall:
    """What an engine is asked for an assignment, with the bounds and sampling of the configuration.

    Args:
        config: its `teacher` section is who is asked.
    """
    generate, teacher = config.generate, config.teacher
    textbook = prompt.max_tokens_kind == "textbook"
    return EngineCall(
        messages=prompt.messages,
        max_tokens=generate.max_textbook_tokens if textbook else generate.max_tokens,
        schema=prompt.schema if generate.structured else None,
        temperature=generate.temperature if teacher.temperature is None else teacher.temperature,
        top_p=generate.top_p if teacher.top_p is None else teacher.top_p,
        seed=assignment.request.seed,
        assignment=assignment,
        parents=tuple(parents),
    )


def completion(
    assignment: Assignment, prompt: Prompt, answer: EngineAnswer, origin: tuple[str, str], seconds: float
) -> Completion:
    """An answer with its origin: (generator, generator version)."""
    generator, version = origin
    return Completion(
        request=assignment.request,
        text=answer.text,
        finish_reason=answer.finish_reason,
        generator=generator,
        generator_version=version,
        prompt_version=prompt.version,
        output_tokens=answer.output_tokens,
        seconds=seconds,
        question=prompt.question,
        input_tokens=getattr(answer, "input_tokens", 0),
    )
