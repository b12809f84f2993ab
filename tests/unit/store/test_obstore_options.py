"""What users say to s3fs, gcsfs and adlfs, said to obstore."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from cellucid_dask.store.obstore_options import Place, Untranslatable, translate

KEYS = {"key": "AKID", "secret": "hush-hush"}
STATIC = {
    "access_key_id": "AKID", "secret_access_key": "hush-hush", "token": None, "expires_at": None,
}  # fmt: skip
SEARCHED: dict[str, Any] = {"profile": None}


@pytest.mark.parametrize(
    ("options", "environ", "config", "http", "credentials"),
    [
        ({}, {}, {}, {}, SEARCHED),
        (KEYS, {}, {}, {}, STATIC),
        ({"username": "AKID", "password": "hush-hush"}, {}, {}, {}, STATIC),
        ({**KEYS, "token": "t"}, {"AWS_SESSION_TOKEN": "x"}, {}, {}, {**STATIC, "token": "t"}),
        (
            {"client_kwargs": {"aws_access_key_id": "AKID", "aws_secret_access_key": "hush-hush"}},
            {}, {}, {}, STATIC,
        ),
        ({"profile": "lab"}, {}, {}, {}, {"profile": "lab"}),
        ({"anon": True}, {}, {"skip_signature": True}, {}, None),
        ({"anon": False}, {}, {}, {}, SEARCHED),
        ({"endpoint_url": "http://h:9"}, {}, {"endpoint": "http://h:9"}, {}, SEARCHED),
        (
            {"client_kwargs": {"endpoint_url": "https://h", "region_name": "eu-west-1"}},
            {}, {"endpoint": "https://h", "region": "eu-west-1"}, {}, SEARCHED,
        ),
        ({"requester_pays": True}, {}, {"request_payer": True}, {}, SEARCHED),
        (
            {"client_kwargs": {"verify": False}}, {}, {}, {"allow_invalid_certificates": True},
            SEARCHED,
        ),
        ({"client_kwargs": {"verify": "ca"}}, {}, {}, {"root_certificate": "ca"}, SEARCHED),
        ({}, {"AWS_CA_BUNDLE": "ca"}, {}, {"root_certificate": "ca"}, SEARCHED),
        ({"client_kwargs": {"verify": True}}, {"AWS_CA_BUNDLE": "ca"}, {}, {}, SEARCHED),
        (
            {"s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "id"}},
            {}, {"server_side_encryption": "aws:kms", "sse_kms_key_id": "id"}, {}, SEARCHED,
        ),
        (
            {"config_kwargs": {"max_pool_connections": 9, "s3": {"addressing_style": "path"}}},
            {}, {}, {}, SEARCHED,
        ),
        ({"use_listings_cache": False, "default_block_size": 5, "use_ssl": True}, {}, {}, {},
         SEARCHED),
    ],
)  # fmt: skip
def test_s3(
    options: dict[str, Any], environ: dict[str, str], config: dict[str, Any], http: dict[str, Any],
    credentials: dict[str, Any] | None,
) -> None:  # fmt: skip
    place = translate("s3://bucket/a/b", options, environ)
    assert place == Place("s3", "bucket", "a/b", config, http, credentials)
    assert "hush" not in repr(place)
    assert pickle.loads(pickle.dumps(place)) == place  # noqa: S301


@pytest.mark.parametrize(
    ("url", "options", "environ", "why"),
    [
        ("s3://b/a", {"key": "AKID"}, {}, "one of key and secret"),
        ("s3://b/a", {"session": object()}, {}, "option session"),
        ("s3://b/a", {"version_aware": True}, {}, "option version_aware"),
        ("s3://b/a", {"client_kwargs": {"api_version": "x"}}, {}, "client_kwargs.api_version"),
        ("s3://b/a", {"config_kwargs": {"read_timeout": 9}}, {}, "config_kwargs.read_timeout"),
        ("s3://b/a", {"s3_additional_kwargs": {"ACL": "x"}}, {}, "s3_additional_kwargs.ACL"),
        ("s3://b/a", {}, {"AWS_USE_FIPS_ENDPOINT": "true"}, "AWS_USE_FIPS_ENDPOINT"),
        ("s3://b/a?versionId=1", {}, {}, "URL"),
        ("s3://b/a//b", {}, {}, "path"),
        ("s3://b/../b", {}, {}, "path"),
        ("gs://b/a", {"session_kwargs": {"trust_env": True}}, {}, "session_kwargs"),
        ("gs://b/a", {"requester_pays": True}, {}, "requester_pays"),
        ("gs://b/a", {"endpoint_url": "http://127.0.0.1:9"}, {}, ""),
        ("gs://b/a", {}, {"STORAGE_EMULATOR_HOST": "127.0.0.1:9"}, ""),
        ("az://c/a", {}, {}, "account"),
        ("az://c/a", {"account_name": "x", "credential": object()}, {}, "option credential"),
        ("abfs://c@x.dfs.fabric.microsoft.com/a", {}, {}, "URL"),
        ("az://c/a", {"connection_string": "UseDevelopmentStorage=true"}, {}, "UseDevelopment"),
    ],
)
def test_only_fsspec_knows(
    url: str, options: dict[str, Any], environ: dict[str, str], why: str
) -> None:
    with pytest.raises(Untranslatable) as raised:
        translate(url, options, environ)
    assert why in str(raised.value)
    assert bool(why) == bool(str(raised.value))


@pytest.mark.parametrize(
    ("options", "environ", "config", "http", "sought"),
    [
        ({}, {}, {}, {}, {}),
        ({"token": "anon"}, {}, {}, {}, {"token": "anon"}),
        ({"token": "key.json", "project": "p"}, {}, {}, {}, {"token": "key.json", "project": "p"}),
        ({}, {"GCSFS_DEFAULT_PROJECT": "p"}, {}, {}, {"project": "p"}),
        ({"access": "read_only"}, {"STORAGE_EMULATOR_HOST": "default"}, {}, {},
         {"access": "read_only"}),
        (
            {"endpoint_url": "https://storage-x.p.googleapis.com"}, {},
            {"base_url": "https://storage-x.p.googleapis.com"}, {}, {},
        ),
        (
            {"requester_pays": True, "project": "p"}, {}, {},
            {"default_headers": {"x-goog-user-project": "p"}}, {"project": "p"},
        ),
        (
            {"requester_pays": "q"}, {}, {},
            {"default_headers": {"x-goog-user-project": "q"}}, {},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_gcs(
    scheme: str, options: dict[str, Any], environ: dict[str, str], config: dict[str, Any],
    http: dict[str, Any], sought: dict[str, Any],
) -> None:  # fmt: skip
    place = translate(f"{scheme}://bucket/a", options, environ)
    found = {"token": None, "project": None, "access": "full_control", **sought}
    assert place == Place("gcs", "bucket", "a", config, http, found)


ACCOUNT = "https://lab.blob.core.windows.net"
LOCAL = "http://127.0.0.1:1/devstoreaccount1"


@pytest.mark.parametrize(
    ("url", "options", "environ", "config", "http", "credentials"),
    [
        (
            "az://c/a", {"account_name": "lab", "account_key": "k"}, {},
            {"account_name": "lab", "account_key": "k", "credential_type": "access_key"}, {}, None,
        ),
        (
            "abfs://c/a", {"account_name": "lab", "sas_token": "?sv=1&sig=s"}, {},
            {"account_name": "lab", "sas_key": "sv=1&sig=s", "credential_type": "sas_token"}, {},
            None,
        ),
        (
            "abfss://c@lab.dfs.core.windows.net/a", {}, {"AZURE_STORAGE_ACCOUNT_KEY": "k"},
            {"account_name": "lab", "account_key": "k", "credential_type": "access_key"}, {}, None,
        ),
        (
            "az://c/a", {"account_name": "lab", "anon": True}, {},
            {"account_name": "lab", "skip_signature": True}, {}, None,
        ),
        (
            "az://c/a", {"account_name": "lab"}, {"AZURE_STORAGE_ANON": "true"},
            {"account_name": "lab", "skip_signature": True}, {}, None,
        ),
        ("az://c/a", {"account_name": "lab"}, {}, {"account_name": "lab"}, {}, {}),
        ("az://c/a", {"account_name": "lab", "anon": False}, {}, {"account_name": "lab"}, {}, {}),
        (
            "az://c/a", {"account_name": "lab", "account_host": "h:1"}, {},
            {"account_name": "lab", "endpoint": "https://h:1"}, {}, {},
        ),
        (
            "az://c/a",
            {"account_name": "lab", "client_id": "i", "client_secret": "s", "tenant_id": "t"}, {},
            {"account_name": "lab", "client_id": "i", "client_secret": "s", "tenant_id": "t",
             "credential_type": "client_secret"}, {}, None,
        ),
        (
            "az://c/a", {"connection_string": "AccountName=lab;AccountKey=k==;"}, {},
            {"account_name": "lab", "endpoint": ACCOUNT, "account_key": "k==",
             "credential_type": "access_key"}, {}, None,
        ),
        (
            "az://c/a", {}, {"AZURE_STORAGE_CONNECTION_STRING":
            f"BlobEndpoint={ACCOUNT}/;SharedAccessSignature=sv=1&sig=s%3D"},
            {"account_name": "lab", "endpoint": ACCOUNT, "sas_key": "sv=1&sig=s%3D",
             "credential_type": "sas_token"}, {}, None,
        ),
        (
            "az://c/a",
            {"connection_string": f"AccountName=devstoreaccount1;AccountKey=k;BlobEndpoint={LOCAL};"
             "QueueEndpoint=http://q"}, {},
            {"account_name": "devstoreaccount1", "endpoint": LOCAL, "account_key": "k",
             "credential_type": "access_key"}, {"allow_http": True}, None,
        ),
    ],
)  # fmt: skip
def test_azure(
    url: str, options: dict[str, Any], environ: dict[str, str], config: dict[str, Any],
    http: dict[str, Any], credentials: dict[str, Any] | None,
) -> None:  # fmt: skip
    assert translate(url, options, environ) == Place("azure", "c", "a", config, http, credentials)
