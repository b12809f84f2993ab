"""The options and environment of s3fs, gcsfs and adlfs, said to obstore.

Pure: of a URL, options and environment variables it makes the `Place` that obstore opens, or
raises `Untranslatable`. Credentials that are looked for elsewhere (profiles, instances, workload
identity, the tools of the providers) are named here and found by `credentials`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure",
    "abfss": "azure",
}  # fmt: skip
# names of the same kind of store, as fsspec has them
PROTOCOLS = {"s3": {"s3", "s3a"}, "gcs": {"gs", "gcs"}, "azure": {"abfs", "az", "abfss"}}
# of fsspec's own machinery, which obstore does without; they change no byte
_MACHINERY = {
    "asynchronous", "batch_size", "block_size", "blocksize", "cache_regions", "cache_timeout",
    "check_connection", "consistency", "default_block_size", "default_cache_type",
    "default_fill_cache", "default_location", "listings_expiry_time", "loop", "max_concurrency",
    "max_paths", "secure_serialize", "skip_instance_cache", "use_listings_cache",
}  # fmt: skip
# no segment may be empty or a dot, and no character a control character
_FOREIGN = re.compile(r"(^|/)(\.{0,2})(/|$)|[\x00-\x1f\x7f]")


class Untranslatable(Exception):  # noqa: N818  no failure: fsspec takes over
    """Something is asked for that only fsspec knows; its text says what, if anyone shall hear."""


@dataclass(frozen=True)
class Place:
    """A bucket or container as obstore opens it.

    Attributes
    ----------
    kind
        ``"s3"``, ``"gcs"`` or ``"azure"``.
    bucket, path
        Where it lies.
    config, http
        obstore's options of the store, and of its connections; a certificate by its file.
    credentials
        Values for obstore, or what `credentials` shall look for; ``None`` of a store that is
        public, or whose `config` has them.
    """

    kind: str
    bucket: str
    path: str
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    http: Mapping[str, Any] = field(default_factory=dict, repr=False)
    credentials: Mapping[str, Any] | None = field(default=None, repr=False)


class _Options:
    """Options of which each is taken once; what is left cannot be translated."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._left = {
            key: value
            for key, value in options.items()
            if value is not None and key not in _MACHINERY
        }

    def take(self, *names: str) -> Any:
        """Return the first of these that is given."""
        given = [self._left.pop(name) for name in names if name in self._left]
        return given[0] if given else None

    def end(self, what: str = "") -> None:
        """Raise `Untranslatable` if any is left that says something."""
        for name, value in self._left.items():
            if value not in ({}, False, ""):
                raise Untranslatable(f"the storage option {what}{name}")


def translate(url: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> Place:
    """Return how obstore opens what a URL names.

    Parameters
    ----------
    url
        Of a file or folder in a bucket.
    options
        As s3fs, gcsfs or adlfs take them.
    environ
        Environment variables.

    Raises
    ------
    Untranslatable
        Only fsspec can open it.
    """
    scheme, _, rest = url.partition("://")
    if "::" in url or "?" in url:
        raise Untranslatable("this URL")
    container, _, path = rest.partition("/")
    bucket, _, account = container.partition("@")
    if _FOREIGN.search(f"{bucket}/{path}" if path else bucket):
        raise Untranslatable("a path with empty parts, dots or control characters")
    kind = KINDS[scheme]
    if kind == "azure":
        return _azure(bucket, path, account, _Options(options), environ)
    make = _s3 if kind == "s3" else _gcs
    return make(container, path, _Options(options), environ)


def _s3(bucket: str, path: str, options: _Options, environ: Mapping[str, str]) -> Place:
    client = _Options(options.take("client_kwargs") or {})
    settings = _Options(options.take("config_kwargs") or {})
    kept = _Options(options.take("s3_additional_kwargs") or {})
    config: dict[str, Any] = {
        "endpoint": options.take("endpoint_url") or client.take("endpoint_url"),
        "region": client.take("region_name") or settings.take("region_name"),
        "server_side_encryption": kept.take("ServerSideEncryption"),
        "sse_kms_key_id": kept.take("SSEKMSKeyId"),
        "request_payer": True if options.take("requester_pays") else None,
    }
    http: dict[str, Any] = {}
    verify = client.take("verify")
    bundle = environ.get("AWS_CA_BUNDLE") if verify is None else verify
    if bundle is False:
        http["allow_invalid_certificates"] = True
    elif isinstance(bundle, str):
        http["root_certificate"] = bundle
    style = _Options(settings.take("s3") or {}).take("addressing_style")
    if style == "virtual":
        raise Untranslatable("the storage option config_kwargs.s3.addressing_style")
    settings.take("max_pool_connections")
    key = options.take("key", "username") or client.take("aws_access_key_id")
    secret = options.take("secret", "password") or client.take("aws_secret_access_key")
    token = options.take("token") or client.take("aws_session_token")
    profile, anonymous = options.take("profile"), options.take("anon")
    if options.take("use_ssl") is False or client.take("use_ssl") is False:
        raise Untranslatable("the storage option use_ssl")
    client.end("client_kwargs.")
    settings.end("config_kwargs.")
    kept.end("s3_additional_kwargs.")
    options.end()
    for name in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"):
        if environ.get(name, "").lower() == "true":
            raise Untranslatable(f"the environment variable {name}")
    credentials: Mapping[str, Any] | None = {"profile": profile}
    if anonymous:
        config["skip_signature"], credentials = True, None
    elif bool(key) != bool(secret):
        raise Untranslatable("one of key and secret without the other")
    elif key:
        credentials = {
            "access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None,
        }  # fmt: skip
    return Place("s3", bucket, path, _given(config), http, credentials)


def _gcs(bucket: str, path: str, options: _Options, environ: Mapping[str, str]) -> Place:
    endpoint, token = options.take("endpoint_url"), options.take("token")
    project, access = options.take("project"), options.take("access")
    emulator, universe = (
        environ.get(name, "") for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_UNIVERSE_DOMAIN")
    )
    if not endpoint and emulator not in ("", "default"):
        endpoint = emulator
    if not endpoint and universe:
        endpoint = f"https://storage.{universe}"
    if endpoint and not re.match(r"https://[\w.-]+\.(googleapis\.com|goog)(/|$)", endpoint):
        raise Untranslatable  # emulators do not speak the language of XML that obstore does
    http: dict[str, Any] = {}
    if payer := options.take("requester_pays"):
        payer = payer if isinstance(payer, str) else project
        if not payer:
            raise Untranslatable("the storage option requester_pays without project")
        http["default_headers"] = {"x-goog-user-project": payer}
    if environ.get("GOOGLE_API_USE_CLIENT_CERTIFICATE", "").lower() == "true":
        raise Untranslatable("the environment variable GOOGLE_API_USE_CLIENT_CERTIFICATE")
    options.end()
    sought = {
        "token": token,
        "project": project or environ.get("GCSFS_DEFAULT_PROJECT"),
        "access": access or "full_control",
    }
    return Place("gcs", bucket, path, _given({"base_url": endpoint}), http, sought)


def _azure(
    bucket: str, path: str, host: str, options: _Options, environ: Mapping[str, str]
) -> Place:
    def option(name: str) -> Any:
        return options.take(name) or environ.get(f"AZURE_STORAGE_{name.upper()}")

    names = ("account_name", "account_key", "sas_token", "connection_string", "tenant_id",
             "client_id", "client_secret")  # fmt: skip
    given = {name: option(name) for name in names}
    account_host, anonymous = options.take("account_host"), option("anon")
    if options.take("location_mode") not in (None, "primary"):
        raise Untranslatable("the storage option location_mode")
    options.take("assume_container_exists")
    options.end()
    if host:
        account, _, domain = host.partition(".")
        if not re.fullmatch(r"(dfs|blob)\.core\.windows\.net", domain):
            raise Untranslatable("this URL")
        given["account_name"] = given["account_name"] or account
    endpoint = f"https://{account_host}" if account_host else None
    if text := given["connection_string"]:
        endpoint, said = _connection(text)
        given = {**dict.fromkeys(given), "account_name": given["account_name"], **said}
    if not given["account_name"]:
        raise Untranslatable("an account without a name")
    config: dict[str, Any] = {"account_name": given["account_name"], "endpoint": endpoint}
    credentials: Mapping[str, Any] | None = None
    if found := _azure_secret(given):
        config |= found
    elif text or str(anonymous).lower() not in ("none", "false", "0", "f", ""):
        config["skip_signature"] = True
    else:
        credentials = {}  # the default ones of the environment
    return Place("azure", bucket, path, _given(config), unencrypted(endpoint), credentials)


def _azure_secret(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of several secrets counts, as adlfs has it; nothing if there is none."""
    if key := given["account_key"]:
        return {"account_key": key, "credential_type": "access_key"}
    if token := given["sas_token"]:
        return {"sas_key": token.removeprefix("?"), "credential_type": "sas_token"}
    names = ("tenant_id", "client_id", "client_secret")
    if given["client_id"]:
        return {"credential_type": "client_secret"} | {name: given[name] for name in names}
    return {}


def _connection(text: str) -> tuple[str, dict[str, Any]]:
    """Return the endpoint that a connection string of Azure names, and what else it says."""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    name = parts.pop("AccountName", None)
    scheme = parts.pop("DefaultEndpointsProtocol", "https")
    suffix = parts.pop("EndpointSuffix", "core.windows.net")
    endpoint = parts.pop("BlobEndpoint", f"{scheme}://{name}.blob.{suffix}").rstrip("/")
    said = {
        "account_name": name or re.split(r"[/.]", endpoint.partition("://")[2])[0],
        "account_key": parts.pop("AccountKey", None),
        "sas_token": parts.pop("SharedAccessSignature", None),
    }
    if left := [part for part in parts if not part.endswith("Endpoint")]:
        raise Untranslatable(f"{left[0]} in a connection string")
    return endpoint, said


def unencrypted(endpoint: str | None) -> dict[str, Any]:
    """Return what lets obstore ask an endpoint whose URL says http."""
    return {"allow_http": True} if endpoint and endpoint.startswith("http://") else {}


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}
