"""A store that does not answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import cellucid_dask
from cellucid_dask.errors import RequestError
from cellucid_dask.output.cellucid_zarr import store
from cellucid_dask.store.preflight import check_answers


@pytest.mark.parametrize("read", [cellucid_dask.open_export, cellucid_dask.verify])
def test_a_store_that_never_answers_is_given_up(
    read: Callable[..., Any], either_client: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    monkeypatch.setattr(store, "check_answers", partial(check_answers, seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        options = {
            **either_client,
            "endpoint_url": f"http://127.0.0.1:{port}",
            "key": "a",
            "secret": "b",
        }
        begun = time.monotonic()
        with pytest.raises(RequestError, match=r"s3://bucket/atlas did not answer within 1 second"):
            read("s3://bucket/atlas", storage_options=options)
    assert time.monotonic() - begun < 20
