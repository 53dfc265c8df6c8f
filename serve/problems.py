"""Errors as ``application/problem+json`` (RFC 9457). Which error a situation is, ``contracts.errors`` says."""

from __future__ import annotations

import math

import orjson
from starlette.responses import Response

from contracts.errors import MldlError, Refused, Unauthenticated, Unavailable

PROBLEM = "application/problem+json"


class MethodNotAllowed(Refused):
    """The path exists; not with this method."""

    code, http_status = "method_not_allowed", 405


class Misdirected(Refused):
    """The request names a host that this service is not."""

    code, http_status = "misdirected", 421


class TooSlow(Refused):
    """The request did not arrive in time."""

    code, http_status = "too_slow", 408


def problem(error: MldlError, instance: str = "") -> Response:
    """Say an error over HTTP: a sentence for a person, a stable ``code`` and ``facts`` for a program.

    Args:
        error: What went wrong.
        instance: Path of the request.

    Source:
        RFC 9457; ``Retry-After`` in whole seconds: RFC 9110, section 10.2.3.

    >>> from contracts.errors import NotFound
    >>> answer = problem(NotFound("no job job-1", {"job_id": "job-1"}), "/jobs/job-1")
    >>> answer.status_code, orjson.loads(answer.body)["code"], orjson.loads(answer.body)["facts"]
    (404, 'not_found', {'job_id': 'job-1'})
    """
    body = {
        "type": f"urn:mldl:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.http_status,
        "detail": error.message,
        "code": error.code,
        "instance": instance,
        "facts": error.facts,
    }
    content = orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, error.http_status, _headers(error), PROBLEM)


def _headers(error: MldlError) -> dict[str, str]:
    if isinstance(error, Unavailable):
        return {"Retry-After": str(max(1, math.ceil(float(error.facts["retry_after_s"]))))}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}
