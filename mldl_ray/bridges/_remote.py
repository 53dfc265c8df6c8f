"""A kernel on another machine, asked over HTTP. Not here: what to do while it is down, which is its caller's to say."""

from __future__ import annotations

import httpx

from contracts.errors import Unavailable
from contracts.specs import Json

TIMEOUT_S = 5.0
LARGEST_ANSWER_BYTES = 2**20


class RemoteKernel:
    """Put questions as JSON to ``<url>/<verb>``.

    Args:
        url: Of the kernel, without the verb.
        needed: What every answer must hold.
        client: Posts; one with its defaults when absent.
    """

    def __init__(self, url: str, needed: frozenset[str], client: httpx.Client | None = None) -> None:
        self._url, self._needed = url.rstrip("/"), needed
        self._client = client or httpx.Client()

    def ask(self, verb: str, question: Json) -> Json:
        """Ask once.

        Raises:
            Unavailable: No answer in time, not a success, or not what was asked for.
        """
        where = f"{self._url}/{verb}"
        try:
            with self._client.stream("POST", where, json=question, timeout=TIMEOUT_S) as answer:
                if not answer.is_success:
                    raise Unavailable(f"{where} answered {answer.status_code}")
                body = self._limited(answer, where)
            found = httpx.Response(200, content=body).json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{where} does not answer: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise Unavailable(f"{where} answered no JSON: {error}") from error
        if not isinstance(found, dict) or not self._needed <= set(found):
            raise Unavailable(f"{where} did not answer with {', '.join(sorted(self._needed))}")
        return found

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    @staticmethod
    def _limited(answer: httpx.Response, where: str) -> bytes:
        body = b""
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > LARGEST_ANSWER_BYTES:
                raise Unavailable(f"{where} answered with more than {LARGEST_ANSWER_BYTES} bytes")
        return body
