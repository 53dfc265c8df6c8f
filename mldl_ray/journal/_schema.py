"""The journal's tables. ``appends`` is the truth; the others are its parts, indexed for reading."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table("mldl_meta", metadata, Column("name", String(40), primary_key=True), Column("value", String(200)))

# Keys are compared byte by byte ("C"), so that paging by key is the same on both stores.
_KIND = String(60)
_KEY = String(400).with_variant(String(400, collation="C"), "postgresql")

appends = Table(
    "mldl_appends",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_s", Float(53), nullable=False),
    Column("once_key", String(255), unique=True),
    Column("once_digest", Text),
    Column("content", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("mldl_appends_at", "at_s"),
)

documents = Table(
    "mldl_documents",
    metadata,
    Column("kind", _KIND, primary_key=True),
    Column("key", _KEY, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at_s", Float(53), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("mldl_documents_position", "position"),
)

heads = Table(
    "mldl_heads",
    metadata,
    Column("kind", _KIND, primary_key=True),
    Column("key", _KEY, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
)

events = Table(
    "mldl_events",
    metadata,
    Column("position", BigInteger, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("type", String(60), nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Index("mldl_events_type", "type", "position"),
    Index("mldl_events_pending", "position", sqlite_where=Column("delivered").is_(False)),
)
