"""Secrets in URLs, options and the environment, and whether they are shown anywhere.

``python -m tests.trust.secret_leaks`` makes 111 tries, each in five modes: what a command says,
its log (``-vv``), its result (text, HTML, JSON), names of tasks and files of the export, and the
traceback of ``--debug``; ``--every 4`` takes every fourth.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from tests.helpers import small_anndata, write_h5ad
from tests.trust.confined import Case, Outcome, Step, command, main, run

N_CASES = 111
HUSH = "S3CR3T/q+8Zk0"  # with signs that are written otherwise in URLs
PLAIN = "S3CR3Tq8Zk0"
ESCAPED = "S3CR3T%2Fq%2B8Zk0"
KEY = base64.b64encode(HUSH.encode()).decode()
FORMS = (HUSH, PLAIN, ESCAPED, "q8Zk0", "q+8Zk0", "q%2B8Zk0", KEY)


class LeakyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A store whose errors tell everything, as those of others do at times."""

    protocol = "leaky"
    cachable = False

    def __init__(self, words: str = "", kind: str = "OSError", **options: Any) -> None:
        super().__init__()
        self.words, self.kind, self.options = words, kind, options

    def _fail(self, path: str) -> Any:
        text = f"{self.words} {path} {self.options}"
        raise {"OSError": OSError, "ValueError": ValueError, "Denied": PermissionError,
               "RuntimeError": RuntimeError, "KeyError": KeyError}[self.kind](text)  # fmt: skip

    def info(self, path: str, **_: Any) -> Any:
        return self._fail(path)

    def ls(self, path: str, **_: Any) -> Any:
        return self._fail(path)

    def open(self, path: str, *_: Any, **__: Any) -> Any:
        return self._fail(path)

    def cat_file(self, path: str, *_: Any, **__: Any) -> Any:
        return self._fail(path)


URLS = (
    "http://{host}/a{suffix}?X-Amz-Signature={escaped}&X-Amz-Credential=me",
    "http://{host}/a{suffix}?sv=2022-11-02&sig={escaped}",
    "http://{host}/a{suffix}?token={plain}",
    "http://{host}/a{suffix}?{plain}={plain}",
    "http://{host}/a{suffix}#access_token={plain}",
    "http://{host}/a{suffix};jsessionid={plain}",
    "http://{plain}@{host}/a{suffix}",
    "http://me:{plain}@{host}/a{suffix}",
    "http://me:{secret}@{host}/a{suffix}",
    "http://me:{escaped}@{host}/a{suffix}",
    "ftp://me:{secret}@{host}/a{suffix}",
    "github://{plain}@org/repo/a{suffix}",
    "github://org:{plain}@repo/a{suffix}",
    "s3://{plain}:{plain}@bucket/a{suffix}",
    "zip://a::http://{host}/b.zip?sig={escaped}",
    "zip://a::http://{plain}@{host}/b.zip",
    "simplecache::http://{host}/a{suffix}?sig={escaped}",
    "nowhere://{plain}@host/a{suffix}",
    "nowhere://host/a{suffix}?sig={escaped}",
    "http:/{host}/a{suffix}?sig={plain}",
    "http:/me:{plain}@{host}/a{suffix}",
    "leaky://bucket/a{suffix}?sig={escaped}",
    "leaky://{plain}@bucket/a{suffix}",
    "memory://bucket/a{suffix}?sig={escaped}",
    "memory://bucket/a{suffix}#token={plain}",
)
SAID = (
    "An error occurred (InvalidAccessKeyId): aws_secret_access_key={secret}",
    "Cannot connect to https://host/a?X-Amz-Signature={escaped} ssl:default",
    "403, message='Forbidden', url='https://host/a?sig={escaped}'",
    "<Error>AuthorizationHeaderMalformed Authorization: AWS4-HMAC-SHA256 Signature={secret}",
    "string DefaultEndpointsProtocol=https;AccountName=a;AccountKey={secret};x=y malformed",
    "{{'Authorization': 'Bearer {plain}'}}",
    "{{'token': '{plain}', 'project': None}}",
    "client_secret: {plain} refused",
    "('key', '{option}')",
    "unable to open file (name = 'https://{plain}@host/a.h5ad', errno = 2)",
    "No object at https://me:{secret}@host/x",
    "{option}",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {"key": "AKIA1234", "secret": HUSH},
    {"token": PLAIN},
    {"connection_string": f"AccountName=a;AccountKey={HUSH};EndpointSuffix=x"},
    {"sas_token": f"?sv=1&sig={ESCAPED}"},
    {"client_kwargs": {"headers": {"Authorization": f"Bearer {PLAIN}"}}},
    {"account_key": HUSH},
    {"password": PLAIN, "username": "me"},
)
VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "GITHUB_TOKEN",
    "MY_PASSWORD",
)


def url_of(pattern: str, suffix: str) -> str:
    return pattern.format(
        suffix=suffix, secret=HUSH, plain=PLAIN, escaped=ESCAPED, host=os.environ["REFUSING"]
    )


def said(pattern: str) -> str:
    return pattern.format(secret=HUSH, plain=PLAIN, escaped=ESCAPED, option=HUSH)


def arguments(flag: str, options: Mapping[str, Any]) -> list[str]:
    return [
        part
        for key, value in options.items()
        for part in (flag, f"{key}={value if isinstance(value, str) else json.dumps(value)}")
    ]


def in_python(source: str, target: str, **options: Any) -> Step:
    """Export by the call, and print all that shows a result."""

    def step() -> None:
        import dask

        import cellucid_dask
        from cellucid_dask.store.target import Target

        place = Target.of(target, options.get("storage_options"))
        print(place, repr(place), dask.base.tokenize(str(place)))
        print(cellucid_dask.plan(source, **options), flush=True)
        result = cellucid_dask.export(source, target, progress=False, force=True, **options)
        print(result, repr(result), result._repr_html_(), json.dumps(result.to_dict()))
        opened = cellucid_dask.open_export(target, options.get("storage_options"))
        print(opened, repr(opened), opened._repr_html_(), json.dumps(opened.identity()))
        view = opened.view()
        print(repr(view), view._repr_html_())
        view.close()
        report = cellucid_dask.verify(target, storage_options=options.get("storage_options"))
        print(report, repr(report), report._repr_html_(), json.dumps(report.to_dict()))

    return step


def graph(source: str, target: str, **options: Any) -> Step:
    """Print the names and values of the tasks, and what was written."""

    def step() -> None:
        import dask

        import cellucid_dask

        def note(key: Any, dsk: Any, _: Any) -> None:
            print(key, repr(dsk.get(key))[:2000] if hasattr(dsk, "get") else "")

        with dask.callbacks.Callback(pretask=note):
            cellucid_dask.export(source, target, progress=False, force=True, **options)
        memory = fsspec.filesystem("memory")
        for path in memory.find("/"):
            content = memory.cat(path)
            if any(form.encode() in content for form in FORMS):
                print(f"{path} holds {PLAIN}")

    return step


def look(
    source: str, target: str, scratch: str | None, options: Mapping[str, Any],
    source_options: Mapping[str, Any], variables: Mapping[str, str], outside: Path, work: Path,
) -> Outcome:  # fmt: skip
    """Try all modes; a secret in what they print or write is a leak."""
    given = ["--memory-budget", "200MiB", "--no-progress"]
    given += arguments("--storage-option", options)
    given += arguments("--source-storage-option", source_options)
    given += ["--scratch", scratch] if scratch else []
    call: dict[str, Any] = {"memory_budget": "200MiB", "storage_options": dict(options),
                            "source_storage_options": dict(source_options)}  # fmt: skip
    call |= {"scratch": scratch} if scratch else {}
    export = partial(command, "export", source, target, *given, "--force")
    steps: dict[str, Step] = {
        "message": export(),
        "message of plan": command("plan", source, target, *given),
        "message of verify": command("verify", target, *arguments("--storage-option", options)),
        "log": export("-vv"),
        "result": export("--json"),
        "result in Python": in_python(source, target, **call),
        "graph": graph(source, target, **call),
        "--debug": export("--debug"),
        "--debug of verify": command(
            "verify", target, "--debug", *arguments("--storage-option", options)
        ),
    }
    for name, value in variables.items():
        os.environ[name] = value
    outcome = run(steps, outside, work, max_seconds=60, max_rss=2**30)
    for name in variables:
        del os.environ[name]
    outcome.faults = [each for each in outcome.faults if each[0] in ("hang", "leak")]
    for step, text in outcome.said.items():
        found = {form for form in FORMS if form in text}
        if found:
            at = text.index(next(iter(found)))
            outcome.faults.append(("leak", f"{step}: {text[max(at - 100, 0) : at + 40]!r}"))
    return outcome


def cases(_: random.Random, folder: Path, outside: Path) -> Iterator[list[Case]]:
    """Yield the tries by where the secret is."""
    fsspec.register_implementation("leaky", LeakyFileSystem, clobber=True)
    good = str(write_h5ad(small_anndata(), folder / "good.h5ad"))
    bad = folder / "bad.h5ad"
    bad.write_bytes(Path(good).read_bytes()[:3000])
    Try = Callable[..., Case]

    def case(name: str, source: str, target: str, scratch: str | None = None, *,
             options: Any = {}, source_options: Any = {}, variables: Any = {}) -> Case:  # noqa: B006  # fmt: skip
        what = partial(look, source, target, scratch, options, source_options, variables, outside)
        return name, what

    make: Try = case
    yield [make(f"source {url}", url_of(url, ".h5ad"), "memory://out/a") for url in URLS]
    yield [make(f"target {url}", good, url_of(url, "")) for url in URLS]
    yield [make(f"scratch {url}", good, "memory://out/a", url_of(url, "")) for url in URLS]
    leaks = [(words, kind) for words in SAID for kind in ("OSError", "Denied", "ValueError")]
    yield [
        make(
            f"{kind} of the target: {words}", good, "leaky://bucket/a",
            options={"words": said(words), "kind": kind, "secret": HUSH},
        )
        for words, kind in leaks
    ]  # fmt: skip
    yield [
        make(
            f"{kind} of the source: {words}", "leaky://bucket/a.h5ad", "memory://out/a",
            source_options={"words": said(words), "kind": kind, "secret": HUSH},
        )
        for words, kind in leaks
    ]  # fmt: skip
    places = ("s3://bucket/a", "abfs://container@account.dfs.core.windows.net/a",
              "leaky://bucket/a", "memory://bucket/a")  # fmt: skip
    yield [
        make(f"options {[*options]} of {place}", good, place, options=refused(place) | options)
        for place in places
        for options in OPTIONS
    ]
    yield [
        make(f"{name} beside {place}", good, place, options=refused(place),
             variables={name: HUSH})
        for place in places
        for name in VARIABLES
    ]  # fmt: skip
    yield [
        make("token of gs", good, "gs://bucket/a", options=refused("gs") | {"x": PLAIN}),
        make("a damaged file on a server", f"leaky://h/{bad}?sig={ESCAPED}", "memory://out/a"),
    ]


def refused(place: str) -> dict[str, Any]:
    """Return the options with which a store of this kind refuses at once."""
    host = f"http://{os.environ['REFUSING']}"
    if place.startswith("s3"):
        return {"endpoint_url": host}
    if place.startswith("gs"):
        return {"endpoint_url": host, "token": "anon"}
    if place.startswith("abfs"):
        return {"connection_string": f"BlobEndpoint={host}/a;AccountName=a;AccountKey={KEY}"}
    return {}


class Refusing(BaseHTTPRequestHandler):
    """Refuses everything, and says what was asked."""

    def answer(self) -> None:
        body = f"Forbidden: {self.path} {dict(self.headers)}".encode()
        self.send_response(403, f"Forbidden {self.path}"[:2000])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def refusing() -> Iterator[None]:
    """Run a server that refuses everything, in a process of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    child = os.fork()
    if child == 0:
        server.serve_forever()
    os.environ["REFUSING"] = f"127.0.0.1:{server.server_address[1]}"
    server.server_close()
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    with refusing():
        sys.exit(main(cases, N_CASES, str(__doc__)))
