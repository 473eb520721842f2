"""What a bucket's answers mean: absent, refused for good, or a failure that may pass.

The client has few classes of errors and puts all else into their text. This is the one place that
reads that text; a real server holds it to its meaning in the tests.
"""

import re
from typing import Final

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import OperationFailedError, TwinshotError

CREATOR: Final = "twinshot-create"
"""The metadata of an object that tells whose put it came from."""


class ServiceAnswer(OSError):  # noqa: N818 - whether it is an error is for the caller to say
    """What a service said to a request that the client cannot make; no status: nothing came."""

    def __init__(self, status: int | None, code: str, said: str, /) -> None:
        super().__init__(status, code, said)
        self.status, self.code, self.said = status, code, said

    def __str__(self) -> str:
        return self.said


Answer = BaseError | OSError
"""Everything that the client raises: absent objects come as FileNotFoundError."""

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_SPOKEN: Final = re.compile(r"<Message>([^<]*)</Message>")
_PASSING_STATUS: Final = frozenset({408, 409, 425, 429})
_PASSING_CODES: Final = frozenset(
    {"BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "XAmzContentSHA256Mismatch"}
)
"""Refusals of one transmission, not of the request; some of them come as status 400."""

_CREDENTIALS: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NO_CREDENTIALS: Final = ("/latest/api/token", "MissingSecretAccessKey", "MissingAccessKeyId")
"""The first is asked for a machine's own credentials where none were given."""

_REMEDIES: Final = {
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "NoSuchBucket": "create the bucket, or name another one",
    "PermanentRedirect": "set AWS_REGION to the bucket's region",
    "RequestTimeTooSkewed": "set this machine's clock",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
}
_STATUS_REMEDIES: Final = {
    301: "set AWS_REGION to the bucket's region",
    401: _CREDENTIALS,
    403: "grant these credentials read, list and write access to it",
    404: "check AWS_ENDPOINT_URL",
    501: "use a service that has conditional puts",
    507: "free some space",
}
_SILENCES: Final = (
    ("ConnectionRefused", "connection refused"),
    ("ConnectionReset", "the connection was reset"),
    ("dns error", "the endpoint's name cannot be resolved"),
    ("ertificate", "the endpoint's certificate is not trusted"),
    ("IncompleteMessage", "the connection ended within an answer"),
    ("TimedOut", "no connection in time"),
    ("Decode", "the answer was cut off"),
    ("Body", "the answer was cut off"),
)
"""Words of the client's detail on what it did not receive, and ours."""


def is_absent(error: Answer, /) -> bool:
    """Return whether the service said that it has no such object: the object, not the bucket."""
    if isinstance(error, ServiceAnswer):
        # An answer to HEAD has no body that could tell the object from the bucket.
        return error.code in {"NoSuchKey", "NoSuchVersion", "404"}
    return isinstance(error, FileNotFoundError) and _code(error) == "NoSuchKey"


def is_present(error: Answer, /) -> bool:
    """Return whether a conditional put was refused because the object exists."""
    # 409 says that another request for the name is under way: nothing is decided yet.
    if isinstance(error, ServiceAnswer):
        return error.status == 412
    return isinstance(error, AlreadyExistsError) and _status(error) != 409


def is_beyond(error: Answer, /) -> bool:
    """Return whether a range begins behind the object's end."""
    return _status(error) == 416


def is_answer(error: Answer, /) -> bool:
    """Return whether the service answered at all, be it with a refusal."""
    return _status(error) is not None


def explained(error: Answer | TimeoutError, /, *, doing: str, place: str) -> TwinshotError:
    """Return our error for the client's: refused for good, or worth another attempt."""
    status, code, text = _status(error), _code(error), str(error)
    if isinstance(error, ServiceAnswer) and status is not None:
        text = f"<Message>{text}</Message>"
    if isinstance(error, TimeoutError):
        return OperationFailedError(doing, "no answer in time")
    if status is None and any(word in text for word in _NO_CREDENTIALS):
        return StoreUnusableError(place, "there are no credentials", _CREDENTIALS)
    if _passes(error, status, code):
        return OperationFailedError(doing, _cause(status, code, text))
    remedy = _REMEDIES.get(code) or _STATUS_REMEDIES.get(status or 0)
    return StoreUnusableError(
        place, _cause(status, code, text), remedy or "use a service that speaks S3"
    )


def _passes(error: Answer, status: int | None, code: str) -> bool:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return False
    if status is None:
        return not isinstance(error, FileNotFoundError)
    if status in {501, 507}:
        return False
    return status >= 500 or status in _PASSING_STATUS or code in _PASSING_CODES


def _status(error: BaseException) -> int | None:
    if isinstance(error, ServiceAnswer):
        return error.status
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _code(error: BaseException) -> str:
    if isinstance(error, ServiceAnswer):
        return error.code
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _cause(status: int | None, code: str, text: str) -> str:
    if status is not None:
        spoken = _SPOKEN.search(text)
        said = f" {code}" if code else ""
        return f"it answered {status}{said}" + (f" ({spoken[1].rstrip('.')})" if spoken else "")
    for word, ours in _SILENCES:
        if word in text:
            return ours
    return text.splitlines()[0].rpartition(" - ")[2]
