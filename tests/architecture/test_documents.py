"""Whatever the documents tell people to type is understood by today's command line."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest
from cyclopts import App, CycloptsError

from reference_engine.app.command_line import Options, command_line

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTS: Final = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "reference_engine/GLOSSARY.md",
    "reports/README.md",
)
FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TYPED: Final = re.compile(r"(?:^|[ /])twinshot ([a-z].*)$", re.MULTILINE)
SPAN: Final = re.compile(r"`([^`\n]+)`")
OPTION: Final = re.compile(r"(?:^|[ \[|])(--?[a-z][a-z-]*)")
GLOBAL: Final = {"--json", "--quiet", "--help"}
"""What any command takes."""

APP: Final = command_line(Options())._meta_parent


def _examples(text: str) -> list[str]:
    """Return the command lines in blocks of code, without `twinshot`."""
    blocks = FENCE.findall(text.replace("\\\n", " "))
    return [line for block in blocks for line in TYPED.findall(block)]


def _mentions(text: str) -> list[str]:
    """Return what stands in running text or in a table and begins with a command."""
    assert APP is not None
    spans = [span.replace("\\|", "|") for span in SPAN.findall(FENCE.sub("", text))]
    told = [span.removeprefix("twinshot ") for span in spans if span != "twinshot"]
    return [span for span in told if span.split()[0] in {*APP}]


def _mistakes(mention: str) -> list[str]:
    """Return the words and options of a mention that there are not."""
    assert APP is not None
    apps, wrong = [APP], []
    for word in mention.split():
        below = [app[each] for app in apps for each in word.split("|") if each in {*app}]
        if len(below) == len(apps) * len(word.split("|")):
            apps = below
            continue
        if re.fullmatch("[a-z|]+", word) and any(app.default_command is None for app in apps):
            wrong.append(word)
        break
    known = set.union(*({*_options(app)} for app in apps))
    return wrong + [option for option in OPTION.findall(mention) if option not in known]


def _options(app: App) -> list[str]:
    if app.default_command is None:
        return [*GLOBAL]
    return [*GLOBAL, *(name for each in app.assemble_argument_collection() for name in each.names)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_example_is_a_command_line(document: str) -> None:
    """What stands in a block of code has an existing command, and all options that it needs."""
    assert APP is not None
    mistakes = []
    for example in _examples((ROOT / document).read_text("utf-8")):
        tokens = [t for t in shlex.split(example, comments=True) if t not in GLOBAL]
        try:
            APP.parse_args(tokens, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            mistakes.append(f"{example}: {error}")
    assert mistakes == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_mention_of_a_command_is_of_one_that_there_is(document: str) -> None:
    """Running text and tables name no command and no option that there is not."""
    mentions = _mentions((ROOT / document).read_text("utf-8"))

    assert {each: wrong for each in mentions if (wrong := _mistakes(each))} == {}


def test_the_documents_have_something_to_check() -> None:
    """Examples and mentions are found where they are known to be."""
    readme = (ROOT / "README.md").read_text("utf-8")

    assert "restore latest --repo store --to back.vhdx" in _examples(readme)
    assert any(each.startswith("repo key add|list") for each in _mentions(readme))


@pytest.mark.parametrize(
    ("mention", "wrong"),
    [
        ("repo prune REPO [--keep-last N]", []),
        ("repo prune REPO [--keep-lost N]", ["--keep-lost"]),
        ("campaign [--seeds A..B|--hours H]", ["--hours"]),
        ("repo prone REPO", ["prone"]),
        ("repo key add|lost REPO", ["add|lost"]),
        ("backup FILE ... --repo REPO", []),
    ],
)
def test_a_mistake_is_found(mention: str, wrong: list[str]) -> None:
    """The check sees commands and options that there are not."""
    assert _mistakes(mention) == wrong


def test_the_readme_has_a_line_for_every_command() -> None:
    """The README's table of commands leaves none out."""
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = [row for row in readme.splitlines() if row.startswith("| `")]
    told = {word for row in rows for each in _mentions(row) for word in _named(each)}

    assert {*_commands(APP, ())} - told == set()


def _named(mention: str) -> list[str]:
    """Return the commands that a mention names."""
    found = [""]
    for word in re.split(r" (?=[^a-z]|$)", mention)[0].split():
        found = [f"{each} {last}".strip() for each in found for last in word.split("|")]
    return found


def _commands(app: App | None, path: tuple[str, ...]) -> list[str]:
    """Return every command below `app`, in words."""
    assert app is not None
    if app.default_command is not None:
        return [" ".join(path)]
    return [
        command
        for word in app
        if not word.startswith("-")
        for command in _commands(app[word], (*path, word))
    ]
