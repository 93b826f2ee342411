"""Any OpenAI-compatible endpoint as a text engine: retries, its own limit on concurrency, structured output.

429, 5xx, no connection, a body that is not JSON   retried with backoff (or as Retry-After says) until the deadline
no answer within the deadline                      EngineError; the request is tried again elsewhere
400, 422                                           EngineError; EngineRefused once the first few all ended so
401, 403, 404                                      EngineRefused: key, address or model are wrong
no `usage`, or one that cannot be                  tokens are estimated, rather too many than too few; said once
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineError, EngineRefused
from dsa_ray.engines.window import Window
from dsa_ray.sections import TeacherConfig

logger = logging.getLogger(__name__)

BYTES_PER_TOKEN = 2
"""Of an estimate: plain English has four bytes in a token, formulas and digits two to three, Chinese about two."""
MESSAGE_TOKENS = 8
"""Of an estimate: what a chat template puts around a message."""
MOST_TOKENS = 100_000_000
"""More than any model reads or writes at a time: a larger number is nonsense."""
BACKOFF_S = (0.25, 8.0)
"""First and longest pause between attempts."""
CONNECT_S = 10.0
START_S = 60.0
BAD_REQUESTS = 8
"""So many refused requests before any success mean that none can succeed."""


class OpenAIEngine:
    """Chat completions of a remote model. Its weights are not ours: `load_weights` refuses."""

    def __init__(self, teacher: TeacherConfig, model: str, *, concurrency: int = 64, timeout_s: float = 120.0) -> None:
        """
        Args:
            teacher: its `base_url` and `api_key_env`.
            model: name of the served model.
            concurrency: most requests at one time; fewer when the endpoint pushes back.
            timeout_s: deadline of one call, its retries included.
        """
        self._base = (teacher.base_url or "").rstrip("/")
        self._model, self._key_variable, self._timeout_s = model, teacher.api_key_env, timeout_s
        self._concurrency = concurrency
        self._window = Window(concurrency)
        self._client: httpx.AsyncClient | None = None
        self._key = ""
        self._bad_requests: int | None = 0
        self.version = "0"
        self.estimates = False
        """Whether tokens were estimated, for the endpoint did not say how many there were."""

    async def start(self) -> None:
        """Wait up to a minute for the endpoint to answer anything; refuses a wrong key or address."""
        self._key = os.environ.get(self._key_variable, "")
        local = urlsplit(self._base).hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            limits=httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency),
            timeout=httpx.Timeout(self._timeout_s, connect=CONNECT_S, pool=None),
            trust_env=not local,
        )
        deadline = time.monotonic() + START_S
        while True:
            try:
                answer = await self._client.get(f"{self._base}/models")
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise EngineRefused(f"teacher.base_url: {self._base} cannot be reached: {error!r}") from error
                await asyncio.sleep(BACKOFF_S[0])
            else:
                if answer.status_code in (401, 403):
                    self._refuse(answer)
                return

    async def generate(self, call: EngineCall) -> EngineAnswer:
        """One chat completion, tried again until the deadline."""
        deadline = time.monotonic() + self._timeout_s
        body = self._body(call)
        pause, trouble = BACKOFF_S[0], "no attempt was made"
        while time.monotonic() < deadline:
            wait = random.uniform(0.5, 1.0) * pause
            try:
                async with asyncio.timeout_at(_loop_time(deadline)), self._window.slot():
                    answer = await self._running().post(f"{self._base}/chat/completions", json=body)
            except TimeoutError:
                self._window.pushed_back()
                raise EngineError(f"{self._base}: no answer within {self._timeout_s:g} s") from None
            except httpx.HTTPError as error:
                self._window.pushed_back()
                trouble = repr(error)
            else:
                if answer.status_code == 200 and (found := _answer(answer)) is not None:
                    self._window.succeeded()
                    self._bad_requests = None
                    return _whole(self._counted(found, call))
                trouble = self._trouble(answer)
                wait = max(wait, _retry_after(answer))
            await asyncio.sleep(min(wait, max(0.0, deadline - time.monotonic())))
            pause = min(2 * pause, BACKOFF_S[1])
        raise EngineError(f"{self._base}: {trouble}; given up after {self._timeout_s:g} s")

    async def load_weights(self, path: str, version: str) -> None:
        raise EngineRefused("teacher.kind: the weights behind an openai endpoint cannot be replaced from here")

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _running(self) -> httpx.AsyncClient:
        if self._client is None:
            raise EngineError("the engine is not running")
        return self._client

    def _body(self, call: EngineCall) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [dict(message) for message in call.messages],
            "max_tokens": call.max_tokens,
            "temperature": call.temperature,
            "top_p": call.top_p,
        }
        if call.seed is not None:
            body["seed"] = call.seed
        if call.schema is not None:
            schema = {"name": "answer", "schema": dict(call.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _counted(self, answer: EngineAnswer, call: EngineCall) -> EngineAnswer:
        """The answer with estimates where the endpoint counted nothing; a budget must not take silence for free."""
        asked, answered = answer.input_tokens, answer.output_tokens
        if asked and (answered or not answer.text):
            return answer
        if not self.estimates:
            self.estimates = True
            logger.warning("%s reports no usage: tokens are estimated at %d bytes each", self._base, BYTES_PER_TOKEN)
        asked = asked or sum(MESSAGE_TOKENS + _estimate(message["content"]) for message in call.messages)
        return replace(
            answer, input_tokens=asked, output_tokens=answered or min(call.max_tokens, _estimate(answer.text))
        )

    def _trouble(self, answer: httpx.Response) -> str:
        """What is wrong with an answer that may be had by another attempt; raises where none can help."""
        status = answer.status_code
        if status in (401, 403, 404):
            self._refuse(answer)
        if status == 200:
            return "an answer that is not a chat completion"
        if status == 429 or status >= 500:
            self._window.pushed_back()
            return f"status {status}: {self._message(answer)}"
        if self._bad_requests is not None:
            self._bad_requests += 1
            if self._bad_requests >= BAD_REQUESTS:
                self._refuse(answer)
        raise EngineError(f"{self._base}: status {status}: {self._message(answer)}")

    def _message(self, answer: httpx.Response) -> str:
        """The endpoint's own words, on one line; some repeat the key, and errors end in the journal and the report."""
        text = answer.text.replace(self._key, "***") if self._key else answer.text
        return " ".join(text.split())[:200]

    def _refuse(self, answer: httpx.Response) -> None:
        hint = {401: self._key_variable, 403: self._key_variable, 404: "teacher.model and teacher.base_url"}
        remedy = hint.get(answer.status_code, "teacher.model and generate.structured")
        raise EngineRefused(f"{self._base}: status {answer.status_code}: {self._message(answer)}; look at {remedy}")


def _answer(response: httpx.Response) -> EngineAnswer | None:
    """The completion in a response; none if it is malformed."""
    try:
        data = response.json()
        choice = data["choices"][0]
        text, reason = choice["message"]["content"] or "", choice["finish_reason"]
        usage = data.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        tokens, asked = (_count(usage.get(name)) for name in ("completion_tokens", "prompt_tokens"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if not isinstance(text, str):
        return None
    return EngineAnswer(text=text, finish_reason=str(reason)[:40], output_tokens=tokens, input_tokens=asked)


def _whole(answer: EngineAnswer) -> EngineAnswer:
    """The same; raises `EngineError` for one that was filtered, or ended otherwise."""
    if answer.finish_reason not in ("stop", "length"):
        raise EngineError(f"the endpoint ended the answer with {answer.finish_reason!r}", answer)
    return answer


def _count(value: Any) -> int:
    """A number of tokens as an endpoint gives it; 0 for what can be none."""
    return value if type(value) is int and 0 < value < MOST_TOKENS else 0


def _estimate(text: str) -> int:
    """Tokens of a text whose tokenizer is not known: rather too many."""
    return math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN)


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the endpoint asks to wait; a date or nonsense counts as none."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdecimal() else 0.0


def _loop_time(deadline: float) -> float:
    """A `time.monotonic` deadline on the running loop's clock."""
    return asyncio.get_running_loop().time() + max(0.0, deadline - time.monotonic())
