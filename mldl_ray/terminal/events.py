"""What has happened; who is told of it, how far each is, and what could not be delivered."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from contracts.events import Event
from mldl_ray.terminal.verb import Terminal, Why, group, plain, remote, table
from mldl_ray.terminal.watching import moment

Types = Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be given again.")]
Subject = Annotated[str | None, typer.Option(help="Only about this model_key, job_id, deployment_id…")]
After = Annotated[int, typer.Option(help="Only after this journal position.")]
Consumer = Annotated[str, typer.Argument(help="A webhook's id, or a broker's name.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    happened = group("What has happened, and who is told.", lists=True)
    remote(happened, "list")(events)
    remote(happened, "consumers")(consumers)
    remote(happened, "replay")(replay)
    remote(happened, "dead-letters")(dead_letters)
    remote(happened, "redeliver")(redeliver)
    app.add_typer(happened, name="events")
    webhooks = group("Addresses that events are posted to.", lists=True)
    remote(webhooks, "create")(create_webhook)
    remote(webhooks, "list")(list_webhooks)
    remote(webhooks, "remove")(remove_webhook)
    app.add_typer(webhooks, name="webhooks")


def events(
    terminal: Terminal,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each new one.")] = False,
    after: After = 0,
    limit: int = 100,
    types: Types = None,
    subject: Subject = None,
) -> None:
    """List what has happened, in order."""
    if follow:
        for event in terminal.client.follow(after=after, types=types or (), subject=subject):
            _event_line(terminal, event)
        return
    found = terminal.client.events(after=after, limit=limit, types=types or (), subject=subject)
    rows = [(e.position, moment(e.at_s), e.type, e.subject, e.actor, e.reason) for e in found]
    terminal.show(found, table("position when event subject by why", rows))


def consumers(terminal: Terminal) -> None:
    """List everyone that events are sent to: how far each is, how far behind, and what holds it up."""
    found = terminal.client.consumers()
    rows = [(c.consumer, c.kind, c.to, c.position, c.waiting, c.dead_letters, c.error) for c in found]
    terminal.show(found, table("consumer kind to position waiting dead trouble", rows))


def replay(
    terminal: Terminal,
    consumer: Consumer,
    after: Annotated[int, typer.Option(help="Journal position; 0: from the beginning.")],
    reason: Why,
) -> None:
    """Send a consumer everything after a position again."""
    found = terminal.client.replay_events(consumer, after=after, reason=reason)
    terminal.show(found, f"{found.consumer} gets everything after position {found.position} again")


def dead_letters(
    terminal: Terminal,
    consumer: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    limit: int = 100,
) -> None:
    """List events that could not be delivered, newest first."""
    found = terminal.client.dead_letters(consumer=consumer, limit=limit)
    rows = [(d.consumer, d.event["id"], d.event["type"], d.event["subject"], d.tries, d.error) for d in found]
    terminal.show(found, table("consumer event type subject tries trouble", rows))


def redeliver(
    terminal: Terminal,
    consumer: Consumer,
    reason: Why,
    event: Annotated[str | None, typer.Option(help="Its id; the consumer's first hundred when absent.")] = None,
) -> None:
    """Send dead letters again, in order. Exit code 6 when one failed again."""
    found = terminal.client.redeliver(consumer, event, reason=reason)
    left = f"; {found.left} left" + (f": {found.error}" if found.error else "") if found.left else ""
    terminal.show(found, f"{len(found.delivered)} delivered to {found.consumer}{left}")
    if found.error:
        raise typer.Exit(6)


def create_webhook(
    terminal: Terminal,
    address: Annotated[str, typer.Argument(help="http or https.")],
    secret: Annotated[str, typer.Option(envvar="MLDL_WEBHOOK_SECRET", help="Shared with the receiver.")],
    types: Types = None,
) -> None:
    """Have events posted to an address, in order, at least once, signed."""
    found = terminal.client.subscribe(address, secret=secret, types=types or ())
    terminal.show(found, f"{found.subscription_id}: events after position {found.position} go to {found.url}")


def list_webhooks(terminal: Terminal) -> None:
    """List who gets which events, how far each is, and what holds it up."""
    found = terminal.client.webhooks()
    rows = [(w.subscription_id, w.url, w.position, " ".join(w.types) or "all", w.error) for w in found]
    terminal.show(found, table("webhook address position events trouble", rows))


def remove_webhook(terminal: Terminal, subscription_id: str, reason: Why) -> None:
    """Post no more events to an address."""
    terminal.client.unsubscribe(subscription_id, reason=reason)
    terminal.show({"removed": subscription_id}, f"{subscription_id} is removed")


def _event_line(terminal: Terminal, event: Event) -> None:
    if terminal.as_json:
        print(json.dumps(plain(event), ensure_ascii=False), flush=True)
    else:
        terminal.say(
            f"{event.position} {moment(event.at_s)} {event.type} {event.subject} {event.actor}: {event.reason}"
        )
