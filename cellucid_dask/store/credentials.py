"""Credentials that are looked for, by the packages whose options name them.

So an export finds what s3fs, gcsfs and adlfs find: profiles and single sign-on of AWS, the default
credentials of Google and Azure, and those of instances and workloads.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cellucid_dask.store.obstore_options import Place, unencrypted

_NONE_FOUND = "unable to locate credentials"
Provider = Callable[[], Mapping[str, Any]]
_AGAIN = timedelta(minutes=15)  # when credentials that do not say how long they last are asked for


def completed(place: Place) -> tuple[Place, Provider | None]:
    """Return a place with all that its options leave to be found, and what gives credentials."""
    http = dict(place.http)
    if bundle := http.get("root_certificate"):
        http["root_certificate"] = Path(bundle).read_bytes()
    place = replace(place, http=http)
    if place.kind == "s3":
        return _s3(place)
    if place.kind == "gcs":
        return _google(place)
    return place, None if place.credentials is None else _azure()


def _s3(place: Place) -> tuple[Place, Provider | None]:
    from botocore.configprovider import ConfiguredEndpointProvider  # noqa: PLC0415  with s3fs
    from botocore.session import Session  # noqa: PLC0415

    sought = dict(place.credentials or {})
    session = Session(profile=sought.pop("profile", None))
    config = dict(place.config)
    endpoint = (
        config.pop("endpoint", None)
        or ConfiguredEndpointProvider(
            session.full_config, session.get_scoped_config(), "s3"
        ).provide()
    )
    region = config.get("region") or session.get_config_variable("region")
    if endpoint:
        # or obstore prefers what the environment says
        config |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint}
    else:
        region = region_of(place.bucket, region)
    config["region"] = region or "us-east-1"
    place = replace(place, config=config, http={**place.http, **unencrypted(endpoint)})
    if place.credentials is None:
        return place, None
    config["skip_signature"] = False
    return place, (lambda: sought) if sought else _of_session(session)


def _of_session(session: Any) -> Provider:
    def provide() -> Mapping[str, Any]:
        found = session.get_credentials()
        if found is None:
            raise ValueError(_NONE_FOUND)
        now = found.get_frozen_credentials()
        return {
            "access_key_id": now.access_key, "secret_access_key": now.secret_key,
            "token": now.token, "expires_at": datetime.now(UTC) + _AGAIN,
        }  # fmt: skip

    return provide


def region_of(bucket: str, region: str | None, seconds: float = 5.0) -> str | None:
    """Ask AWS for the region of a bucket, as botocore does when it was sent to the wrong one."""
    if region and region.startswith(("us-gov-", "us-iso", "cn-")):  # worlds of their own
        return region
    address = f"https://s3.{region or 'us-east-1'}.amazonaws.com/{bucket}"
    request = urllib.request.Request(address, method="HEAD")
    headers: Any = {}
    with suppress(OSError):
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                headers = answer.headers
        except urllib.error.HTTPError as error:
            headers = error.headers
    return headers.get("x-amz-bucket-region") or region


def _google(place: Place) -> tuple[Place, Provider]:
    from gcsfs.credentials import GoogleCredentials  # noqa: PLC0415

    sought = place.credentials or {}
    found = GoogleCredentials(sought["project"], sought["access"], sought["token"])
    if found.credentials is None:  # reading what is public needs none
        return replace(place, config={**place.config, "skip_signature": True}), _nothing

    def provide() -> Mapping[str, Any]:
        found.maybe_refresh()
        expiry = found.credentials.expiry
        return {
            "token": found.credentials.token,
            "expires_at": expiry.replace(tzinfo=UTC) if expiry else None,
        }

    return place, provide


def _nothing() -> Mapping[str, Any]:
    raise ValueError(_NONE_FOUND)


def _azure() -> Provider:
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415  there with adlfs
    from obstore.auth.azure import AzureCredentialProvider  # noqa: PLC0415

    provider: Provider = AzureCredentialProvider(DefaultAzureCredential())
    return provider
