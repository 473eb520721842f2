"""`twinshot completion`: what lets a shell complete commands and options."""

from typing import Annotated, Literal

from cyclopts import Parameter

from reference_engine.app.command_line import Options, command_line
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.version import PROJECT


def completion(
    shell: Literal["bash", "zsh", "fish", "powershell"],
    /,
    *,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Write the script that lets a shell complete commands and options.

    For bash, once for all: twinshot completion bash >
    ~/.local/share/bash-completion/completions/twinshot

    Args:
        shell: The shell that is to complete.
        output: Where results go.
    """
    script = command_line(Options()).generate_completion(prog_name=PROJECT, shell=shell)
    output.say(script.rstrip("\n"))
    output.record("completion", shell=shell, script=script)
    output.summary(shell=shell, exit_code=int(ExitCode.OK))
    return ExitCode.OK
