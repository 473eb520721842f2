"""The `twinshot` command: options, exit codes, and what is said when something goes wrong.

Commands are named here and imported only when they run, so that `--help` is quick and works
whatever is installed beside it. A command is a function that takes `output` and returns its exit
code; whatever it raises from the engine's tree of errors becomes one sentence and a code.
"""

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, cast

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownCommandError,
    UnusedCliTokensError,
)

from reference_engine.app.output import ConsoleOnDemand, Form, Loudness, Output
from reference_engine.model.errors import TwinshotError
from reference_engine.model.wording import suggestion

if TYPE_CHECKING:
    from rich.console import Console

_INPUT: Final = 2
_INTERNAL: Final = 70
_INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141

_COMMANDS: Final = (
    ("backup", "reference_engine.app.backup_command:backup", "Back up disk files as one machine."),
    ("points", "reference_engine.app.points_command:points", "List the recovery points."),
    ("restore", "reference_engine.app.restore_command:restore", "Write a point's disks to images."),
    ("verify", "reference_engine.app.verify_command:verify", "Read points to the last block."),
    (
        "items volumes",
        "reference_engine.app.items.volumes_command:volumes",
        "List the volumes of a point's disks.",
    ),
    (
        "items list",
        "reference_engine.app.items.list_command:list_",
        "List files in a point.",
    ),
    (
        "items extract",
        "reference_engine.app.items.extract_command:extract",
        "Take files out of a point.",
    ),
    (
        "repo init",
        "reference_engine.app.repo.init_command:init",
        "Make a new repository.",
    ),
    (
        "repo info",
        "reference_engine.app.repo.info_command:info",
        "Say what a repository is, and which runs are under way in it.",
    ),
    (
        "repo stats",
        "reference_engine.app.repo.stats_command:stats",
        "Say how much points hold, and how little of it is stored.",
    ),
    (
        "repo prune",
        "reference_engine.app.repo.prune_command:prune",
        "Remove points that no rule keeps, and free their space.",
    ),
    (
        "repo check",
        "reference_engine.app.repo.check_command:check",
        "Find everything that is not as it was written.",
    ),
    (
        "repo repair",
        "reference_engine.app.repo.repair_command:repair",
        "Mend what can be mended; nothing is removed.",
    ),
    (
        "repo copy",
        "reference_engine.app.repo.copy_command:copy",
        "Copy points to a second repository.",
    ),
    ("repo key add", "reference_engine.app.repo.key_commands:add", "Add a key."),
    ("repo key list", "reference_engine.app.repo.key_commands:show", "List the keys."),
    ("repo key remove", "reference_engine.app.repo.key_commands:remove", "Remove a key."),
    (
        "repo key rotate",
        "reference_engine.app.repo.key_commands:rotate",
        "Replace the key that was used, or the master key.",
    ),
    ("repo domain add", "reference_engine.app.repo.domain_commands:add", "Add a domain."),
    ("repo domain list", "reference_engine.app.repo.domain_commands:show", "List the domains."),
    (
        "repo domain shred",
        "reference_engine.app.repo.domain_commands:shred",
        "Destroy a domain with all its points, for ever.",
    ),
    (
        "simulate",
        "simulator.campaign.commands:simulate",
        "Run scenarios against a simulated cluster.",
    ),
    (
        "replay",
        "simulator.campaign.replaying.command:replay",
        "Run a recorded run again, and look into it.",
    ),
    (
        "campaign",
        "simulator.campaign.sweep.command:campaign",
        "Run random scenarios, as many as there is time for.",
    ),
    (
        "explore",
        "simulator.campaign.exploring.command:explore",
        "Run every order of a few happenings in the smallest world.",
    ),
    (
        "shrink",
        "simulator.campaign.shrinking.command:shrink",
        "Make a failing scenario as small as it can be.",
    ),
    (
        "explain",
        "simulator.campaign.explaining.command:explain",
        "Tell the story of one recovery point.",
    ),
    (
        "determinism",
        "simulator.campaign.determinism.command:determinism",
        "Run seeds again under conditions that must not matter.",
    ),
    ("mutants", "simulator.campaign.mutant_command:mutants", "Prove that planted bugs are found."),
    *(
        (f"scenario {word}", f"simulator.campaign.scenarios.commands:{name}", purpose)
        for word, name, purpose in (
            ("list", "list_", "List scenarios, with what must come of them."),
            ("show", "show", "Draw a scenario: who is where, what happens when."),
            ("check", "check", "Say what is wrong with scenario files."),
            ("new", "new", "Write a scenario to begin with."),
            ("schema", "schema", "Write the JSON Schema that editors use."),
        )
    ),
    (
        "prove repository",
        "simulator.campaign.proving.seeds_command:repository",
        "Cut the power under random runs, and restore everything.",
    ),
    (
        "prove schedules",
        "simulator.campaign.proving.schedules_command:schedules",
        "Let each process be overtaken at every call.",
    ),
    (
        "prove kills",
        "simulator.campaign.proving.kills_command:kills",
        "Kill real processes at every call that changes a file.",
    ),
    (
        "prove errors",
        "simulator.campaign.proving.kills_command:errors",
        "Let every call of real processes fail.",
    ),
    (
        "prove power-cuts",
        "simulator.campaign.proving.power.command:power_cuts",
        "Cut the power under real file systems while commands work.",
    ),
    (
        "completion",
        "reference_engine.app.completion_command:completion",
        "Let a shell complete commands and options.",
    ),
    (
        "bench sync",
        "reference_engine.app.bench.sync_command:sync",
        "Measure backup and restore beside other tools.",
    ),
    (
        "bench damage",
        "reference_engine.app.bench.damage_command:damage",
        "Flip bits and kill calls, here and in other tools.",
    ),
    (
        "bench simulate",
        "simulator.campaign.speed_command:simulate",
        "Measure how fast nights are simulated.",
    ),
    (
        "bench compare",
        "reference_engine.app.bench.compare_command:compare",
        "Say what became slower or larger.",
    ),
)

_GROUPS: Final = {
    "items": "Look into a point, and take single files out of it.",
    "scenario": "List, draw, check and begin scenario files.",
    "prove": "Prove that nothing makes a repository lose a point.",
    "repo": "Make repositories and look after them as a whole.",
    "repo key": "Say who can open an encrypted repository.",
    "repo domain": "Keep points apart that are to be destroyed together one day.",
    "bench": "Measure speed and size, and hold results against each other.",
}
"""What the words before the last one stand for; a group comes before the groups in it."""


class Options:
    """What was asked for outside the commands, once it is known."""

    def __init__(self) -> None:
        self.output = Output(form=Form.PEOPLE, loudness=Loudness.NORMAL)


def command_line(options: Options, /) -> App:
    """Return the whole command line; `options` is filled in when it runs."""
    app = App(
        name="twinshot",
        help="Back up virtual disks, restore them, and prove that every recovery point is exact.",
        version=_version,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        # It is asked for what a console offers, and only where help is wanted.
        console=cast("Console", ConsoleOnDemand()),
    )
    groups = {"": app}
    for name, purpose in _GROUPS.items():
        groups[name] = App(name=name.rpartition(" ")[2], help=purpose)
    for name, target, purpose in _COMMANDS:
        group, _, word = name.rpartition(" ")
        groups[group].command(target, name=word, help=purpose)
    for name in _GROUPS:
        groups[name.rpartition(" ")[0]].command(groups[name])

    app.meta.suppress_keyboard_interrupt = False

    @app.meta.default
    def launch(
        *rest: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        quiet: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    ) -> int:
        """Run a command.

        Args:
            rest: The command with its own options.
            json: Write results as JSON, one object a line.
            quiet: Write nothing but results and errors.
        """
        options.output = Output(
            form=Form.JSON_LINES if json else Form.PEOPLE,
            loudness=Loudness.QUIET if quiet else Loudness.NORMAL,
        )
        return _call(app, rest, options.output)

    return app.meta


def _version() -> str:
    # Only where it is asked for: what finds it is slow to load.
    from reference_engine.app.version import PROJECT, installed_version  # noqa: PLC0415

    return f"{PROJECT} {installed_version()}"


def run(tokens: Sequence[str], /) -> int:
    """Run one command line and return its exit code; whatever went wrong has been said."""
    options = Options()
    try:
        return int(command_line(options)(tokens, exit_on_error=False, print_error=False) or 0)
    except CycloptsError as error:
        options.output.error(_usage(error), code=_INPUT)
        return _INPUT
    except TwinshotError as error:
        # Only now: the table of codes knows adapters, which `--help` should not load.
        codes = importlib.import_module("reference_engine.app.exit_codes")
        code = int(codes.exit_code_of(error))
        said = str(error)
        # The note says which of several places is meant; some sentences begin with it anyway.
        places = [note for note in getattr(error, "__notes__", ()) if not said.startswith(note)]
        options.output.error(": ".join([*places, said]), code=code)
        return code
    except KeyboardInterrupt:
        options.output.error("interrupted; nothing incomplete passes for whole", code=_INTERRUPTED)
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost supervisor; nobody is above
        place = _write_crash(error)
        options.output.error(
            f"internal error ({type(error).__name__}); please report {place}", code=_INTERNAL
        )
        return _INTERNAL


def _call(app: App, tokens: Sequence[str], output: Output) -> int:
    command: Callable[..., Any]
    command, bound, left = app.parse_args(tokens, exit_on_error=False, print_error=False)
    # What is loaded now stays.
    gc.freeze()
    gc.enable()
    extra = {"output": output} if "output" in left else {}
    return int(command(*bound.args, **bound.kwargs, **extra) or 0)


def _usage(error: CycloptsError) -> str:
    """Return what is wrong with a command line, in one sentence."""
    if isinstance(error, UnknownCommandError):
        # The error's own text would import every command to list it.
        wanted = (error.unused_tokens or [""])[0]
        chain = tuple(error.command_chain or ())
        begun = (" ".join(chain[:length]) for length in range(len(chain), 0, -1))
        group = next((name for name in begun if name in _GROUPS), "")
        names = _words_below(group)
        return f"there is no command {wanted!r}; {suggestion(wanted, names)}"
    help_ = f"`twinshot {' '.join([*(error.command_chain or ()), '--help'])}` says what it takes"
    if isinstance(error, UnusedCliTokensError):
        return f"{' '.join(error.unused_tokens or ())!r} is too much; {help_}"
    if isinstance(error, MissingArgumentError) and error.argument and not error.keyword:
        # The error's own text says "requires an argument" of what was not given at all.
        variable = next(iter(error.argument.parameter.env_var or ()), "")
        hint = f"give it, or set {variable}" if variable else help_
        return f"{error.argument.name} is missing; {hint}"
    return _sentence(str(error))


def _words_below(group: str) -> list[str]:
    """Return what may stand behind a group's name, or first where there is none."""
    above = group.split()
    words = [name.split() for name, _, _ in _COMMANDS]
    below = [each[len(above)] for each in words if each[: len(above)] == above]
    return list(dict.fromkeys(below))


def _sentence(message: str) -> str:
    return " ".join(message.split())


def _write_crash(error: Exception) -> str:
    """Return where the details of an internal error were written."""
    import tempfile  # noqa: PLC0415 - for this alone, like the next one
    import traceback  # noqa: PLC0415

    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="twinshot-crash-", suffix=".txt", delete=False
        ) as file:
            file.write(f"{sys.argv}\n{text}")
    except OSError:
        return "this: " + _sentence(text[-500:])
    return str(Path(file.name))


def main() -> NoReturn:
    """Run the command line of this process and end it with the command's exit code."""
    if not __debug__:
        sys.stderr.write("twinshot: assertions are part of the engine; run it without -O\n")
        sys.exit(_INPUT)
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left; there is nobody to tell, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _PIPE_CLOSED
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
