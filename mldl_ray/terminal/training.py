"""Training jobs and evaluations. Registered rows are in ``datasets``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from contracts.errors import Incompatible
from contracts.evaluations import Evaluation
from contracts.records import Job
from contracts.specs import Json
from mldl_ray.terminal.datasets import listed
from mldl_ray.terminal.verb import Terminal, Why, group, read_json, remote, table

ModelKey = Annotated[str | None, typer.Option("--model", help="Only of this model_key.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remote(app, "train", key_options=("--api-key",))(train)
    remote(app, "evaluate")(evaluate)
    remote(app, "families")(list_families)
    jobs = group("Training jobs.")
    remote(jobs, "list")(list_jobs)
    remote(jobs, "show")(show_job)
    remote(jobs, "trials")(list_trials)
    remote(jobs, "report")(report_job)
    remote(jobs, "cancel")(cancel_job)
    remote(jobs, "experience")(list_experience)
    app.add_typer(jobs, name="jobs")


def train(
    terminal: Terminal,
    data: Annotated[str | None, typer.Option(help="Parquet or CSV file, or URI.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead of --data: a registered dataset, NAME or NAME@VERSION.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    family: Annotated[
        str | None, typer.Option(help="lr, xgb…; `mldl families` lists them. Chosen for the data when absent.")
    ] = None,
    model_key: Annotated[str | None, typer.Option("--key", help="The model's name (its model_key).")] = None,
    task: Annotated[
        str,
        typer.Option(help="classification, regression, clustering, dimension_reduction, generation or reinforcement."),
    ] = "classification",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A hyperparameter that the search leaves alone, NAME=VALUE.")
    ] = None,
    exclude: Annotated[str, typer.Option(help="Columns that are never features, separated by commas.")] = "",
    sensitive: Annotated[str, typer.Option(help="Columns whose groups fairness compares, separated by commas.")] = "",
    trials: Annotated[int | None, typer.Option(help="Most configurations to try.")] = None,
    strategy: Annotated[str | None, typer.Option(help="bayes, grid, random or hyperband.")] = None,
    metric: Annotated[str | None, typer.Option(help="What the search maximises or minimises.")] = None,
    folds: Annotated[int | None, typer.Option(help="Of the cross-validation.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Times that the folds are drawn anew.")] = None,
    cv_strategy: Annotated[str | None, typer.Option(help="auto, stratified, kfold, group or time.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Rows of one group are never split between folds.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Only rows that are earlier by it learn.")] = None,
    gap: Annotated[int | None, typer.Option(help="In time: rows left out before the ones that judge.")] = None,
    embargo: Annotated[int | None, typer.Option(help="In time: rows left out after the ones that judge.")] = None,
    window: Annotated[str | None, typer.Option(help="In time: expanding, or rolling.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same result.")] = None,
    warm_start: Annotated[
        bool | None,
        typer.Option("--warm-start/--no-warm-start", help="Begin with what did best on similar data, if any is known."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(help="-9 to 9; of the jobs that wait, the highest starts first.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="That each trial holds.")] = None,
    gpus: Annotated[float | None, typer.Option(help="That each trial holds; parts of one below 1.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="That a trial may allocate, as 2GiB, 500MB or bytes; no limit when absent.")
    ] = None,
    spec: Annotated[
        str | None, typer.Option(help="The body of POST /train as JSON, or @file; options win over it.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Show progress until the job ends.")] = True,
) -> None:
    """Train a model by hyperparameter search. Exit code 1 when the job does not succeed."""
    body = read_json(spec, "--spec") if spec else {}
    if not isinstance(body, dict):
        raise Incompatible(f"--spec must be a JSON object like the body of POST /train, got {type(body).__name__}")
    _fill(
        body,
        "spec",
        {
            "model_key": model_key,
            "family": family,
            "task": None if spec and task == "classification" else task,
            "hyperparams": _settings(settings or []) or None,
        },
    )
    _fill(
        body,
        "data",
        _source(data, dataset)
        | {"target": target, "exclude": listed(exclude), "sensitive": listed(sensitive)}
        | {"group_column": group_column, "time_column": time_column},
    )
    _fill(body, "hpo", {"max_trials": trials, "strategy": strategy, "metric": metric, "warm_start": warm_start})
    times = {"gap": gap, "embargo": embargo, "window": window}
    _fill(body, "cv", {"folds": folds, "repeats": repeats, "strategy": cv_strategy} | times)
    _fill(body, "resources", {"cpus": cpus, "gpus": gpus, "memory_bytes": size_bytes(memory) if memory else None})
    body |= {name: value for name, value in (("seed", seed), ("priority", priority)) if value is not None}
    accepted = terminal.client.train(body)
    if not wait:
        terminal.show(accepted, f"{accepted.job_id} {accepted.status}; mldl jobs show {accepted.job_id}")
        return
    job = _watched(terminal, accepted.job_id)
    terminal.show(job, _outcome(job))
    if job.status != "succeeded":
        raise typer.Exit(1)


def evaluate(
    terminal: Terminal,
    job: Annotated[str | None, typer.Option(help="Judge this job's model…")] = None,
    model_key: Annotated[str | None, typer.Option("--model", help="…or this model's version.")] = None,
    version: Annotated[str, typer.Option(help="latest, stable or a number.")] = "latest",
    data: Annotated[str | None, typer.Option(help="File with other rows; the held-out rows when absent.")] = None,
    target: Annotated[str | None, typer.Option(help="Column of the truth in that file.")] = None,
    metrics: Annotated[str, typer.Option(help="Separated by commas; the task's own when absent.")] = "",
) -> None:
    """Judge a model: quality with intervals, calibration, fairness, robustness."""
    rows = {"uri": data, "target": target} if data else None
    found = terminal.client.evaluate(
        job_id=job,
        model_key=model_key,
        version=version if model_key else None,
        data=rows,
        metrics=listed(metrics),
    )
    terminal.show(found, table("figure value low high", _figures(found)))


def list_families(terminal: Terminal) -> None:
    """List the model families, what each can do, and what installs those that are missing."""
    found = terminal.client.families()
    rows = [(view.family, ", ".join(view.tasks), view.resource, view.explain, view.state) for view in found]
    terminal.show(found, table("family tasks resource explains state", rows))


def list_jobs(
    terminal: Terminal,
    model_key: ModelKey = None,
    after: Annotated[str, typer.Option(help="Go on after this job.")] = "",
    limit: int = 50,
) -> None:
    """List jobs, newest first."""
    found = terminal.client.jobs(model_key=model_key, after=after, limit=limit)
    rows = [
        (
            j.job_id,
            j.status,
            j.job.priority,
            j.requested_by,
            j.job.spec.model_key,
            j.job.spec.family,
            f"{j.progress.trials_done}/{j.progress.trials_total}",
            _number(j.progress.best_score),
            f"{j.cost_units:.4f}",
            j.registered_version,
        )
        for j in found
    ]
    terminal.show(found, table("job status priority by model family trials best cost version", rows))


def show_job(terminal: Terminal, job_id: str) -> None:
    """Show a job, its trials and its cost."""
    job = terminal.client.job(job_id)
    terminal.show(job, _outcome(job))


def list_trials(
    terminal: Terminal,
    job_id: str,
    status: Annotated[str | None, typer.Option(help="Only completed, pruned or failed ones.")] = None,
    sort: Annotated[str, typer.Option(help="ended, score (the best first) or seconds (the longest first).")] = "ended",
    after: Annotated[str, typer.Option(help="Only what follows this trial.")] = "",
    limit: int = 50,
    out: Annotated[Path | None, typer.Option(help="Write all trials to this .parquet or .csv file instead.")] = None,
) -> None:
    """List what a job's search tried, or write it to a file."""
    if out is not None:
        rows = _exported(terminal, job_id, out)
        terminal.show({"file": str(out), "trials": rows}, f"{rows} trials in {out}")
        return
    found = terminal.client.trials(job_id, status=status, sort=sort, after=after, limit=limit)
    cells = [
        (t.trial_id, t.status, _number(t.score), f"{t.seconds:.2f}", t.error or t.passed_over or t.config)
        for t in found
    ]
    terminal.show(found, table("trial status score seconds settings", cells))


def report_job(
    terminal: Terminal,
    job_id: str,
    out: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
) -> None:
    """Give a job's search as an HTML page: how it went, what mattered, what was tried, what it cost."""
    page = terminal.client.report(job_id)
    if out is not None:
        out.write_text(page, encoding="utf-8")
        terminal.show({"file": str(out)}, str(out))
        return
    terminal.show({"html": page}, page)


def cancel_job(terminal: Terminal, job_id: str, reason: Why) -> None:
    """Stop a job."""
    job = terminal.client.cancel(job_id, reason=reason)
    terminal.show(job, f"{job.job_id} {job.status}")


def list_experience(terminal: Terminal, model_key: ModelKey = None, limit: int = 100) -> None:
    """List what finished jobs found, which searches on similar data begin with; newest first."""
    found = terminal.client.experience(model_key=model_key, limit=limit)
    rows = [
        (e["job_id"], e["model_key"], e["family"], e["meta"].get("rows"), e["metric"], _number(e["score"]), e["config"])
        for e in found
    ]
    terminal.show(found, table("job model family rows metric score settings", rows))


def _exported(terminal: Terminal, job_id: str, out: Path) -> int:
    """Write a job's trials to a file, and count them."""
    from pyarrow import csv, parquet  # noqa: PLC0415  # slow to load, and only needed here

    from mldl_ray.training.history import flat  # noqa: PLC0415  # as above

    if out.suffix not in {".parquet", ".csv"}:
        raise Incompatible(f"--out {out} must end in .parquet or .csv", {"out": str(out)})
    found = terminal.client.trials_table(job_id)
    if out.suffix == ".csv":
        csv.write_csv(flat(found), out)
    else:
        parquet.write_table(found, out)
    return int(found.num_rows)


def size_bytes(text: str) -> int:
    """Read an amount of memory.

    Raises:
        Incompatible: It is none.

    >>> size_bytes("2GiB"), size_bytes("1.5 MB"), size_bytes("4096")
    (2147483648, 1500000, 4096)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kKMGT])(i?))?B?\s*", text)
    if found is None:
        raise Incompatible(f"--memory {text!r} is no amount; write it as 2GiB, 500MB or 1073741824")
    number, unit, binary = found.groups()
    power = " KMGT".index((unit or " ").upper())
    return int(float(number) * (1024 if binary else 1000) ** power)


def _fill(body: Json, part: str, given: Json) -> None:
    known = {name: value for name, value in given.items() if value not in (None, [])}
    if known:
        body[part] = dict(body.get(part) or {}) | known


def _source(data: str | None, dataset: str | None) -> Json:
    if data and dataset:
        raise Incompatible("give one of --data (a file) or --dataset (registered rows), not both")
    name, _, version = (dataset or "").partition("@")
    return {"uri": data, "dataset_id": name or None, "version": version or None}


def _settings(given: list[str]) -> Json:
    """Read NAME=VALUE pairs; a value is JSON where it can be, else text."""
    found: Json = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Incompatible(f"--set {pair!r} must look like NAME=VALUE, as in max_depth=6")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _watched(terminal: Terminal, job_id: str) -> Job:
    if terminal.as_json:
        return terminal.client.wait_job(job_id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"))
    with Progress(*columns, console=terminal.out) as bar:
        task = bar.add_task(job_id, total=None, best="")

        def show(job: Job) -> None:
            best = "" if job.progress.best_score is None else f"best {job.progress.best_score:.4f}"
            bar.update(task, completed=job.progress.trials_done, total=job.progress.trials_total or None, best=best)

        return terminal.client.wait_job(job_id, on_progress=show)


def _outcome(job: Job) -> str:
    lines = [f"{job.job_id} {job.status}: {job.progress.trials_done} trials, {job.cost_units:.4f} cost units"]
    lines += [f"trained {job.advice.why}"] if job.advice else []
    lines += _beginnings(job)
    if job.error:
        lines.append(str(job.error.get("message", job.error)))
    if job.bundle:
        lines.append(", ".join(f"{name} {value:.4f}" for name, value in job.bundle.metrics.items()))
        lines.append(f"with {job.bundle.hyperparams}")
    if job.registered_version:
        lines.append(f"registered as {job.job.spec.model_key} {job.registered_version}")
    elif job.status == "succeeded":
        lines.append(f'register it: mldl register {job.job_id} --reason "…"')
    return "\n".join(lines)


def _beginnings(job: Job) -> list[str]:
    """Say which configurations came from where, and what came of them here."""
    scores = [(trial.config, _number(trial.score) or trial.status) for trial in job.trials]
    lines = []
    for start in job.warm_started_from:
        came = next((score for config, score in scores if config == start.config), "not tried yet")
        where = f"{start.job_id} ({start.model_key}, {start.distance:.2f} away)"
        lines.append(f"began with {start.config} from {where}: {came}")
    return lines


def _figures(found: Evaluation) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for name, value in found.metrics.items():
        interval = found.intervals.get(name)
        rows.append(
            (name, _number(value), *((_number(interval.low), _number(interval.high)) if interval else ("", "")))
        )
    rows.append(("calibration error", _number(found.calibration.ece), "", ""))
    rows.append(("fairness delta", _number(found.fairness.delta), "", ""))
    rows.append(("noise sensitivity", _number(found.robustness.noise_sensitivity), "", ""))
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
