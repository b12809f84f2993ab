"""What a library raises becomes a sentence; what a store does is told from damage."""

from __future__ import annotations

from typing import Any

import pytest

from cellucid_dask import ExportError, RequestError
from cellucid_dask.source.reading import UnreadableError, ZarrArray, explaining


@pytest.mark.parametrize(
    "error", [OSError("inflate() failed"), KeyError("codes"), RuntimeError(), TypeError("x")]
)
def test_damage(error: Exception) -> None:
    with (
        pytest.raises(UnreadableError, match=r"^obs/a of b cannot be read \(.+\): ") as raised,
        explaining("obs/a of b"),
    ):
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "reset"), PermissionError(13, "denied"), TimeoutError()]
)
def test_what_a_store_refuses_is_no_damage(error: Exception) -> None:
    """A column must not be left out because the network failed."""
    with pytest.raises(RequestError, match=r"^obs/a of b ") as raised, explaining("obs/a of b"):
        raise error
    assert not isinstance(raised.value, UnreadableError)


@pytest.mark.parametrize("error", [ExportError("told"), RequestError("told"), MemoryError()])
def test_what_is_told_already(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explaining("obs/a of b"):
        raise error
    assert raised.value is error


class Broken:
    shape, dtype, chunks = (10, 3), "f4", (5, 3)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, _: Any) -> Any:
        raise self.error


def test_zarr_array() -> None:
    codec = ZarrArray(Broken(RuntimeError("error during decompression")), "X of a.zarr")
    said = r"^X of a\.zarr is damaged: rows 2 to 7 .*error during decompression"
    for selection in (slice(2, 7), (slice(2, 7), slice(0, 3))):
        with pytest.raises(ExportError, match=said):
            codec[selection]
    disk = ZarrArray(Broken(OSError(5, "input/output error")), "X of a.zarr")
    with pytest.raises(OSError, match="input/output"):  # another worker may see it
        disk[0:1]
