"""The command line: one thin module per command, and the one place where errors become exit codes."""

from reconciler.cli.main import main

__all__ = ["main"]
