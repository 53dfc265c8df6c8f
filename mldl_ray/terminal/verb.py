"""What every command has: who calls which service, JSON or a view for people, errors as a sentence and an exit code."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.table import Table
from typer.core import TyperGroup

from contracts.errors import Incompatible, MldlError, NotFound
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_settings

Why = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
_Flag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Url = Annotated[str | None, typer.Option("--url", envvar="MLDL_URL", help="The service; this machine's when absent.")]
_Actor = Annotated[str | None, typer.Option("--as", help="Who acts, for the record; where no key is required.")]
_HELP = "API key."
WIDE = 10_000
"""Columns where nobody looks at a screen: nothing is cut."""


class _Listing(TyperGroup):
    """A group that lists when no command of it is named: ``mldl events --follow`` is ``mldl events list --follow``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def group(help_text: str, *, lists: bool = False) -> typer.Typer:
    """Make a group of commands; with ``lists``, its command ``list`` needs not be typed."""
    return typer.Typer(
        help=help_text,
        cls=_Listing if lists else None,
        no_args_is_help=not lists,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


class Terminal:
    """One command's way in and out."""

    def __init__(self, url: str | None, key: str | None, acting_as: str | None, as_json: bool) -> None:
        self._url, self._key, self._acting_as, self.as_json = url, key, acting_as, as_json
        self.out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)

    @cached_property
    def client(self) -> MLDLClient:
        """Give the client of the service that was asked for."""
        return MLDLClient(self._url or load_settings().url, key=self._key, acting_as=self._acting_as)

    def show(self, value: Any, view: RenderableType | None = None) -> None:
        """Print an answer: the value as JSON when asked for, otherwise the view for people."""
        if self.as_json or view is None:
            print(json.dumps(plain(value), indent=2, ensure_ascii=False), flush=True)
        else:
            self.out.print(view, markup=False)

    def say(self, line: str) -> None:
        """Tell a person what is going on; silent where JSON was asked for."""
        if not self.as_json:
            self.out.print(line, markup=False)


def local(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command that acts on this machine; its first argument is the terminal."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(as_json: bool = False, **given: Any) -> None:
            _run(function, Terminal(None, None, None, as_json), given)

        return _add(app, name, command, function, [_option("as_json", _Flag, False)])

    return decorate


def remote(
    app: typer.Typer, name: str, *, key_options: Sequence[str] = ("--key", "--api-key"), flag: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command that calls the service; its first argument is the terminal.

    Args:
        app: Where the command goes.
        name: What one types.
        key_options: Names of the option for the API key.
        flag: Give it ``--json``; a command that has an option of that name brings its own.
    """
    key = Annotated[str | None, typer.Option(*key_options, envvar="MLDL_KEY", help=_HELP)]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(
            service: str | None = None,
            api_key: str | None = None,
            acting_as: str | None = None,
            as_json: bool = False,
            **given: Any,
        ) -> None:
            _run(function, Terminal(service, api_key, acting_as, as_json), given)

        options = [_option("service", _Url), _option("api_key", key), _option("acting_as", _Actor)]
        return _add(app, name, command, function, options + [_option("as_json", _Flag, False)] * flag)

    return decorate


def table(columns: str, rows: Iterable[Sequence[Any]]) -> Table:
    """Make a table; the columns are one word each."""
    found = Table(box=None, pad_edge=False)
    for name in columns.split():
        found.add_column(name, overflow="fold")
    for row in rows:
        found.add_row(*("" if cell is None else str(cell) for cell in row))
    return found


def plain(value: Any) -> Any:
    """Turn an answer into JSON values.

    >>> plain((1, {"a": (2,)}))
    [1, {'a': [2]}]
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def read_json(text: str, what: str) -> Any:
    """Read JSON that was typed, from ``@file``, or from standard input (``-``).

    Raises:
        Incompatible: It is not JSON.
        NotFound: There is no such file.
    """
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        if not Path(text[1:]).is_file():
            raise NotFound(f"{what}: there is no file {text[1:]}")
        text = Path(text[1:]).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Incompatible(f"{what} is not JSON: {error}") from error


def _run(function: Callable[..., None], terminal: Terminal, given: dict[str, Any]) -> None:
    try:
        function(terminal, **given)
    except MldlError as error:
        print(error.message, file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError as error:
        raise typer.Exit(0) from error  # whoever read our output has seen enough
    except OSError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error


def _option(name: str, kind: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _add(
    app: typer.Typer,
    name: str,
    command: Callable[..., None],
    function: Callable[..., None],
    options: list[inspect.Parameter],
) -> Callable[..., None]:
    """Give ``command`` the function's own parameters and the common ones, which is what Typer reads."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + options
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # a protocol of inspect
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    app.command(name)(command)
    return function
