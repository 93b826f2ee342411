"""Secrets in addresses: found wherever they stand, and nothing else taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import ConfigError, parse
from dsa_ray.credentials import has_secret, keys_with_secrets

SECRET = "Hidden+/42"
WORDS = st.text("abcXYZ019-_.~", min_size=1, max_size=12)


@pytest.mark.parametrize(
    "text",
    [
        f"s3://AKIA:{SECRET}@bucket/runs",
        f"https://me:{SECRET}@host:8000/v1",
        "https://ghp_0123456789@host/v1",
        f"http://host:8000/v1?api_key={SECRET}",
        f"http://host/v1?page=2&API_KEY={SECRET}",
        f"https://account.blob.core.windows.net/runs?sv=2024&sig={SECRET}",
        "http://[::1/v1",
    ],
)
def test_addresses_with_a_secret(text: str) -> None:
    assert has_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "runs",
        "me@host: a note",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "http://host:8000/models/a@b",
        "http://host/v1?page=2&key=",
        "s3://bucket/runs",
        "abfs://container@account.dfs.core.windows.net/runs",
        "hf://datasets/openai/gsm8k@main/train.jsonl",
    ],
)
def test_addresses_without(text: str) -> None:
    assert not has_secret(text)


@given(
    user=st.text("abcXYZ019", max_size=8),
    password=st.from_regex(r"[A-Za-z+/_-][A-Za-z0-9+/_-]*", fullmatch=True),
    host=WORDS,
)
def test_a_password_is_found_whatever_it_is_made_of(user: str, password: str, host: str) -> None:
    assert has_secret(f"s3://{user}:{password}@{host}/a")


PATHS = st.text("abc@/:.", max_size=12).filter(lambda path: "://" not in path)
"""Without a second address in them, which may hold a password of its own."""


@given(host=WORDS, port=st.integers(1, 65535), path=PATHS)
def test_a_port_is_no_password(host: str, port: int, path: str) -> None:
    assert not has_secret(f"s3://{host}:{port}/{path}")


def test_keys_are_told_however_deep_they_lie() -> None:
    address = f"https://me:{SECRET}@host"
    values = {"a": {"b": [1, {"c": address}], "d": "fine"}, "e": (address,)}
    assert list(keys_with_secrets(values)) == ["a.b.1.c", "e.0"]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"teacher": {"kind": "openai", "base_url": f"https://me:{SECRET}@host/v1"}}, "teacher.base_url"),
        ({"teachers": [{"kind": "openai", "base_url": f"https://host/v1?key={SECRET}"}]}, "teachers.0.base_url"),
        ({"run": {"name": "test", "storage": f"s3://id:{SECRET}@bucket"}}, "run.storage"),
        ({"teacher": {"api_key_env": f"sk-{SECRET}"}}, "teacher.api_key_env"),
        ({"teachers": [{"api_key_env": f"gsk_{SECRET}"}]}, "teachers.0.api_key_env"),
    ],
)
def test_a_configuration_that_holds_a_secret_is_refused_without_repeating_it(section: dict, key: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse({"run": {"name": "test"}, "graph": {"target": "calculus"}, **section})
    line = str(refusal.value)
    assert line.startswith(f"{key}: ")
    assert "environment" in line
    assert SECRET not in line
    assert "\n" not in line
