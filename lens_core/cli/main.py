"""`lens`: parses, calls one stage or pipeline function, prints. Each group of commands has a file beside this one."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import traceback
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from lens_core.cli import data, evaluate, experiments, kube, output, pipeline, recipe, runs, train
from lens_core.cli.options import (
    DEFAULT_HOME,
    Home,
    Overrides,
    TrackingUri,
    imports_allowed,
    runnable_settings,
    store_of,
)
from lens_core.credentials import mask_log_records, masked
from lens_core.errors import LensError, first_line
from lens_core.signals import ENDING, interrupting

GENERAL = ("--debug", "--quiet", "-q", "--json", "--allow-import")
"""Options of every command, which may stand anywhere before `--`."""


class _GeneralOptionsFirst(TyperGroup):
    """Puts the general options where Typer looks for them; people write them behind the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = args[: args.index("--")] if "--" in args else args
        general = [each for each in own if each in GENERAL]
        return super().parse_args(ctx, [*general, *(each for each in own if each not in GENERAL), *args[len(own) :]])


app = typer.Typer(
    cls=_GeneralOptionsFirst,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="LENS-GRPO: reinforcement learning with verifiable rewards that does not waste mistakes.\n\n"
    "Example: lens demo",
)
for group in (train.app, evaluate.app, experiments.app, runs.app):
    app.add_typer(group)
app.add_typer(recipe.app, name="recipe")
app.add_typer(data.app, name="data")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(kube.app, name="k8s")


def _version() -> str:
    try:
        return metadata.version("lens-grpo")
    except metadata.PackageNotFoundError:
        return "of a checkout that is not installed"


def _print_version(wanted: bool) -> None:
    if wanted:
        output.say(f"lens {_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress: the result alone.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress and result as JSON, one object a line, for logs and programs.")
    ] = False,
    allow_import: Annotated[
        bool,
        typer.Option("--allow-import", help="Run the functions that a YAML file names by import path: it is code."),
    ] = False,
) -> None:
    """Options of every command, wherever they stand; `--debug` is read by `main`."""
    output.manner.set(output.Manner(quiet, as_json))
    imports_allowed.set(allow_import)
    output.if_interrupted.set("")


@app.command()
def demo(home: Home = DEFAULT_HOME, tracking_uri: TrackingUri = None, overrides: Overrides = None) -> None:
    """Run the whole pipeline on this machine: train GRPO and LENS on the ladder, compare their Pass@k.

    Example: lens demo --set train.steps=20
    """
    from lens_pipelines.launch import Launch

    launch = Launch(runnable_settings("demo", overrides), tracking_uri=store_of(tracking_uri, home), registers=False)
    pipeline.run_here(launch, home)


_INTERRUPTED = (130, *(128 + number for number in ENDING))
"""Typer's exit code after Ctrl-C, the shell's convention of 128 + SIGINT, and those of the other signals."""
_UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h: a fault of ours, and not of the input."""


def main() -> None:
    """Entry point: bad input is one line and exit code 2, a fault of ours one line and 70, its traceback in a file.

    `--debug` anywhere before `--` shows the traceback instead.
    """
    debug = "--debug" in sys.argv[: sys.argv.index("--") if "--" in sys.argv else None]
    os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars for every file would run through ours
    mask_log_records()
    try:
        with interrupting():
            code = app(sys.argv[1:], standalone_mode=False)
    except SystemExit as ended:  # by SIGTERM or SIGHUP
        code = ended.code
    except TyperException as error:
        # A group without a command has printed its help already; Typer counts that among the errors, with no message.
        message = getattr(error, "format_message", error.__str__)().rstrip(".")
        if message:
            _complain(f"{message}; see --help")
        sys.exit(2)
    except LensError as error:
        if debug:
            raise
        _complain(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        _report(error, debug)
        sys.exit(_UNEXPECTED)
    if code in _INTERRUPTED:
        _complain("; ".join(filter(None, ("interrupted", output.if_interrupted.get()))))
    sys.exit(code)


def _complain(message: str) -> None:
    output.say(masked(f"lens: {' '.join(message.split())}"), err=True)


def _nobody_reads() -> bool:
    """Whether whoever read our output, such as `head`, has seen enough; other pipes break as well."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def _report(error: Exception, debug: bool) -> None:
    """Say that an exception reached us which nobody expected, and where its traceback is: here, or in a file."""
    trace = masked("".join(traceback.format_exception(error)))
    if debug:
        output.say(trace.rstrip(), err=True)
        return
    said = f"unexpected {type(error).__name__}: {first_line(error)[:200]}; --debug shows the traceback"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="lens-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"lens {_version()}: {masked(shlex.join(sys.argv[1:]))}\n\n{trace}")
    except OSError:  # no disk to write to: perhaps what went wrong
        _complain(said)
        return
    _complain(f"{said}, which is in {file.name}; please report it")
