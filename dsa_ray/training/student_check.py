"""Whether a student can be trained, before anything is started.

To look at a model's configuration takes all of transformers and torch: 4 s, and 400 MB that stay with the process. So
the driver has a process of its own look (`check_apart`); ranks, who have them anyway, look themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from dsa_ray.generation.tokens import load_tokenizer

REFUSED = 3
"""Exit status of the process that looks; its last line says why."""
LOOK_S = 600.0
"""It looks for so long at most: a hub may be slow."""


class StudentError(Exception):
    """A student that cannot be trained: one clear line."""


class StudentUnreadable(StudentError):
    """Its files cannot be read from here, so nothing is known of it."""


def check_apart(path: str, row_tokens: int = 1) -> None:
    """As `check_student`, in a process of its own, which ends with this call."""
    # Where this process finds its modules: a job's working directory, an editable install.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", __name__, path, str(row_tokens)]
    try:
        looked = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LOOK_S, check=False)
    except subprocess.TimeoutExpired:
        raise StudentUnreadable(f"{path}: model or tokenizer cannot be read (not within {LOOK_S:g} s)") from None
    if looked.returncode == REFUSED:
        refusal = json.loads(looked.stdout.splitlines()[-1])
        raise (StudentError if refusal["read"] else StudentUnreadable)(refusal["why"])
    if looked.returncode:
        raise RuntimeError(f"{path}: looking at the student failed ({looked.returncode}):\n{looked.stderr}")


def check_student(path: str, row_tokens: int = 1) -> None:
    """Refuse what loading it or training would: no weights are read.

    Args:
        row_tokens: length of a packed row.

    Raises:
        StudentUnreadable: model or tokenizer cannot be read.
        StudentError: it is no causal LM, knows fewer positions than a row has, or its tokenizer has no
            end token or more entries than the model.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    try:
        config = AutoConfig.from_pretrained(path)
        tokenizer = load_tokenizer(path)
    except Exception as error:  # files of a wrong shape raise what they happen to, `Exception` itself too
        why = (str(error).strip().splitlines() or [""])[0]
        if not isinstance(error, OSError | ValueError):
            why = f"{type(error).__name__}: {why}"
        raise StudentUnreadable(f"{path}: model or tokenizer cannot be read ({why})") from None
    own = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if config.is_encoder_decoder or not (own or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING):
        raise StudentError(
            f"{path}: a {config.model_type} model is no causal language model, which a student has to be"
        )
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if positions is not None and positions < row_tokens:
        raise StudentError(
            f"{path}: it knows {positions} positions, fewer than train.row_tokens {row_tokens}; lower that"
        )
    check_tokenizer(path, tokenizer, text.vocab_size)


def check_tokenizer(path: str, tokenizer: Any, known: int) -> None:
    """Refuse a tokenizer without an end token, or with more entries than the model knows."""
    if tokenizer.eos_token_id is None:
        raise StudentError(f"{path}: the tokenizer has no eos_token, which ends an answer; set one and save it again")
    if len(tokenizer) > known:
        raise StudentError(
            f"{path}: the tokenizer has {len(tokenizer)} entries, the model {known}; "
            "take the model's own tokenizer, or resize its embeddings and save it again"
        )


def main() -> int:
    """Look, and say what is wrong as the last line, in JSON."""
    try:
        check_student(sys.argv[1], int(sys.argv[2]))
    except StudentError as error:
        print(json.dumps({"read": not isinstance(error, StudentUnreadable), "why": str(error)}))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
