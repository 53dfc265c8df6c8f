"""Ingress's quality rules: documents, one a dataset, each change a version with who made it and why.

They hold for the dataset's name and not for one version of it: what comes next is held to them. What a rule means is in
``quality_check``, what a person begins with in ``quality_infer``.
"""

from __future__ import annotations

import pyarrow as pa

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Document, Journal, Once
from contracts.quality import QualityReport, QualityRules, QualityRulesVersion
from contracts.specs import Json
from mldl_ray.bridges.memory import EmbeddedMemory
from mldl_ray.bridges.quality_check import held, worst
from mldl_ray.bridges.quality_infer import inferred
from mldl_ray.journal.documents import first_answer, load, write

KIND = "quality_rules"
TOLD = 5


class EmbeddedQuality:
    """Keep rules in the journal, and hold rows against them."""

    def __init__(self, journal: Journal, blobs: Blobs, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._memory = EmbeddedMemory(journal, blobs, clock)

    def rules(self, dataset_id: str) -> QualityRulesVersion:
        """Give the rules in force.

        Raises:
            NotFound: There are none.
        """
        document = self._journal.read(KIND, dataset_id)
        if document is None:
            raise _none(dataset_id)
        return _version(document)

    def history(self, dataset_id: str, limit: int = 100) -> list[QualityRulesVersion]:
        """List the rules that were set, newest first."""
        return [_version(document) for document in reversed(self._journal.history(KIND, dataset_id)[-limit:])]

    def inferred(self, dataset_id: str, version: str | None = None) -> QualityRules:
        """Read rules off a dataset; nothing is kept.

        Raises:
            NotFound: No such dataset.
        """
        dataset = self._memory.dataset(dataset_id, version)
        return inferred(dataset, self._memory.table(dataset))

    def set(
        self,
        dataset_id: str,
        rules: QualityRules,
        *,
        expected_number: int | None = None,
        by: str,
        reason: str,
        once: Once | None = None,
    ) -> QualityRulesVersion:
        """Put rules in force; the same rules again write nothing.

        Raises:
            NotFound: No such dataset.
            Conflict: Others were set since ``expected_number``.
        """
        if (known := first_answer(self._journal, once)) is not None:
            return _version(known.documents[0])
        self._memory.dataset(dataset_id)
        current, number = load(self._journal, KIND, dataset_id, QualityRules)
        if expected_number is not None and expected_number != (number if current else 0):
            raise Conflict(
                f"the rules of {dataset_id} are number {number if current else 0} now, not {expected_number}; "
                "read them and try again",
                {"dataset_id": dataset_id, "number": number},
            )
        if current == rules:
            return self.rules(dataset_id)
        fact = _fact(dataset_id, "set", rules)
        receipt = self._journal.append(
            [write(KIND, dataset_id, number, rules)], [fact], actor=by, reason=reason, once=once
        )
        return _version(receipt.documents[0])

    def remove(self, dataset_id: str, *, by: str, reason: str, once: Once | None = None) -> QualityRulesVersion:
        """Take the rules out of force.

        Raises:
            NotFound: There are none.
        """
        if (known := first_answer(self._journal, once)) is not None:
            return _version(known.documents[0])
        current, number = load(self._journal, KIND, dataset_id, QualityRules)
        if current is None:
            raise _none(dataset_id)
        gone = write(KIND, dataset_id, number, current).model_copy(update={"body": None})
        fact = _fact(dataset_id, "removed", current)
        return _version(self._journal.append([gone], [fact], actor=by, reason=reason, once=once).documents[0])

    def report(self, dataset_id: str, version: str | None = None) -> QualityReport:
        """Hold a registered dataset against its rules.

        Raises:
            NotFound: No such dataset, or it has no rules.
        """
        dataset = self._memory.dataset(dataset_id, version)
        found = self.looked_at(dataset_id, self._memory.table(dataset), dataset.version)
        if found is None:
            raise _none(dataset_id)
        return found

    def looked_at(self, dataset_id: str, table: pa.Table, version: str | None = None) -> QualityReport | None:
        """Hold rows against the rules of a dataset; None where there are none."""
        document = self._journal.read(KIND, dataset_id)
        if document is None:
            return None
        findings = held(table, QualityRules.model_validate(document.body).rules, now_s=self._clock.now_s())
        return QualityReport(
            dataset_id=dataset_id,
            version=version,
            rules_number=document.version,
            rows=table.num_rows,
            status=worst(findings),
            findings=tuple(findings),
        )

    def fit(self, dataset_id: str, table: pa.Table, version: str | None = None) -> QualityReport | None:
        """Hold rows against the rules before they teach.

        Raises:
            Incompatible: They break a critical one; the message says which.
        """
        report = self.looked_at(dataset_id, table, version)
        if report is None or report.status != "critical":
            return report
        grave = [finding for finding in report.findings if finding.severity == "critical"]
        told = "; ".join(finding.message for finding in grave[:TOLD])
        more = f"; and {len(grave) - TOLD} more" if len(grave) > TOLD else ""
        facts: Json = {
            "dataset_id": dataset_id,
            "rules_number": report.rules_number,
            "findings": [finding.model_dump(mode="json") for finding in grave[:20]],
        }
        raise Incompatible(
            f"the rows break critical quality rules of {dataset_id}: {told}{more}. Mend the rows, or the rules if they "
            "are wrong",
            facts,
        )


def _version(document: Document) -> QualityRulesVersion:
    return QualityRulesVersion(
        dataset_id=document.key,
        number=document.version,
        rules=None if document.body is None else QualityRules.model_validate(document.body),
        set_by=document.actor,
        reason=document.reason,
        at_s=document.at_s,
    )


def _fact(dataset_id: str, change: str, rules: QualityRules) -> Fact:
    data: Json = {"change": change, "rules": len(rules.rules)}
    return Fact(type="MLDL_QUALITY_RULES_CHANGED", subject=dataset_id, data=data)


def _none(dataset_id: str) -> NotFound:
    return NotFound(
        f"dataset {dataset_id} has no quality rules; read some off it with `mldl quality infer {dataset_id} --save`",
        {"dataset_id": dataset_id},
    )
