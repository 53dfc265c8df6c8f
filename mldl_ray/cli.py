"""The ``mldl`` command. Its commands are in ``terminal``."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from mldl_ray.terminal import (
    audit,
    bridges,
    datasets,
    deploying,
    endpoints,
    events,
    governing,
    keeping,
    lineage,
    naming,
    quality,
    registry,
    served,
    snapshots,
    system,
    training,
    views,
    watching,
)
from mldl_ray.terminal.verb import group

app = group("MLDL on Ray: define → train → evaluate → register → deploy → monitor → rollback.")
for chapter in (
    system,
    training,
    datasets,
    registry,
    naming,
    lineage,
    keeping,
    served,
    governing,
    deploying,
    snapshots,
    endpoints,
    watching,
    events,
    audit,
    bridges,
    views,
    quality,
):
    chapter.add(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(version("mldl-ray"))
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the release.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """MLDL on Ray: define → train → evaluate → register → deploy → monitor → rollback."""


def main() -> None:
    """Run the command that was typed. It talks to ``MLDL_URL`` with the key ``MLDL_KEY``."""
    app()


if __name__ == "__main__":
    main()
