"""vLLM as a text engine: inside this process on CPU, in processes of its own on GPUs.

On CPU vLLM's engine runs in a thread here (its supported `VLLM_ENABLE_V1_MULTIPROCESSING=0` mode), not behind
`AsyncLLM`: a second process would import vLLM again, which is most of an engine's start, take 0.7 GiB more, and answer
12 % fewer tokens per CPU second. On GPUs `AsyncLLM` keeps the card busy while this process handles requests.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineDead, EngineError, EngineRefused
from dsa_ray.engines.engine_thread import EngineThread
from dsa_ray.generation.tokens import DEFAULT_CHAT_TEMPLATE
from dsa_ray.sections import TeacherConfig
from dsa_ray.served_files import adapter_rank, chat_template

logger = logging.getLogger(__name__)

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Nothing is reported over the network, and only errors are logged."""


class _Core(Protocol):
    """What both ways of running vLLM offer here."""

    tokenizer: Any
    max_model_len: int

    async def generate(self, prompt: list[int], params: Any, request_id: str) -> Any: ...

    async def adapt(self, adapter: Any) -> None: ...

    async def reload(self, path: str, landed: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...


class VLLMEngine:
    """A model served by vLLM: chat template of its tokenizer, structured output, weights swapped in place."""

    def __init__(
        self,
        teacher: TeacherConfig,
        model_path: str,
        *,
        gpus: float = 0.0,
        concurrency: int = 64,
        threads: int = 1,
        own_process: bool | None = None,
        ray_metrics: bool = False,
    ) -> None:
        """
        Args:
            teacher: lengths, dtype and memory.
            model_path: folder or Hugging Face name.
            gpus: of the replica; 0 = CPU.
            concurrency: sequences in a batch.
            threads: computing threads on CPU.
            own_process: run vLLM in a process of its own; by default if it has GPUs.
            ray_metrics: this process belongs to Ray: vLLM's own metrics (`ray_vllm_...`) go to its agent. Not from an
                engine inside this process, where counting would be in every step's way.
        """
        self._teacher, self._path, self._gpus = teacher, model_path, gpus
        self._concurrency, self._threads = concurrency, threads
        self._own_process = gpus > 0 if own_process is None else own_process
        self._ray_metrics = ray_metrics
        self._core: _Core | None = None
        self._numbers = itertools.count()
        self._template: str | None = None
        self._merge_system = False
        self.version = "0"

    async def start(self) -> None:
        """Load the model. Raises `EngineRefused` if vLLM is not installed or cannot serve it."""
        _prepare_environment(self._path, self._gpus, self._threads)
        try:
            if self._own_process:
                self._core = own = await asyncio.to_thread(_OwnProcess, self._arguments(), self._ray_metrics)
                await own.guard()
            else:
                self._core = await asyncio.to_thread(_InProcess, self._arguments())
        except ImportError as error:
            raise EngineRefused(
                f"teacher.kind: vllm cannot be imported ({error}); install dsa-ray[cpu] or [gpu]"
            ) from error
        except Exception as error:
            raise EngineRefused(f"teacher.model: vLLM cannot serve {self._path}: {_first_line(error)}") from error
        await self._adapt(self._core)
        self._template = self._chat_template(self._core.tokenizer)
        self._merge_system = not _takes_system(self._core.tokenizer, self._template)

    async def _adapt(self, core: _Core) -> None:
        """Load the adapter now: with the first request it would be that request's failure."""
        if self._teacher.adapter is None:
            return
        from vllm.lora.request import LoRARequest

        # One adapter for the engine's whole life: its name never stands for other weights in the prefix cache.
        request = LoRARequest("teacher", 1, str(Path(self._teacher.adapter).expanduser().resolve()))
        try:
            await core.adapt(request)
        except Exception as error:
            raise EngineRefused(
                f"teacher.adapter: vLLM cannot serve {self._teacher.adapter} with {self._path}: {_first_line(error)}"
            ) from error

    def _chat_template(self, tokenizer: Any) -> str | None:
        """What each call is given, for vLLM's tokenizer is a pool of copies that do not see what is set on it; None
        takes the tokenizer's own."""
        if self._teacher.chat_template is None:
            return None if getattr(tokenizer, "chat_template", None) else DEFAULT_CHAT_TEMPLATE
        try:
            return chat_template(self._teacher.chat_template)
        except ValueError as error:
            raise EngineRefused(f"teacher.chat_template: {error}") from error

    async def generate(self, call: EngineCall) -> EngineAnswer:
        core = self._running()
        prompt = self._prompt(core.tokenizer, call.messages)
        room = core.max_model_len - len(prompt)
        if room < 1:
            raise EngineError(f"a prompt of {len(prompt)} tokens leaves no room in max_model_len {core.max_model_len}")
        output = (
            await core.generate(prompt, _sampling(call, room, seeded=self._gpus > 0), str(next(self._numbers)))
        ).outputs[0]
        if output.finish_reason not in ("stop", "length"):
            raise EngineError(f"vLLM ended the request with {output.finish_reason!r}")
        return EngineAnswer(
            text=output.text,
            finish_reason=output.finish_reason,
            output_tokens=len(output.token_ids),
            input_tokens=len(prompt),
        )

    async def load_weights(self, path: str, version: str) -> None:
        """Reload in place. Requests in flight are computed again from their tokens so far, with the new weights."""
        if not Path(path, "config.json").is_file():
            raise EngineError(f"{path}: no model in Hugging Face format; the engine keeps version {self.version}")
        try:
            await self._running().reload(path, lambda: setattr(self, "version", version))
        except EngineDead:
            raise
        except Exception as error:  # half the tensors may be new: nothing that it writes could be trusted
            raise EngineDead(f"weights of {path} could not be loaded: {_first_line(error)}") from error

    async def stop(self) -> None:
        core, self._core = self._core, None
        if core is not None:
            await asyncio.to_thread(core.stop)

    def _running(self) -> _Core:
        if self._core is None:
            raise EngineDead("vLLM is not running")
        return self._core

    def _prompt(self, tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
        chat = [dict(message) for message in messages]
        if self._merge_system and chat[0]["role"] == "system":
            system = chat.pop(0)["content"]
            chat[0]["content"] = f"{system}\n\n{chat[0]['content']}"
        template = {"chat_template": self._template, "tokenize": False, "add_generation_prompt": True}
        text = tokenizer.apply_chat_template(chat, **template)
        return tokenizer.encode(text, add_special_tokens=False)

    def _arguments(self) -> dict[str, Any]:
        teacher = self._teacher
        common = {
            "model": self._path,
            "dtype": teacher.dtype,
            "max_model_len": teacher.max_model_len,
            "max_num_seqs": self._concurrency,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "quantization": teacher.quantization,
            "enable_prefix_caching": teacher.prefix_caching,
        }
        if teacher.adapter is not None:
            common |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter_rank(teacher.adapter)}
        if self._gpus > 0:
            gpu = {"tensor_parallel_size": teacher.tensor_parallel, "gpu_memory_utilization": teacher.memory_fraction}
            return common | gpu
        # With eager mode and a cache of given size vLLM skips its warm-up pass.
        return common | {"enforce_eager": True, "kv_cache_memory_bytes": int(teacher.kv_cache_gib * 2**30)}


class _InProcess:
    """vLLM's engine in a thread."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._thread = EngineThread(lambda: _open_in_process(arguments))
        self.tokenizer = self._thread.engine.get_tokenizer()
        self.max_model_len = self._thread.engine.model_config.max_model_len
        self._more: dict[str, Any] = {}

    async def adapt(self, adapter: Any) -> None:
        await self._thread.call(lambda engine: engine.add_lora(adapter))
        self._more = {"lora_request": adapter}

    async def generate(self, prompt: list[int], params: Any, request_id: str) -> Any:
        from vllm.exceptions import VLLMClientError

        try:
            return await self._thread.generate({"prompt_token_ids": prompt}, params, request_id, **self._more)
        except (VLLMClientError, ValueError) as error:
            raise EngineError(_first_line(error)) from error

    async def reload(self, path: str, landed: Callable[[], None]) -> None:
        def between_steps(engine: Any) -> None:
            engine.collective_rpc("reload_weights", kwargs={"weights_path": path})
            # Without the flag nothing is reset while requests run, and they go on with the old weights' cache.
            engine.reset_prefix_cache(reset_running_requests=True)
            landed()  # here, before any request goes on: each then knows which weights it was written with

        await self._thread.call(between_steps)

    def stop(self) -> None:
        self._thread.stop()


class _OwnProcess:
    """`AsyncLLM`: vLLM's engine in processes of its own."""

    def __init__(self, arguments: dict[str, Any], ray_metrics: bool) -> None:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        extension = f"{EndWithReplica.__module__}.{EndWithReplica.__qualname__}"
        settings = AsyncEngineArgs(**arguments, worker_extension_cls=extension, enable_log_requests=False)
        self._engine = AsyncLLM.from_engine_args(settings, stat_loggers=_stat_loggers(ray_metrics))
        self.tokenizer = self._engine.get_tokenizer()
        self.max_model_len = self._engine.model_config.max_model_len
        self._more: dict[str, Any] = {}

    async def adapt(self, adapter: Any) -> None:
        await self._engine.add_lora(adapter)
        self._more = {"lora_request": adapter}

    async def guard(self) -> None:
        """Let the engine end when this process does, however that comes."""
        await self._engine.collective_rpc("end_with_replica", args=(os.getpid(),))

    async def generate(self, prompt: list[int], params: Any, request_id: str) -> Any:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            answers = self._engine.generate({"prompt_token_ids": prompt}, params, request_id, **self._more)
            outputs = [out async for out in answers]
        except EngineDeadError as error:
            raise EngineDead(_first_line(error)) from error
        except (VLLMClientError, EngineGenerateError) as error:
            if self._engine.errored:
                raise EngineDead(_first_line(error)) from error
            raise EngineError(_first_line(error.__cause__ or error)) from error
        return outputs[-1]

    async def reload(self, path: str, landed: Callable[[], None]) -> None:
        await self._engine.collective_rpc("reload_weights", kwargs={"weights_path": path})
        await self._engine.reset_prefix_cache(reset_running_requests=True)
        landed()

    def stop(self) -> None:
        self._engine.shutdown()


class EndWithReplica:
    """Mixed into vLLM's workers: they would outlive a replica that is killed, and keep its GPU or cores."""

    def end_with_replica(self, replica: int) -> None:
        """End this worker, and the engine process above it, when the process `replica` is gone."""
        import psutil

        watched, above = psutil.Process(replica), os.getppid()

        def watch() -> None:
            while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
                threading.Event().wait(1.0)
            if above != replica and os.getppid() == above != 1:
                psutil.Process(above).kill()
            os._exit(1)

        threading.Thread(target=watch, name="end-with-replica", daemon=True).start()


def _stat_loggers(ray_metrics: bool) -> list[Any] | None:
    """vLLM's logger for Ray. It imports Ray Serve; where that lacks its packages there are none of these metrics."""
    if not ray_metrics:
        return None
    from vllm.v1.metrics import ray_wrappers

    if ray_wrappers.ray_metrics is None:
        logger.warning("vLLM's own metrics are not published: they need Ray Serve (pip install 'ray[serve]')")
        return None
    return [ray_wrappers.RayPrometheusStatLogger]


def _open_in_process(arguments: dict[str, Any]) -> Any:
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    return LLMEngine.from_engine_args(EngineArgs(**arguments))


def _prepare_environment(model_path: str, gpus: float, threads: int) -> None:
    """vLLM reads these when it is imported, and its processes inherit them."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if Path(model_path).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # "0" also keeps the worker of an engine with its own process inside that process: a third import less.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if gpus > 0 else "0"
    if gpus > 0:
        return
    # Bound threads would share one core between all replicas of a machine, each of which believes it has it alone.
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # whole GiB only, and it would win over the configuration


def _sampling(call: EngineCall, room: int, *, seeded: bool) -> Any:
    """vLLM's parameters. On CPU without the seed: there vLLM 0.32 winds a seeded generator back when a prompt is cut by
    chunked prefill, which CPU generators cannot do, and the engine dies of it."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        max_tokens=min(call.max_tokens, room),
        temperature=call.temperature,
        top_p=call.top_p,
        seed=call.seed if seeded else None,
        structured_outputs=StructuredOutputsParams(json=dict(call.schema)) if call.schema is not None else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _takes_system(tokenizer: Any, template: str | None) -> bool:
    """Whether the chat template accepts a system message; some raise."""
    from jinja2 import TemplateError

    probe = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    try:
        tokenizer.apply_chat_template(probe, chat_template=template, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return False
    return True


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
