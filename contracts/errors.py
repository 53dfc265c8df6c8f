"""Every error that crosses a room's door, as one tree.

``code`` is API: clients may branch on it. The message is for a person: what was wrong, with which value, what to do.
All arguments live in ``args``, so an error keeps its facts when it travels between processes.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MldlError(Exception):
    """The root. Carries a stable code, an HTTP status, an exit code for the shell, and facts for machines."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, facts: dict[str, Any] | None = None) -> None:
        super().__init__(message, facts or {})

    @property
    def message(self) -> str:
        """Say what was wrong, with which value, and what to do."""
        return str(self.args[0])

    @property
    def facts(self) -> dict[str, Any]:
        """Give the same for a machine; JSON values only."""
        facts: dict[str, Any] = self.args[1]
        return facts

    def __str__(self) -> str:
        return self.message


class Refused(MldlError):
    """The caller's mistake; the same call will fail again."""

    code, http_status, exit_code = "refused", 422, 2


class Incompatible(Refused):
    """Shape, type, schema or framework does not fit."""

    code = "incompatible"


class NotFound(Refused):
    """Nothing has that name."""

    code, http_status, exit_code = "not_found", 404, 3


class Unauthenticated(Refused):
    """No key, or a key that nobody knows."""

    code, http_status, exit_code = "unauthenticated", 401, 4


class Forbidden(Refused):
    """The key is known; its role may not do this."""

    code, http_status, exit_code = "forbidden", 403, 4


class Conflict(Refused):
    """The state moved on, the step is illegal now, or a gate is not met."""

    code, http_status, exit_code = "conflict", 409, 5


class TooLarge(Refused):
    """More bytes or rows than this service takes at once."""

    code, http_status = "too_large", 413


class Unavailable(MldlError):
    """Ours and passing; ``facts["retry_after_s"]`` says when to try again."""

    code, http_status, exit_code = "unavailable", 503, 6

    def __init__(self, message: str, facts: dict[str, Any] | None = None) -> None:
        super().__init__(message, {"retry_after_s": 1.0} | (facts or {}))


class Overloaded(Unavailable):
    """Too much at once; slow down."""

    code, http_status = "overloaded", 429


class Broken(MldlError):
    """Ours and lasting: a corrupt artifact, a record of an unknown schema."""

    code, http_status, exit_code = "broken", 500, 7
