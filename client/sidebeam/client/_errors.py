"""Everything that can go wrong with a call.

SidebeamError
├── InvalidRequest       the request breaks a rule; `violations` names every field that does
├── Unauthenticated      the sidecar does not know on whose behalf the call is made
├── MessageTooLarge      the request or the answer is over a size limit
├── DeadlineExceeded     no answer within the call's deadline
├── TryAgain             the same request may succeed later; `retry_after_s` says when
│   ├── Unavailable      no sidecar answers, or it is starting or shutting down
│   └── Overloaded       the sidecar is up, but will not take more work now
└── ServerError          anything else the sidecar reports
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

# gRPC has no status of its own for an oversized message; both of its sides use these words.
_TOO_LARGE = re.compile(r"message larger than max", re.IGNORECASE)

# The rest of such a message repeats the address and ends with the operating system's words.
_UNREACHABLE = re.compile(r"failed to connect to all addresses", re.IGNORECASE)
_HUNG_UP = "Socket closed"  # by the other side before it spoke HTTP/2


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: the request field's path, and what is wrong with it."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class SidebeamError(Exception):
    """A call failed.

    `code` is the gRPC status, `request_id` the id that the sidecar's logs carry for this call.
    """

    code: grpc.StatusCode
    request_id: str

    def __init__(self, message: str, *, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN, request_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class InvalidRequest(SidebeamError):
    """The request breaks at least one rule; sending it again cannot help."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT,
        request_id: str = "",
        violations: Iterable[Violation] = (),
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.violations: tuple[Violation, ...] = tuple(violations)


class Unauthenticated(SidebeamError):
    """The sidecar does not know the token or certificate, or there was none; sending it again cannot help."""


class MessageTooLarge(SidebeamError):
    """The request is over the sidecar's size limit, or the answer over the client's."""


class DeadlineExceeded(SidebeamError):
    """No answer within the call's deadline."""


class TryAgain(SidebeamError):
    """The same request may succeed later: after `retry_after_s` seconds where the sidecar said so, else None."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.retry_after_s = retry_after_s


class Unavailable(TryAgain):
    """No sidecar answers at the address, or it is starting or shutting down."""


class Overloaded(TryAgain):
    """The sidecar turned the request away to keep its promises to the ones it has."""


class ServerError(SidebeamError):
    """The sidecar failed in a way that this call did not cause."""


def from_rpc_error(error: grpc.aio.AioRpcError, *, address: str, request_id: str, timeout_s: float) -> SidebeamError:
    """Return the error of this module that says what `error` says."""
    code, message = error.code(), error.details() or error.code().name
    details = _details(error)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidRequest(message, request_id=request_id, violations=_violations(details))
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated(message, code=code, request_id=request_id)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{address}: no answer within {timeout_s:g} s", code=code, request_id=request_id)
    if code is grpc.StatusCode.UNAVAILABLE:
        if _UNREACHABLE.match(message):
            reason = message.rpartition(": ")[2]
            hint = ": does it want TLS, or a client certificate?" if reason == _HUNG_UP else ""
            message = f"no sidecar answers there ({reason}{hint})"
        retry_after_s = _retry_after_s(details)
        return Unavailable(f"{address}: {message}", code=code, request_id=request_id, retry_after_s=retry_after_s)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        if details is None and _TOO_LARGE.search(message):
            return MessageTooLarge(message, code=code, request_id=request_id)
        return Overloaded(message, code=code, request_id=request_id, retry_after_s=_retry_after_s(details))
    return ServerError(message, code=code, request_id=request_id)


def _details(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(error)
    except ValueError:  # details that contradict the status they came with
        return None


def _violations(status: status_pb2.Status | None) -> list[Violation]:
    bad_request = error_details_pb2.BadRequest()
    found: list[Violation] = []
    for detail in status.details if status is not None else ():
        if detail.Unpack(bad_request):
            found += (Violation(each.field, each.description) for each in bad_request.field_violations)
    return found


def _retry_after_s(status: status_pb2.Status | None) -> float | None:
    retry_info = error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(retry_info):
            return float(retry_info.retry_delay.seconds + retry_info.retry_delay.nanos / 1e9)
    return None
