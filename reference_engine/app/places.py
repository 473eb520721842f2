"""Where the repository is: said on the command line, or once for all in the environment."""

from typing import Annotated, Final

from cyclopts import Parameter

REPOSITORY: Final = "TWINSHOT_REPO"

Place = Annotated[str, Parameter(env_var=REPOSITORY)]
"""A repository's place: a directory, or `s3://bucket/prefix`. Left out, it is what the variable
says; so it is never of a command that takes another argument behind it."""
