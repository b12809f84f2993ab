"""An export shown in a notebook."""

from __future__ import annotations

import os
from html import escape
from typing import Any

import dask

from cellucid_dask.read.serve import Server
from cellucid_dask.store.target import Target


class View:
    """The viewer page of an export in a notebook, served by this process until `close`.

    Parameters
    ----------
    target
        The export.
    height
        Height of the frame in pixels.
    """

    def __init__(self, target: Target, height: int = 600) -> None:
        self._server = Server(target).start()
        self._target, self._height = target, height

    @property
    def url(self) -> str:
        """The address of the page for the browser."""
        return _proxied(self._server.port, self._server.path) or self._server.url

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def __repr__(self) -> str:
        """Return the address."""
        return f"{self._target} at {self.url}"

    def _repr_html_(self) -> str:
        url = escape(self.url)
        return (
            f'<iframe src="{url}" title="{escape(self._target.name)}" width="100%" '
            f'height="{int(self._height)}" style="border:1px solid #8884"></iframe>'
            f'<div><a href="{url}" target="_blank" rel="noopener">open in its own tab</a></div>'
        )


def _proxied(port: int, path: str) -> str | None:
    """Return the address behind a hub's proxy, which is that of the Dask dashboard there."""
    link: Any = dask.config.get("distributed.dashboard.link", None)
    if link and "/proxy/" in link:
        places = {"scheme": "http", "host": "127.0.0.1", "port": port, **os.environ}
        base = str(link).format(**places).removesuffix("status").rstrip("/")
    elif prefix := os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        base = f"{prefix.rstrip('/')}/proxy/{port}"
    else:
        return None
    return base + path
