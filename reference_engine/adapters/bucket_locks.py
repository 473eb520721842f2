"""Locks of single objects in a bucket: S3 Object Lock, by requests of a second client.

A service takes the headers of a lock only as part of what was signed, and the main client signs
none that it does not know. These few requests therefore go through botocore, in threads; each is
one attempt with the limits of the others, and repeated with the same patience.

A bucket with locks keeps every version of every object. What this engine removes it removes by the
version; a deletion without one, anybody's, only hides what is there behind a delete marker.
"""

import asyncio  # noqa: TID251 - adapters are where answers from outside meet the event loop
import base64
import contextlib
import datetime as dt
import functools
import hashlib
import os
import time  # noqa: TID251 - locks end by the calendar
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from reference_engine.adapters.bucket import BucketPlace
from reference_engine.adapters.object_answers import CREATOR, ServiceAnswer, is_absent, is_present
from reference_engine.adapters.patience import PatientService
from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import InputRefusedError, ObjectLockedError
from reference_engine.model.units import SECOND, Instant
from reference_engine.ports.object_locks import LockRule, ObjectLocks

if TYPE_CHECKING:
    from botocore.client import BaseClient

LOCK_PROBE: Final = "~object-lock"
"""What `prove` locks; like every locked object it stays until its lock ends."""

_AT_ONCE: Final = 8
_REMEDY: Final = "create a bucket with object lock, or leave --object-lock away"
_UNSUPPORTED: Final = (400, 501)
_NO_LOCK: Final = "NoSuchObjectLockConfiguration"
_MARKED: Final = 405
"""What is asked of an object whose newest version is a delete marker."""


class BucketLocks(ObjectLocks):
    """Puts, prolongs and respects locks of objects below a prefix of a bucket."""

    def __init__(self, place: BucketPlace, service: PatientService, /) -> None:
        self._bucket, self._prefix = place.bucket, place.prefix
        self._place, self._service = str(place), service
        self.rule: LockRule | None = None
        """None: nothing is locked."""

    def begin(self, rule: LockRule, /) -> None:
        """From now on lock what is put, and delete versions, not names.

        Raises:
            InputRefusedError: what it takes is not installed.
        """
        _ = self._client
        self.rule = rule

    def now(self) -> Instant:
        """Return this machine's clock."""
        return Instant(time.time_ns() // 1000)

    async def prove(self, rule: LockRule, /) -> None:
        """Return only if the service locks what it is told to, and keeps what is locked.

        Raises:
            StoreUnusableError: it does not.
            OperationFailedError: the service failed.
        """
        self.begin(rule)

        async def ask() -> None:
            try:
                await self.put(LOCK_PROBE, b"", "")
            except ServiceAnswer as error:
                if error.status in _UNSUPPORTED:
                    cause = f"the bucket locks no objects ({error})"
                    raise StoreUnusableError(self._place, cause, _REMEDY) from error
                if not is_present(error):
                    raise
            if await self._end(Key=self._key(LOCK_PROBE)) is None:
                cause = "the service ignores locks of objects"
                raise StoreUnusableError(self._place, cause, _REMEDY)
            with contextlib.suppress(ObjectLockedError):
                for version in await self._versions(self._key(LOCK_PROBE)):
                    await self._remove(LOCK_PROBE, version)
                cause = "the service deletes what is locked"
                raise StoreUnusableError(self._place, cause, _REMEDY)

        await self._service.asked(f"locking an object in {self._place}", ask)

    async def put(self, name: str, content: bytes, token: str, /) -> None:
        """Create a locked object by one request that carries the token of whoever puts it.

        Raises:
            ServiceAnswer: it exists, or it may have come to be.
            TimeoutError: no answer in time.
        """
        assert self.rule is not None, name
        await self._call(
            "put_object",
            size=len(content),
            Key=self._key(name),
            Body=content,
            IfNoneMatch="*",
            ChecksumSHA256=base64.b64encode(hashlib.sha256(content).digest()).decode(),
            Metadata={CREATOR: token},
            ObjectLockMode=self.rule.mode.value.upper(),
            ObjectLockRetainUntilDate=_date(self.rule.end_of_new(self.now())),
        )

    async def until(self, name: str, /) -> Instant | None:
        """Return until when the object is locked; None: it is not, or there is none.

        Raises:
            StoreUnusableError: no bucket, no permission.
            OperationFailedError: the service failed.
        """
        return await self._service.asked(
            f"reading the lock of {self._place}/{name}", lambda: self._end(Key=self._key(name))
        )

    async def extend(self, names: Sequence[str], /, *, until: Instant) -> None:
        """Let these objects be locked until then at least; absent ones stay absent.

        Raises:
            StoreUnusableError: no bucket, no permission.
            OperationFailedError: the service failed; some may be prolonged.
        """
        left = iter(names)

        async def work() -> None:
            for name in left:
                await self._extend(name, until)

        # Eight ask at once, and the first one that fails ends all of them.
        tasks = [asyncio.ensure_future(work()) for _ in range(min(_AT_ONCE, len(names)))]
        try:
            for task in tasks:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _extend(self, name: str, until: Instant) -> None:
        assert self.rule is not None, name
        mode = self.rule.mode.value.upper()

        async def ask() -> None:
            lock = {"Mode": mode, "RetainUntilDate": _date(until)}
            try:
                await self._call("put_object_retention", Key=self._key(name), Retention=lock)
            except ServiceAnswer as error:
                if is_absent(error) or error.status == _MARKED:
                    return
                # A lock is never shortened; one that is long enough is all that was wanted.
                if error.status != 403 or (await self.until(name) or 0) < until:
                    raise

        await self._service.asked(f"locking {self._place}/{name}", ask)

    async def erase(self, name: str, /) -> None:
        """Remove every version of an object, the newest first; true also where there is none.

        Raises:
            ObjectLockedError: a lock keeps one of them; what was put above it is gone.
            StoreUnusableError: no bucket, no permission.
            OperationFailedError: it may or may not be gone.
        """
        doing = f"deleting {self._place}/{name}"
        # Each request has patience of its own: all of them at once might never come through.
        for version in await self._service.asked(doing, lambda: self._versions(self._key(name))):
            await self._service.asked(doing, functools.partial(self._remove, name, version))

    async def _versions(self, key: str) -> list[str]:
        """Return every version of one object and every delete marker, the newest first."""
        found: list[tuple[dt.datetime, str]] = []
        marker: dict[str, Any] = {}
        while True:
            page = await self._call("list_object_versions", Prefix=key, **marker)
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if each["Key"] == key:
                    # What hides all others goes first: its date says no more than seconds.
                    at = dt.datetime.max.replace(tzinfo=dt.UTC)
                    found.append(
                        (at if each["IsLatest"] else each["LastModified"], each["VersionId"])
                    )
            # Names follow each other: behind ours there is nothing to look for.
            if not page["IsTruncated"] or page.get("NextKeyMarker", "") > key:
                return [version for _, version in sorted(found, key=lambda e: e[0], reverse=True)]
            marker = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page.get("NextVersionIdMarker", ""),
            }

    async def _remove(self, name: str, version: str) -> None:
        """Remove one version.

        Raises:
            ObjectLockedError: a lock keeps it.
            ServiceAnswer: the service says something else.
        """
        of: dict[str, Any] = {"Key": self._key(name), "VersionId": version}
        try:
            await self._call("delete_object", **of)
        except ServiceAnswer as error:
            if error.status != 403:
                raise
            doing = f"reading the lock of {self._place}/{name}"
            end = await self._service.asked(doing, lambda: self._end(**of))
            if end is None or end <= self.now():
                raise
            date = dt.datetime.fromtimestamp(end / SECOND, dt.UTC)
            raise ObjectLockedError(name, f"{date:%Y-%m-%d %H:%M}Z") from error

    async def _end(self, **of: Any) -> Instant | None:
        """Return until when a version is locked; None: it is not, or there is none."""
        try:
            found = await self._call("get_object_retention", **of)
        except ServiceAnswer as error:
            if is_absent(error) or error.code == _NO_LOCK or error.status == _MARKED:
                return None
            raise
        lock = found.get("Retention", {}).get("RetainUntilDate")
        if lock is None:
            # An answer of which the head was cut off has no body that could be missing.
            raise ServiceAnswer(None, "", "the answer was cut off")
        return _instant(lock)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    async def _call(self, operation: str, *, size: int = 0, **arguments: Any) -> dict[str, Any]:
        call = getattr(self._client, operation)
        return await self._answer(lambda: call(Bucket=self._bucket, **arguments), size)

    async def _answer(self, call: Callable[[], dict[str, Any]], size: int) -> dict[str, Any]:
        from botocore import exceptions as failures  # noqa: PLC0415 - needs an extra

        def ask() -> dict[str, Any]:
            try:
                return call()
            except failures.ClientError as error:
                said = error.response.get("Error", {})
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                code, text = str(said.get("Code", "")), str(said.get("Message", ""))
                raise ServiceAnswer(status, code, text) from error
            except (failures.NoCredentialsError, failures.PartialCredentialsError) as error:
                remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                raise StoreUnusableError(self._place, "there are no credentials", remedy) from error
            except failures.BotoCoreError as error:
                raise ServiceAnswer(None, "", str(error).splitlines()[0]) from error

        async with self._service.limit(size):
            return await asyncio.to_thread(ask)

    @functools.cached_property
    def _client(self) -> "BaseClient":
        try:
            from botocore.config import Config  # noqa: PLC0415 - needs an extra
            from botocore.session import Session  # noqa: PLC0415 - likewise
        except ModuleNotFoundError as error:
            raise InputRefusedError(
                f"locks of objects in {self._place} need the package {error.name}",
                "install it by: pip install 'twinshot[s3-lock]'",
            ) from error
        session = Session()
        # Profiles and files of other tools are not read; see `bucket`.
        session.set_config_variable("config_file", os.devnull)
        session.set_config_variable("credentials_file", os.devnull)
        answer = self._service.patience.answer / SECOND
        address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return session.create_client(
            "s3",
            region_name=region or "us-east-1",
            endpoint_url=address,
            config=Config(
                connect_timeout=answer,
                read_timeout=answer,
                # Behind the client's own repetitions a lost answer could not be told from others.
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path" if address else "auto"},
                max_pool_connections=2 * _AT_ONCE,
            ),
        )


def _date(instant: Instant) -> dt.datetime:
    """Return a date that is never before the instant; services cut off parts of a second."""
    return dt.datetime.fromtimestamp(-(-instant // SECOND), dt.UTC)


def _instant(date: dt.datetime) -> Instant:
    return Instant(int(date.timestamp()) * SECOND)
