"""Every command, gathered."""

import typer

from services.cli import (
    audit,
    changes,
    dead_letters,
    decisions,
    erase,
    importing,
    keys,
    logs,
    runs,
    snapshots,
    stack,
    watch,
)

app = typer.Typer(
    name="tutelage",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Turns the LLM traffic you already pay for into a small model that you own.",
)
for group in (
    *(stack.app, logs.app, importing.app, runs.app, watch.app),
    *(decisions.app, changes.app, erase.app),
):
    app.registered_commands.extend(group.registered_commands)
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="key")
app.add_typer(runs.run_app, name="run")
app.add_typer(snapshots.app, name="snapshot")
app.add_typer(dead_letters.app, name="dead-letters")
