"""The page of a search: how it went, what mattered, what was tried, what it cost. Not here: any figure of the winner.

The page carries its own style and drawings, loads nothing and runs nothing, as the model card, whose look it has. What
the winner is worth on rows that it has not seen is on the card.
"""

from __future__ import annotations

import json
from collections import Counter

from contracts.records import Job, TrialRecord
from mldl_ray.evaluation.page import beside, number, page, paragraph, section, table, text, tiles
from mldl_ray.training import _search_drawings as drawings
from mldl_ray.training.history import axes_of, price_of, ranked, sign_of
from mldl_ray.training.importance import LEAST_TRIALS, SHUFFLES, comparable, importance

BEST_SHOWN = 10
MOST_AXES = 12
MOST_LINES = 250
"""Trials that are drawn as lines, so that the page of a long search stays small."""
ERRORS_SHOWN = 5


def report_html(job: Job) -> str:
    """Write the page of a job's search, running or ended.

    Args:
        job: Its record; a section is left away where nothing was tried.
    """
    title = f"{job.job.spec.model_key}: search {job.job_id}"
    return page(title, (_head(job), sections(job)), drawings.STYLE)


def sections(job: Job) -> str:
    """Write what that page says below its head, for a page that has a head and a style of its own."""
    parts = (_tiles(job), _history(job), _best(job), _passed_over(job), _importance(job), _parallel(job), _cost(job),
             _errors(job))  # fmt: skip
    return "\n".join(part for part in parts if part)


def best_so_far(job: Job) -> list[tuple[int, float]]:
    """Give each trial that was better than all before it: its place among those that ended, from 1, and its score.

    Only trials that took every step and may win count; the score of one that was stopped is of fewer rows.
    """
    found: list[tuple[int, float]] = []
    for place, trial in enumerate(job.trials, start=1):
        if trial.status != "completed" or trial.score is None or trial.passed_over is not None:
            continue
        if not found or sign_of(job) * (trial.score - found[-1][1]) > 0:
            found.append((place, trial.score))
    return found


def won(job: Job) -> TrialRecord | None:
    """Give the trial that the job's model is made from; None while there is no model."""
    if job.bundle is None:
        return None
    settings = job.bundle.hyperparams
    return next(
        (trial for trial in ranked(job) if all(settings.get(name) == value for name, value in trial.config.items())),
        None,
    )


def _head(job: Job) -> str:
    spec, hpo = job.job.spec, job.job.hpo
    made = f"Search · {spec.family} for {spec.task.replace('_', ' ')} · job {job.job_id}, {job.status}"
    tags = "".join(f'<span class="tag">{text(tag)}</span>' for tag in spec.tags)
    done, total = len(job.trials), job.progress.trials_total
    lead = (
        f"{done:,} of at most {total:,} configurations, proposed by {hpo.strategy}, judged by {job.metric or 'score'} "
        f"({'more' if sign_of(job) > 0 else 'less'} is better)."
    )
    why = "" if job.error is None else paragraph(f"It failed: {job.error.get('message', job.error)}")
    ended = "" if not job.budget_exhausted else paragraph("The budget ended it; what follows is the best until then.")
    head = f'<p class="soft small">{text(made)}</p><h1>{text(spec.model_key)}</h1>{tags}'
    warm = len(job.warm_started_from)
    began = "" if not warm else paragraph(f"{warm} of the first come from searches on similar data.")
    return f"<header>{head}{paragraph(lead)}{began}{ended}{why}</header>"


def _tiles(job: Job) -> str:
    counts = Counter(trial.status for trial in job.trials)
    best, total = ranked(job), len(job.trials)
    entries = []
    if best:
        note = "cross-validated" if best[0].status == "completed" else "of the steps that were taken"
        entries.append((f"best {job.metric or 'score'}", number(best[0].score), note))
    entries.append(("trials", f"{total:,}", f"{counts['completed']:,} completed"))
    entries.append(("stopped early", f"{counts['pruned']:,}", _share(counts["pruned"], total)))
    entries.append(("failed", f"{counts['failed']:,}", _share(counts["failed"], total)))
    entries.append(("cost", f"{job.cost_units:.4g}", "units, of search and model"))
    if job.ended_at_s is not None and job.created_at_s:
        entries.append(("time", _time(job.ended_at_s - job.created_at_s), "from asking to the end"))
    return tiles(entries)


def _history(job: Job) -> str:
    metric = job.metric or "score"
    drawn = drawings.history(job.trials, best_so_far(job), metric, sign_of(job))
    if not drawn:
        return paragraph("No trial has a score yet.")
    low, high = drawings.shown_range([trial.score for trial in job.trials if trial.score is not None], sign_of(job))
    beyond = sum(trial.score is not None and not low <= trial.score <= high for trial in job.trials)
    cut = f" {beyond:,} far worse are drawn at the edge." if beyond else ""
    lead = (
        "Each dot is a trial; the line is the best so far that may win. Rings were stopped early: their scores are of "
        f"fewer steps and do not count for the line. Crosses failed.{cut}"
    )
    return _drawn("How it went", lead, drawn)


def _best(job: Job) -> str:
    every, winner = ranked(job), won(job)
    if not every:
        return ""
    places = {trial.trial_id: place for place, trial in enumerate(job.trials, start=1)}
    rows = []
    for rank, trial in enumerate(every, start=1):
        mine = winner is not None and trial.trial_id == winner.trial_id
        if rank <= BEST_SHOWN or mine:
            took = (places[trial.trial_id], _time(trial.seconds))
            rows.append((f"{rank}{' ✓' * mine}", number(trial.score), _spread(trial), *took, _config(trial)))
    head = ("", job.metric or "score", "spread", "trial", "time", "settings")
    shown = f'<div class="best">{table(head, rows)}</div>'
    title = f"The best {min(BEST_SHOWN, len(every))}" if len(every) > 1 else "The best"
    lead = "The spread is from the worst to the best step, such as a fold; where spreads overlap, the order is chance."
    return section(title, f"✓ became the model. {lead}" if winner is not None else lead, shown)


def _passed_over(job: Job) -> str:
    found = [trial for trial in job.trials if trial.passed_over is not None]
    if not found:
        return ""
    rows = [(number(trial.score), f"{trial.passed_over} ({_config(trial)})") for trial in found[:BEST_SHOWN]]
    lead = "They scored better than the winner, and cannot win, because they break a constraint."
    return section("Passed over", lead, table((job.metric or "score", "why, and its settings"), rows))


def _importance(job: Job) -> str:
    usable = len(comparable(job)[0])
    found = importance(job)
    if not axes_of(job.trials):
        return ""
    if not found:
        few = f"{usable} trials can be compared, and it takes {LEAST_TRIALS} to say this with any sense."
        why = few if usable < LEAST_TRIALS else "All trials scored the same."
        return section("What mattered", why)
    lead = (
        f"The share of the ups and downs of {usable:,} trials' scores that each setting explains by itself, corrected "
        f"for chance. A bar that does not pass its tick is no more than chance (95 of 100 of {SHUFFLES} shuffles). "
        "Settings that work only together are not seen here, and a search that looks harder where it is good "
        "entangles them."
    )
    return _drawn("What mattered", lead, drawings.shares(found[:MOST_AXES]))


def _parallel(job: Job) -> str:
    best = ranked(job)
    axes = [share.axis for share in importance(job)] or axes_of(best)
    top = {trial.trial_id for trial in best[: max(1, min(BEST_SHOWN, len(best) // 10))]}
    rest = [trial for trial in best if trial.trial_id not in top]
    step = max(1, -(-len(rest) // MOST_LINES))
    shown = [trial for trial in best if trial.trial_id in top] + rest[::step]
    drawn = drawings.parallel(shown, top, axes[:MOST_AXES], job.metric or "score")
    if not drawn:
        return ""
    some = f" {len(shown):,} of {len(best):,} are drawn." if len(shown) < len(best) else ""
    more = f" {len(axes) - MOST_AXES} settings that explain least are left away." if len(axes) > MOST_AXES else ""
    named = "the best one is" if len(top) == 1 else f"the best {len(top)} are"
    lead = f"Each line is a trial on its way through its settings, top to bottom, to its score; {named} orange."
    return _drawn("What was tried", lead + some + more, drawn)


def _cost(job: Job) -> str:
    if not job.trials:
        return ""
    price = price_of(job)
    rows = []
    for status in ("completed", "pruned", "failed"):
        seconds = [trial.seconds for trial in job.trials if trial.status == status]
        if seconds:
            cost = "–" if price is None else f"{sum(seconds) * price:.4g}"
            named, each = "stopped early" if status == "pruned" else status, _time(sum(seconds) / len(seconds))
            rows.append((named, f"{len(seconds):,}", each, _time(sum(seconds)), cost))
    lead = "Time is what trials held a worker for; several run at once. Cost is that time at the price of the job."
    shown = table(("", "trials", "each", "all", "cost units"), rows)
    return section("What it cost", lead, shown)


def _errors(job: Job) -> str:
    found = Counter(trial.error or "no reason was given" for trial in job.trials if trial.status == "failed")
    if not found:
        return ""
    rows = [(count, error) for error, count in found.most_common(ERRORS_SHOWN)]
    more = f" The {ERRORS_SHOWN} most frequent of {len(found)} reasons." if len(found) > ERRORS_SHOWN else ""
    lead = f"{sum(found.values()):,} trials failed; a failed trial cannot win.{more}"
    return section("What failed", lead, table(("trials", "reason"), rows))


def _drawn(title: str, lead: str, drawing: str) -> str:
    return section(title, "", beside(paragraph(lead), drawing))


def _spread(trial: TrialRecord) -> str:
    if len(trial.fold_scores) < 2:
        return "–"
    return f"{number(min(trial.fold_scores))} to {number(max(trial.fold_scores))}"


def _config(trial: TrialRecord) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in trial.config.items()) or "–"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "–"


def _time(seconds: float) -> str:
    """Write a duration.

    >>> _time(0.031), _time(3.21), _time(75), _time(7300)
    ('31 ms', '3.2 s', '1.2 min', '2.0 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
