"""What a snapshot's file says of itself: its first member, its last one, and what came of an import."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contracts.specs import Words

Artifacts = Literal["included", "referenced"]
"""Whether a file carries the stored files of its versions and datasets, or only names them."""


class ArchiveHead(Words):
    """The first member."""

    format: Literal[1] = 1
    snapshot_id: str
    reason: str
    position: int = Field(description="The journal is in it up to here.")
    artifacts: Artifacts


class ArchiveMember(Words):
    """One member, and what proves that it is whole."""

    name: str
    size_bytes: int
    sha256: str


class ArchiveIndex(Words):
    """The last member: all others in their order, and the state that they come to."""

    members: tuple[ArchiveMember, ...]
    position: int
    head: str = Field(description="The journal's chain at that position, hex.")
    needed: tuple[str, ...] = Field(description="Digests of every stored file that the state needs.")
    pending: tuple[str, ...] = Field(description="Ids of the events that were not yet delivered.")


class Imported(Words):
    """What an import brought."""

    snapshot_id: str
    position: int
    head: str
    appends: int = Field(description="Written now; fewer than the position where an earlier import was gone on with.")
    files: int = Field(description="Stored files that came with it.")
