"""The published contracts, written from the code: ``python -m mldl_ray.words`` writes, ``--check`` compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import contracts
from contracts.events import EVENT_TYPES, Event, EventType
from contracts.facts import DATA
from contracts.specs import Json, ModelSpec
from mldl_ray.settings import load_settings
from serve.api import BASE, Actors, build_app

FOLDER = Path(contracts.__file__).parent
MEANINGS: dict[EventType, str] = {
    "MLDL_TRAINING_STARTED": "Training job initiated",
    "MLDL_CANDIDATE_READY": "Model training completed",
    "MLDL_EVALUATED": "Model evaluation completed",
    "MLDL_MODEL_REGISTERED": "Model registered in registry",
    "MLDL_DEPLOYMENT_REQUESTED": "Deployment requested",
    "MLDL_DEPLOYMENT_PROMOTED": "Canary promoted",
    "MLDL_DRIFT_ALERT": "Model drift detected",
    "MLDL_VIOLATION": "SLO or policy violation",
    "ROLLBACK_REQUESTED": "System rollback requested",
    "MLDL_TRAINING_ENDED": "Training job ended: succeeded, failed or cancelled",
    "MLDL_DATASET_REGISTERED": "Dataset registered",
    "MLDL_APPROVAL_REQUESTED": "A registered version waits for approval",
    "MLDL_APPROVAL_DECIDED": "Somebody approved or rejected a version",
    "MLDL_DEPLOYMENT_STEPPED": "Deployment took a step",
    "MLDL_DEPLOYMENT_ROLLED_BACK": "All traffic went back to the version before",
    "MLDL_ALERT_RESOLVED": "Alert acknowledged or resolved",
    "MLDL_SNAPSHOT_EXPORTED": "Snapshot of the whole state taken",
    "MLDL_SNAPSHOT_RESTORED": "State put back as it was at a snapshot",
    "MLDL_POLICY_CHANGED": "Deployment policy replaced",
    "MLDL_KEY_CHANGED": "API key made or revoked",
    "MLDL_ENDPOINT_SCALED": "Somebody changed how many replicas an endpoint has",
    "MLDL_DEPLOYMENT_HELD": "A person holds a rollout where it is",
    "MLDL_DEPLOYMENT_RESUMED": "A held rollout may go on",
    "MLDL_EXCEPTION_CHANGED": "Somebody granted a version an exception from the policy, or ended it",
    "MLDL_SLO_CHANGED": "Somebody set or removed a service level objective",
    "MLDL_SILENCE_CHANGED": "Somebody silenced alerts for a while, or ended that",
    "MLDL_ALIAS_MOVED": "Somebody moved an alias of a model, or took it away",
    "MLDL_MODEL_RETIRED": "Somebody retired a version, or took that back",
    "MLDL_MODEL_DELETED": "Somebody deleted a version",
    "MLDL_FILES_COLLECTED": "Stored files that nothing needed were freed",
    "MLDL_FEATURE_VIEW_REGISTERED": "A feature view, or a new version of one, registered",
    "MLDL_QUALITY_RULES_CHANGED": "Somebody set or removed the data quality rules of a dataset",
    "MLDL_RETRAINING_DECIDED": "Drift had a version trained again, or would have",
}


def model_spec() -> str:
    """Write the JSON Schema of a ModelSpec."""
    schema = ModelSpec.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "mldl.modelspec.schema.json"}
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"


def events() -> str:
    """Write the AsyncAPI document of the events."""
    return _yaml(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "MLDL on Ray: events",
                "version": version("mldl-ray"),
                "description": "An event exists if and only if its state change does: both are one append to the "
                "journal. Read them as a page or as server-sent events, or have them sent to a webhook or a broker as "
                "CloudEvents; in order, at least once, with the same id each time.",
                "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            },
            "defaultContentType": "application/json",
            "channels": {
                "events": {
                    "address": f"{BASE}/events",
                    "description": "`GET` with `Accept: text/event-stream`; `Last-Event-ID` resumes.",
                    "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in EVENT_TYPES},
                },
                "webhooks": {
                    "address": None,
                    "description": "`POST` to the address of a subscription, signed (`docs/events.md` says how).",
                    "messages": {"CloudEvent": {"$ref": "#/components/messages/CloudEvent"}},
                },
                "nats": {
                    "address": "mldl.events.{type}.{subject}",
                    "description": "A stream of NATS JetStream. The prefix `mldl.events` can be configured.",
                    "parameters": {
                        "type": {"description": "The type of the event.", "enum": list(EVENT_TYPES)},
                        "subject": {"description": "Its subject; what is no letter, digit, `-` or `_` as `%XX`."},
                    },
                    "messages": {"CloudEvent": {"$ref": "#/components/messages/CloudEvent"}},
                },
            },
            "operations": {
                "publish": _sends("events", EVENT_TYPES),
                "post": _sends("webhooks", ("CloudEvent",)),
                "store": _sends("nats", ("CloudEvent",)),
            },
            "components": {
                "messages": {name: _message(name) for name in EVENT_TYPES} | {"CloudEvent": _CLOUD_EVENT},
                "schemas": _schemas(),
            },
        }
    )


def api() -> str:
    """Write the OpenAPI document of the HTTP surface."""
    return _yaml(api_document())


def api_document() -> Json:
    """Give the OpenAPI document of the HTTP surface."""
    nobody: Any = None
    return build_app(Actors(*[nobody] * len(Actors._fields)), load_settings({})).openapi()


FILES: dict[str, Callable[[], str]] = {
    "mldl.modelspec.schema.json": model_spec,
    "mldl.events.yaml": events,
    "mldl.api.openapi.yaml": api,
}


def stale() -> list[str]:
    """List the published files that differ from the code."""
    return [name for name, write in FILES.items() if _text(FOLDER / name) != write()]


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with ``--check``; give the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m mldl_ray.words [--check]", file=sys.stderr)
        return 2
    if arguments:
        for name in (different := stale()):
            print(f"contracts/{name} is not what the code says; run: python -m mldl_ray.words", file=sys.stderr)
        return 1 if different else 0
    for name, write in FILES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
    return 0


_CLOUD_EVENT: Json = {
    "name": "CloudEvent",
    "title": "CloudEvent",
    "summary": "Any event, in the form of CloudEvents 1.0; `data` is what its type says",
    "contentType": "application/cloudevents+json",
    "payload": {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "sequence", "actor", "reason", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "description": "The event's; the same at every attempt."},
            "source": {"const": "/mldl"},
            "type": {"type": "string", "enum": list(EVENT_TYPES)},
            "subject": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "sequence": {"type": "string", "description": "Sorts as the journal does."},
            "actor": {"type": "string"},
            "reason": {"type": "string"},
            "data": {"type": "object"},
        },
    },
}


def _sends(channel: str, messages: Sequence[str]) -> Json:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _message(name: EventType) -> Json:
    shapes = [{"$ref": f"#/components/schemas/{shape.__name__}"} for shape in DATA[name]]
    data = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    payload = {
        "allOf": [
            {"$ref": "#/components/schemas/Event"},
            {"type": "object", "properties": {"type": {"const": name}, "data": data}},
        ]
    }
    return {"name": name, "title": name, "summary": MEANINGS[name], "payload": payload}


def _schemas() -> Json:
    """Give the schema of an event and of every shape of its data, by name."""
    shapes: list[type[BaseModel]] = [Event, *dict.fromkeys(shape for shapes in DATA.values() for shape in shapes)]
    wanted: list[tuple[type[BaseModel], Literal["validation"]]] = [(shape, "validation") for shape in shapes]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    schemas: Json = found["$defs"]
    return schemas


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _yaml(document: Json) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
