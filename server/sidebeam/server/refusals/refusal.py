"""Every way in which the front turns a request down: status, message and details in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from google.rpc.error_details_pb2 import RetryInfo

from sidebeam.server.refusals.violation import Violation

DOMAIN = "sidebeam"
RETRY_AFTER_S = 1.0  # about what a worker needs to start again


class Refusal(Exception):
    """Ends a call with `status`, which says everything that the caller may know. `reason` is a word for counts."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Sequence[Message] = (), reason: str = "") -> None:
        super().__init__(message)
        number: int = code.value[0]
        self.code = code
        self.reason = reason
        self.retry_after_ms = next((_milliseconds(each) for each in details if isinstance(each, RetryInfo)), None)
        self.status = status_pb2.Status(code=number, message=message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            self.status.details.append(packed)


def invalid(violations: Sequence[Violation]) -> Refusal:
    """The request breaks rules; all of them are named."""
    details = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=each.field, description=each.description)
            for each in violations
        ]
    )
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(map(str, violations)), [details])


def undecodable(why: str) -> Refusal:
    """The request's bytes are no message of its type. `why` is protobuf's word, and names the type."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"the request cannot be decoded: {why}")


def overloaded(reason: str, message: str, retry_after_s: float) -> Refusal:
    """There is no room now; the caller should come back later."""
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, message, [_reason(reason), _retry(retry_after_s)], reason)


def unavailable(reason: str, message: str, retry_after_s: float) -> Refusal:
    """No target worker can answer now."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, message, [_reason(reason), _retry(retry_after_s)], reason)


def unauthenticated(reason: str, message: str) -> Refusal:
    """Nobody knows on whose behalf the call is made."""
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, message, [_reason(reason)], reason)


def absent(message: str) -> Refusal:
    """What is asked for is no part of this sidecar, and will not be."""
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, message)


def out_of_reach(remaining_s: float, least_s: float) -> Refusal:
    """The deadline passes before an answer can come, so none is begun."""
    message = f"{remaining_s * 1e3:.3g} ms are left; the fastest answers lately took {least_s * 1e3:.3g} ms of work"
    return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message, [_reason("OUT_OF_REACH")], "OUT_OF_REACH")


def too_late(message: str) -> Refusal:
    """The deadline passed."""
    return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def unread() -> Refusal:
    """The caller does not read what it is sent."""
    return too_late("the answer was not read within the deadline")


def _reason(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)


def _retry(after_s: float) -> error_details_pb2.RetryInfo:
    whole = math.floor(after_s)
    return RetryInfo(retry_delay=Duration(seconds=whole, nanos=int((after_s - whole) * 1e9)))


def _milliseconds(retry: error_details_pb2.RetryInfo) -> int:
    return int(retry.retry_delay.ToMilliseconds())
