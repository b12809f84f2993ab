"""Texts of libraries are shown without what was given in secret."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.secrets import redacted, shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:pass/word@host/x", "https://...@host/x"),
        ("https://me:p@host:8080/a@b", "https://...@b"),  # its password may have slashes
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://host:8080", "https://host:8080"),
        ("https://host/a;jsessionid=hush/b", "https://host/a;.../b"),
        ("https://host/a.h5mu#rna", "https://host/a.h5mu#rna"),
        ("github://org:hush@repo/a", "github://...@repo/a"),
        ("s3://key:hush@bucket/a", "s3://...@bucket/a"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert shown(url) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cannot connect to https://h/a?sig=hush123 now",
        "url='https://h/a?X-Amz-Signature=hush123'",
        "No object at https://me:hush123/x@host/x",
        "Authorization: Bearer hush123",
        "'Authorization': 'AWS4-HMAC-SHA256 hush123'",
        "AccountName=a;AccountKey=hush123;EndpointSuffix=x",
        "{'token': 'hush123', 'project': None}",
        '{"client_secret": "hush123"}',
        "aws_secret_access_key=hush123",
        "b'hush123' is no password: hush123",
        "sas_token hush123",
    ],
)
def test_texts_of_libraries(text: str) -> None:
    assert "hush123" not in redacted(text, {"any": "hush123"})
    if "b'" not in text and "sas_token h" not in text:
        assert "hush123" not in redacted(text)


@pytest.mark.parametrize(
    "given",
    [
        {"key": "hush/1+2"},
        {"client_kwargs": {"headers": [{"x": "hush/1+2"}]}},
        {"connection_string": "AccountName=a;AccountKey=hush/1+2;x=y"},
        {"headers": b"hush/1+2"},
        {"proxy": "https://me:hush/1+2@host"},
        "https://h/a?sig=hush%2F1%2B2",
        "https://hush%2F1%2B2@h/a",
    ],
)
def test_what_was_given_is_masked_however_it_is_written(given: Any) -> None:
    for written in ("hush/1+2", quote("hush/1+2", safe="")):
        assert redacted(f"Bad value {written}.", given) == "Bad value ***."


def test_what_is_no_secret_stays() -> None:
    text = "Could not connect to http://localhost:9000/bucket: refused (errno 111), a=b"
    assert redacted(text, {"endpoint_url": "http://localhost:9000", "anon": True}) == text
    assert redacted(text, "a.h5ad", None, ["x"]) == text


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("DATABASE_PASSWORD", "word-word")
    monkeypatch.setenv("EDITOR", "editor-x")
    assert redacted("hush-hush word-word editor-x") == "*** *** editor-x"


@given(st.text(min_size=4), st.text(max_size=20))
def test_any_option(hushed: str, around: str) -> None:
    if "*" not in hushed:
        assert hushed not in redacted(f"{around}{hushed}{around}", {"x": hushed})
