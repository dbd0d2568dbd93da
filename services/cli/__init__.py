"""The `tutelage` command."""

from services.cli.commands import app

__all__ = ["app"]
