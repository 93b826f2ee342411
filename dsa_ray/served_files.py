"""Files that a teacher is served with beside its model: a LoRA adapter, a chat template. No heavy import."""

from __future__ import annotations

import json
import re
from pathlib import Path

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM can be set to hold; an adapter takes the next one."""
ADAPTER = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_UNSERVED = ("use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "modules_to_save")
"""What PEFT can put into an adapter and vLLM cannot serve."""
_MARKS = re.compile(r"\{%[-+]?\s*(end)?generation\s*[-+]?%\}")
"""Transformers' own tag, which marks the assistant's words and changes no text."""


def adapter_rank(folder: str) -> int:
    """The rank that vLLM has to make room for to serve a LoRA adapter.

    Raises:
        ValueError: the folder is not there, holds no adapter in PEFT's format, or one that vLLM cannot serve; one line.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(f"there is no folder {folder}; give the folder of a PEFT adapter")
    try:
        found = json.loads((path / ADAPTER).read_text())
        kind, ranks = found["peft_type"], [found["r"], *(found.get("rank_pattern") or {}).values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{folder} is no PEFT adapter: its {ADAPTER} is missing or broken") from None
    if kind != "LORA" or not all(type(rank) is int and rank > 0 for rank in ranks):
        raise ValueError(f"{folder} holds an adapter of kind {str(kind)[:40]!r}; only LoRA can be served")
    if not any((path / name).is_file() for name in WEIGHTS):
        raise ValueError(f"{folder} holds no weights: neither {' nor '.join(WEIGHTS)}")
    unserved = [name for name in _UNSERVED if found.get(name)]
    if unserved:
        raise ValueError(f"{folder}: vLLM cannot serve an adapter with {unserved[0]}; merge it into its model")
    if max(ranks) > RANKS[-1]:
        raise ValueError(f"{folder}: rank {max(ranks)} is more than vLLM's {RANKS[-1]}; merge it into its model")
    return min(rank for rank in RANKS if rank >= max(ranks))


def chat_template(path: str) -> str:
    """The text of a chat template.

    Raises:
        ValueError: there is no such file, or it is no Jinja; one line.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        text = Path(path).expanduser().read_text()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}; give a Jinja template") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); give a Jinja template") from None
    try:
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(_MARKS.sub("", text))
    except TemplateSyntaxError as error:
        raise ValueError(f"{path} is no Jinja template: line {error.lineno}: {error.message}") from None
    if "messages" not in text:
        raise ValueError(f"{path} never uses `messages`, so it is no chat template")
    return text
