"""Commands that are imported when they are called: `rkyc --help` shows a list and loads none of them.

A command is an `Outline` in the list: its name, one line of help, and the module that has it. The
module declares a `typer.Typer` called `program` and imports at its top whatever it needs. The
outline is exchanged for it when the command is called.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rkyc.errors import ConfigError


class Outline(TyperCommand):
    """A command as the list of commands shows it."""

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=help)
        self.module = module

    def load(self) -> Any:
        """Import the command itself.

        Raises:
            ConfigError: it needs an extra that is not installed.
        """
        try:
            module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing.startswith("rkyc"):
                raise
            raise ConfigError(
                f"rkyc {self.name} needs {missing}, which is not installed: install rkyc[all]"
            ) from error
        return typer.main.get_command(module.program)


class LazyGroup(TyperGroup):
    """A group whose commands are outlines until one is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Outline) else command, rest
