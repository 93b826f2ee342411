"""What writes text: one call, one answer, and the three ways in which it can fail.

EngineError    this request failed; others may succeed        -> data: the request is tried again elsewhere
EngineDead     the engine is gone                             -> its process ends and is replaced
EngineRefused  it will never answer (key, address, model)     -> the run stops with this line
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from dsa_ray.config import ConfigError
from dsa_ray.records import Assignment, Written
from dsa_ray.sections import TeacherConfig


class EngineError(Exception):
    """One request failed. A later attempt may succeed.

    Args:
        line: what happened.
        spent: what there was of an answer, where it cost tokens all the same.
    """

    def __init__(self, line: str, spent: EngineAnswer | None = None) -> None:
        super().__init__(line, spent)
        self.spent = spent

    def __str__(self) -> str:
        return str(self.args[0])


class EngineDead(Exception):
    """The engine is gone and answers nothing any more; its process has to be replaced."""


class EngineRefused(Exception):
    """A broken configuration, such as a wrong key or model name: no attempt can succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCall:
    """One request to an engine.

    Example:
        EngineCall(messages=[{"role": "user", "content": "What is 2 + 3?"}], max_tokens=16, temperature=0.0)
    """

    messages: Sequence[Mapping[str, str]]
    """Chat messages with `role` and `content`."""
    max_tokens: int
    """Longest answer, tokens of the engine's own tokenizer."""
    schema: Mapping[str, Any] | None = None
    """JSON schema that the answer is constrained to; none leaves it free."""
    temperature: float = 1.0
    """0 = greedy."""
    top_p: float = 1.0
    seed: int | None = None
    """Sampling seed; the same call with the same seed and weights may be answered alike."""
    assignment: Assignment | None = None
    """What the messages were rendered from, for engines that are not language models."""
    parents: tuple[Written, ...] = ()
    """The texts of the assignment's parents, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """What the engine wrote: untrusted text."""

    text: str
    finish_reason: str
    """`stop` or `length`."""
    output_tokens: int
    input_tokens: int = 0
    """Tokens of the prompt; 0 where the engine does not count them."""


@runtime_checkable
class TextEngine(Protocol):
    """An engine inside one asyncio event loop. Many `generate` calls run at the same time."""

    @property
    def version(self) -> str:
        """Version of the weights: `0` at the start, then what `load_weights` was given last."""
        ...

    async def start(self) -> None:
        """Make it ready to answer. Called once. Raises what made it impossible."""
        ...

    async def generate(self, call: EngineCall) -> EngineAnswer:
        """Answer one call. Cancelling the task gives the request up.

        Raises:
            EngineError: this request failed.
            EngineDead: the engine is gone.
            EngineRefused: no request can succeed.
        """
        ...

    async def load_weights(self, path: str, version: str) -> None:
        """Replace the weights in place; requests in flight go on with the new ones.

        Args:
            path: folder in Hugging Face format, of the same architecture.
            version: what `version` returns from now on.

        Raises:
            EngineError: the weights could not be loaded; the engine goes on with the old ones or ends.
        """
        ...

    async def stop(self) -> None:
        """Free everything. Idempotent."""
        ...


def build(
    teacher: TeacherConfig,
    model_path: str,
    gpus: float,
    *,
    concurrency: int = 64,
    threads: int = 1,
    timeout_s: float = 120.0,
    ray_metrics: bool = False,
) -> TextEngine:
    """The engine that a configuration names, not started.

    Args:
        teacher: its `teacher` section (the exam's student is served by a copy with its own model and lengths).
        model_path: folder or Hugging Face name, with `embedded:...` already resolved; with `openai` the served model.
        gpus: GPUs of the replica; 0 = CPU.
        concurrency: requests in flight at one time.
        threads: computing threads of an engine on CPU.
        timeout_s: deadline of one call to an endpoint, its retries included.
        ray_metrics: this process belongs to Ray, and the engine's own metrics may go to its agent.

    Raises:
        ConfigError: the factory of a `python` teacher cannot be imported or does not return an engine.
    """
    if teacher.kind == "vllm":
        from dsa_ray.engines.vllm_engine import VLLMEngine

        return VLLMEngine(
            teacher, model_path, gpus=gpus, concurrency=concurrency, threads=threads, ray_metrics=ray_metrics
        )
    if teacher.kind == "openai":
        from dsa_ray.engines.openai_engine import OpenAIEngine

        return OpenAIEngine(teacher, model_path, concurrency=concurrency, timeout_s=timeout_s)
    return from_factory(teacher.factory or "")


def from_factory(path: str) -> TextEngine:
    """The engine that `package.module:callable` returns; raises `ConfigError` if it does not."""
    module_name, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"teacher.factory: {path!r} cannot be imported ({error}); write package.module:callable"
        ) from None
    engine = factory()
    if not isinstance(engine, TextEngine):
        raise ConfigError(f"teacher.factory: {path!r} returned {type(engine).__name__}, which is not a text engine")
    return engine
