"""Which addresses carry a password or a key in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dsa_ray.sections import leaves

_NAMES = frozenset({"key", "apikey", "api_key", "token", "access_token", "secret", "password", "sig", "signature"})
"""Query parameters that hold one; `sig` is that of Azure's shared access signatures."""

_USER_INFO = re.compile(r"://[^@/:\s]*:(?!\d+(?:[/?#]|$))[^@\s]*@|^https?://[^@/\s]*@", re.IGNORECASE)
"""A secret of S3 may itself hold a slash."""


def has_secret(text: str) -> bool:
    """Whether `text` is an address that holds one: s3://id:secret@bucket, https://host/v1?api_key=...; malformed count.

    What stands between :// and @ is a secret after a colon that begins no port, and with http in any case;
    abfs://container@account and hf://datasets/name@revision hold none.
    """
    if "://" not in text:
        return False
    try:
        query = parse_qsl(urlsplit(text).query)
    except ValueError:
        return True
    return bool(_USER_INFO.search(text)) or any(name.lower() in _NAMES for name, _ in query)


def keys_with_secrets(values: Mapping[str, Any]) -> Iterator[str]:
    """Dotted keys of nested plain values (as of `model_dump`) whose text `has_secret`."""
    for key, value in leaves(values, into_lists=True):
        if isinstance(value, str) and has_secret(value):
            yield key
