"""The control plane's HTTP surface, one file per noun."""

from typing import Annotated

from fastapi import Path, Query

from contracts.specs import MODEL_KEY_PATTERN

LARGEST = 2**63 - 1
"""The largest position that a journal can hold."""

KeyInPath = Annotated[str, Path(pattern=MODEL_KEY_PATTERN, description="The model's name.")]
VersionInPath = Annotated[str, Path(max_length=64, description="A semantic version, or an alias that leads to one.")]
IdInPath = Annotated[str, Path(pattern=MODEL_KEY_PATTERN)]
KeyFilter = Annotated[str | None, Query(pattern=MODEL_KEY_PATTERN, description="Only of this model_key.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in the answer.")]
After = Annotated[int, Query(ge=0, le=LARGEST, description="Only what came after this journal position.")]
WhyInQuery = Annotated[str, Query(min_length=1, max_length=2000, description="Why; kept in the journal.")]
