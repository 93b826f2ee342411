"""Ray Data LLM as an arm: its own vLLM processor over a dataset that gives a round's prompts when told to.

One execution serves all rounds, so that its engine stays loaded as the other arms' do. Everything that the processor
would do beside the engine is left out (prompts come as tokens, answers stay tokens), which is to its advantage.
"""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from dsa_ray.config import Config
from dsa_ray.engines.vllm_engine import ENVIRONMENT, VLLMEngine
from dsa_ray.generation.prompts import render
from dsa_ray.records import Assignment, Kind

BATCH = 32
"""Ray Data LLM's own default; a round is a multiple of it."""
STOP_S = 60.0
BLOCK_BYTES = 16 * 2**10
"""Of the stream: with Ray Data's default the rows of many rounds would be gathered into one block."""


def missing() -> str:
    """Why there is no Ray Data LLM here; empty where there is one."""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed"
    try:
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig  # noqa: F401
    except ImportError as error:
        return f"it cannot be imported ({error})"
    return ""


class Gate:
    """An async actor that holds the prompts of a round until the source fetches them."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._over = False
        self._changed = asyncio.Event()

    async def open(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self._changed.set()

    async def end(self) -> None:
        self._over = True
        self._changed.set()

    async def take(self) -> list[dict[str, Any]] | None:
        """The next rows, at most a batch, once there are any; none when it is all over."""
        while not self._rows and not self._over:
            self._changed.clear()
            await self._changed.wait()
        if self._over:
            return None
        taken, self._rows = self._rows[:BATCH], self._rows[BATCH:]
        return taken


class DataLLM:
    """Answers rounds like `_pool.OneCall`."""

    def __init__(self, config: Config, model: str, threads: int) -> None:
        from transformers import AutoTokenizer

        self._config = config
        self._engine = VLLMEngine(config.teacher, model, concurrency=config.generate.in_flight, threads=threads)
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._gate = ray.remote(Gate).options(num_cpus=0).remote()
        self._done: queue.Queue[int | BaseException] = queue.Queue()
        stream = _processor(self._engine._arguments(), model, threads, config.generate.in_flight)(_source(self._gate))
        self._thread = threading.Thread(target=self._consume, args=(stream,), daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """Its engine is ready with the first round, which warms up."""
        return True

    def play(self, work: Sequence[Assignment]) -> dict[str, Any]:
        """Output tokens, and seconds from the opening of the gate to the last row."""
        rows = [self._row(assignment) for assignment in work]
        began = time.perf_counter()
        ray.get(self._gate.open.remote(rows))
        tokens = 0
        for _ in rows:
            found = self._done.get()
            if isinstance(found, BaseException):
                raise found
            tokens += found
        return {"tokens": tokens, "seconds": time.perf_counter() - began}

    def end(self) -> None:
        """Let the stream end; its engine ends with it."""
        ray.get(self._gate.end.remote())
        self._thread.join(STOP_S)

    def _consume(self, stream: Any) -> None:
        try:
            for batch in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for tokens in batch["tokens"].to_pylist():
                    self._done.put(tokens)
        except BaseException as error:
            self._done.put(error)

    def _row(self, assignment: Assignment) -> dict[str, Any]:
        generate = self._config.generate
        long = assignment.request.kind is Kind.TEXTBOOK
        return {
            "tokenized_prompt": self._engine._prompt(self._tokenizer, render(assignment, ()).messages),
            "max_tokens": generate.max_textbook_tokens if long else generate.max_tokens,
            "temperature": generate.temperature,
            "top_p": generate.top_p,
        }


def _processor(arguments: dict[str, Any], model: str, threads: int, in_flight: int) -> Any:
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    variables = {**ENVIRONMENT, "OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    config = vLLMEngineProcessorConfig(
        model_source=model,
        engine_kwargs={name: value for name, value in arguments.items() if name != "model"},
        batch_size=BATCH,
        max_concurrent_batches=2 * in_flight // BATCH,
        concurrency=1,
        placement_group_config={"bundles": [{"CPU": 0.5}]},
        log_engine_metrics=False,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        runtime_env={"env_vars": {**variables, "HF_HUB_OFFLINE": "1"}},
    )
    return build_processor(
        config,
        preprocess=_asked,
        postprocess=_answered,
        preprocess_map_kwargs={"num_cpus": 0.1},
        postprocess_map_kwargs={"num_cpus": 0.1},
    )


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    sampling = {name: row[name] for name in ("max_tokens", "temperature", "top_p")}
    return {"tokenized_prompt": row["tokenized_prompt"], "sampling_params": {**sampling, "detokenize": False}}


def _answered(row: dict[str, Any]) -> dict[str, Any]:
    return {"tokens": row["num_generated_tokens"]}


def _source(gate: Any) -> Any:
    stream = ray.data.read_datasource(_Rounds(gate), override_num_blocks=1, ray_remote_args={"num_cpus": 0.05})
    context = stream.context
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    context._max_num_blocks_in_streaming_gen_buffer = 32
    return stream


class _Rounds(Datasource):
    """One unbounded read task: the rows that the gate lets through."""

    def __init__(self, gate: Any) -> None:
        super().__init__()
        self._gate = gate

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=None, size_bytes=BLOCK_BYTES, input_files=None, exec_stats=None)
        gate = self._gate
        return [ReadTask(lambda: _read(gate), metadata)]


def _read(gate: Any) -> Iterator[pa.Table]:
    while (rows := ray.get(gate.take.remote())) is not None:
        yield pa.Table.from_pylist(rows)
