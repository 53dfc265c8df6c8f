"""What ``serving.json`` holds: everything between a record and an answer but the model's own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from contracts.errors import Broken
from contracts.records import ServingForm
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.adapters.files import read_json, write_json
from mldl_ray.adapters.links import Link
from mldl_ray.evaluation.calibration import Calibrator

FILE = "serving.json"
GRAPH = "form.onnx"
FORMAT = 1


@dataclass(frozen=True)
class Form:
    """A version's serving form, as data."""

    model_key: str
    task: str
    classes: list[Any]
    link: Link
    encoder: Encoder
    calibrator: Calibrator | None
    serving: ServingForm

    @classmethod
    def of(cls, adapter: BaseModelAdapter, serving: ServingForm) -> Self:
        """Describe how an adapter serves."""
        return cls(
            adapter.model_key,
            adapter.task,
            adapter.classes,
            adapter.link,
            adapter.encoder,
            adapter.calibrator,
            serving,
        )

    def write(self, folder: Path) -> None:
        """Write ``serving.json``."""
        document = {
            "format": FORMAT,
            "model_key": self.model_key,
            "task": self.task,
            "classes": self.classes,
            "link": self.link,
            "encoder": self.encoder.to_json(),
            "calibrator": None if self.calibrator is None else self.calibrator.to_json(),
            "serving": self.serving.model_dump(mode="json"),
        }
        write_json(folder / FILE, document)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``serving.json``.

        Raises:
            Broken: Absent, damaged, or of a format that this release does not know.
        """
        document = read_json(folder / FILE)
        if document.get("format") != FORMAT:
            raise Broken(f"{folder / FILE} has format {document.get('format')!r}; this release reads {FORMAT}")
        try:
            stored = document["calibrator"]
            form = cls(
                str(document["model_key"]),
                str(document["task"]),
                list(document["classes"]),
                cast("Link", document["link"]),
                Encoder.from_json(document["encoder"]),
                None if stored is None else Calibrator.from_json(stored),
                ServingForm.model_validate(document["serving"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Broken(f"{folder / FILE} is damaged: {type(error).__name__}: {error}") from error
        if form.link not in ("sigmoid", "softmax", "identity") or not form._classes_fit():
            raise Broken(f"{folder / FILE} is damaged: link {form.link!r} with {len(form.classes)} classes")
        return form

    def _classes_fit(self) -> bool:
        """Say whether there are classes (clusters, actions) just where the task answers with them."""
        if self.task == "classification":
            return len(self.classes) >= 2
        return bool(self.classes) == (self.task in {"clustering", "reinforcement"})
