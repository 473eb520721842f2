"""A place in a bucket of an S3-compatible service: how it is written, and how it is reached.

The AWS_* variables say which service, and with whose rights.
"""

import os
import re
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

import msgspec
from obstore.exceptions import BaseError
from obstore.store import S3Store

from reference_engine.adapters.object_answers import explained
from reference_engine.model.errors import InputRefusedError

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9._=@+-]+(/[A-Za-z0-9._=@+-]+)*")


class BucketPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where objects are: `s3://bucket/prefix`."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str, /) -> "BucketPlace":
        """Return the place that `s3://bucket[/prefix]` names.

        Raises:
            InputRefusedError: it names none.
        """
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        if "@" in bucket:
            # Not repeated in the message: what stands before the sign may be a password.
            raise InputRefusedError(
                "an s3:// address takes no credentials", "put them into AWS_* variables"
            )
        named = _BUCKET.fullmatch(bucket) and (not prefix or _PREFIX.fullmatch(prefix))
        if not named or {".", ".."} & set(prefix.split("/")):
            raise InputRefusedError(
                f"{text} names no place in a bucket", "write s3://bucket/prefix"
            )
        return cls(bucket=bucket, prefix=prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def client_of(place: BucketPlace, /, *, retries: int) -> S3Store:
    """Return a client for the objects below a place; it repeats a failed request `retries` times.

    Raises:
        InputRefusedError: the AWS_* variables name no service that may be spoken to.
        StoreUnusableError: they do not say enough to begin.
    """
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes"}
    if address is not None:
        _check_address(address, plain=plain)
    try:
        return S3Store(
            place.bucket,
            prefix=place.prefix or None,
            # The service checks what arrives; buckets with object lock insist on it.
            checksum_algorithm="sha256",
            # Many services lack the batch form, and we delete one object at a time.
            disable_bulk_delete=True,
            # Limits are ours: the client's own would be the same for one byte and for a pack.
            client_options={"allow_http": plain, "timeout": timedelta(days=1)},
            retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=20)},
        )
    except BaseError as error:
        raise explained(error, doing="opening", place=str(place)) from error


def _check_address(address: str, /, *, plain: bool) -> None:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputRefusedError(
            f"AWS_ENDPOINT_URL is {address!r}", "write it as https://host or https://host:port"
        )
    if parts.scheme == "http" and not plain:
        raise InputRefusedError(
            f"{address} is not encrypted", "use https, or allow it by AWS_ALLOW_HTTP=true"
        )
