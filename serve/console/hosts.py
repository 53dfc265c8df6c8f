"""By which names a browser may call the console.

A page of another site can have its own name lead to 127.0.0.1 (DNS rebinding); to the browser both are then one site,
and where no key is asked for, its scripts could read and act. The ``Host`` header still says the other name, so a
service that listens on loopback answers to loopback's names only, and to those that its settings list.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from mldl_ray.settings import Settings
from serve.problems import Misdirected


def check(host: str, settings: Settings) -> None:
    """Refuse a name that is none of ours; any is, where the service listens to others and no names are set.

    Args:
        host: The request's ``Host`` header.
        settings: Where the service listens, and the names that it was given.

    Raises:
        Misdirected: It is another's.
    """
    if not settings.loopback and not settings.hosts:
        return
    name = name_of(host)
    if name in {name_of(known) for known in settings.hosts} - {""} or (settings.loopback and is_loopback(name)):
        return
    raise Misdirected(
        f"this service is not {host[:200] or 'nameless'}; call it by {settings.url}, or list that name in MLDL_HOSTS"
    )


def name_of(host: str) -> str:
    """Take the name out of a ``Host`` header; empty when it is none.

    >>> name_of("LocalHost.:8080"), name_of("[::1]:8080"), name_of("a@b"), name_of("[x")
    ('localhost', '::1', '', '')
    """
    try:
        found = urlsplit(f"//{host}")
        return "" if found.username is not None or found.path else (found.hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Say whether a name always means this machine.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("localhost.evil.example")
    (True, True, True, False)
    """
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
