"""What no linter checks: sizes, names, values, order, chance, and documents that keep up."""

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from reference_engine.app.exit_codes import ExitCode
from simulator.oracle.registry import INVARIANTS
from simulator.scenario.reading import parse_scenario

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("reference_engine", "simulator")
MODULES: Final = tuple(sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py")))

LINES_MOST: Final = 400
BANNED_ENDINGS: Final = ("Manager", "Helper", "Helpers", "Utils")
BANNED_MODULES: Final = ("utils", "util", "common", "helpers", "helper", "misc")
UNEXPLAINED: Final = re.compile(
    r"#\s*(?:type:\s*ignore(?!\[[\w\-, ]+\])|noqa(?!:\s*[A-Z]+[0-9]+)|(?:ruff|flake8):\s*noqa)"
)

SETS: Final = ("set", "frozenset")
ORDER_BLIND: Final = ("all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum")
"""Built-ins whose result does not depend on the order in which they are fed."""

ORDER_SHOWING: Final = ("enumerate", "iter", "list", "next", "reversed", "tuple", "zip")

HEAVY_MODULES: Final = ("hypothesis", "numpy", "pydantic", "simpy", "simulator")
DOCUMENTED_PACKAGES: Final = ("model", "ports", "trace")

Hits = Iterator[ast.AST]


def _tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text("utf-8"), filename=str(module))


def _place(module: Path, line: int) -> str:
    return f"{module.relative_to(ROOT)}:{line}"


def _places(rule: Callable[[ast.Module], Hits]) -> list[str]:
    """Return where in the engine and the simulator `rule` finds something."""
    return [
        _place(module, getattr(hit, "lineno", 1))
        for module in MODULES
        for hit in rule(_tree(module))
    ]


def _classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def _structs() -> frozenset[str]:
    """Return the names of all msgspec classes, those included that inherit from another one."""
    classes = [node for module in MODULES for node in _classes(_tree(module))]
    known = {"Struct"}
    while grown := {node.name for node in classes if _bases(node) & known} - known:
        known |= grown
    return frozenset(known)


def _open_structs(tree: ast.Module, structs: frozenset[str]) -> Hits:
    for node in _classes(tree):
        said = {
            keyword.arg
            for keyword in node.keywords
            if isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        }
        if _bases(node) & structs and not {"frozen", "kw_only"} <= said:
            yield node


def _callee(node: ast.AST) -> str:
    """Return the name of the built-in that is called here; empty where it is anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def _is_set(node: ast.AST) -> bool:
    """Return whether an expression is a set by its very form."""
    if isinstance(node, ast.BinOp) and isinstance(
        node.op, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub
    ):
        return _is_set(node.left) or _is_set(node.right)
    return isinstance(node, ast.Set | ast.SetComp) or _callee(node) in SETS


def _unordered(tree: ast.Module) -> Hits:
    """Yield every place where the order of a set becomes visible."""
    blind = {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _callee(node) in ORDER_BLIND
        for argument in node.args
        if isinstance(argument, ast.GeneratorExp)
    }
    for node in ast.walk(tree):
        match node:
            case ast.For(iter=source) | ast.AsyncFor(iter=source) if _is_set(source):
                yield node
            case ast.ListComp() | ast.DictComp() | ast.GeneratorExp() if node not in blind:
                if any(_is_set(part.iter) for part in node.generators):
                    yield node
            case ast.Call(args=[*arguments]) if _callee(node) in ORDER_SHOWING or (
                isinstance(node.func, ast.Attribute) and node.func.attr == "join"
            ):
                if any(_is_set(argument) for argument in arguments):
                    yield node
            case _:
                pass


def _calls_outside(tree: ast.AST, names: tuple[str, ...], exempt: str) -> Hits:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name == exempt:
            continue
        if _callee(node) in names:
            yield node
        yield from _calls_outside(node, names, exempt)


def _is_public(module: Path) -> bool:
    names = module.relative_to(ROOT).with_suffix("").parts
    return not any(name.startswith("_") and name != "__init__" for name in names)


def _loaded_for_help() -> list[str]:
    """Return every module that `twinshot --help` imports, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reference_engine.app.command_line", "--help"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
        timeout=60,
    )
    assert "Usage: twinshot" in done.stdout
    return [
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    ]


def _glossary() -> list[list[str]]:
    """Return the terms of every entry of the glossary, in the order of the file."""
    text = (ROOT / "reference_engine" / "GLOSSARY.md").read_text("utf-8")
    return [
        [term.strip(" `") for term in found[1].split(",")]
        for found in re.finditer(r"^- \*\*(.+?)\*\*", text, re.MULTILINE)
    ]


def _table(document: str, heading: str) -> dict[str, str]:
    """Return the first two columns of the table under a heading of a document."""
    text = (ROOT / document).read_text("utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", section, re.MULTILINE)
    return {first.strip("` "): second for first, second in rows[1:]}


def test_modules_stay_short_enough_to_read_at_once() -> None:
    """No module of the engine or the simulator is longer than 400 lines."""
    lengths = {module: len(module.read_text("utf-8").splitlines()) for module in MODULES}

    long = [_place(module, lines) for module, lines in lengths.items() if lines > LINES_MOST]

    assert long == []


def test_names_say_what_a_thing_is() -> None:
    """Nothing is called a manager or a helper, and no module is a drawer for everything."""
    drawers = [str(module) for module in MODULES if module.stem in BANNED_MODULES]

    managers = _places(
        lambda tree: (node for node in _classes(tree) if node.name.endswith(BANNED_ENDINGS))
    )

    assert drawers + managers == []


def test_values_are_frozen_and_built_by_name() -> None:
    """Every msgspec class says `frozen=True, kw_only=True` itself: neither is inherited."""
    structs = _structs()

    assert _places(lambda tree: _open_structs(tree, structs)) == []


def test_exemptions_name_the_rule_that_they_break() -> None:
    """Every `type: ignore` and every `noqa` carries a code; no file is exempt as a whole."""
    unexplained = []
    for module in MODULES:
        with tokenize.open(module) as file:
            unexplained += [
                _place(module, token.start[0])
                for token in tokenize.generate_tokens(file.readline)
                if token.type == tokenize.COMMENT and UNEXPLAINED.search(token.string)
            ]

    assert unexplained == []


def test_public_modules_say_what_they_are_for() -> None:
    """Every public module and package opens with a docstring."""
    silent = [
        _place(module, 1)
        for module in MODULES
        if _is_public(module) and not ast.get_docstring(_tree(module))
    ]

    assert silent == []


def test_the_order_of_a_set_never_shows() -> None:
    """No loop, list or text follows the order of a set, which differs from process to process."""
    assert _places(_unordered) == []


@pytest.mark.parametrize(
    ("code", "hits"),
    [
        ("for a in {1, 2}: pass", 1),
        ("for a in sorted({1, 2}): pass", 0),
        ("for a in set(b) - c: pass", 1),
        ("x = [a for a in frozenset(b)]", 1),
        ("x = {a for a in set(b)}", 0),
        ("x = sum(a for a in set(b))", 0),
        ("x = tuple({a for a in b})", 1),
        ("x = ', '.join(set(b))", 1),
    ],
)
def test_the_rule_for_sets_finds_what_it_should(code: str, hits: int) -> None:
    """The rule tells loops that follow a set's order from those that do not."""
    assert len(list(_unordered(ast.parse(code)))) == hits


def test_nothing_depends_on_addresses_or_salted_hashes() -> None:
    """`id` and `hash` differ from process to process, so only `__hash__` may call them."""
    assert _places(lambda tree: _calls_outside(tree, ("id", "hash"), "__hash__")) == []


def test_help_loads_nothing_heavy() -> None:
    """`twinshot --help` imports no number crunching, no simulator and no test tool."""
    loaded = _loaded_for_help()

    heavy = sorted({name for name in loaded if name.partition(".")[0] in HEAVY_MODULES})

    assert len(loaded) > 50, "the interpreter reported its imports"
    assert heavy == []


def test_the_facade_answers_every_port_under_its_own_name() -> None:
    """Every port has a facade file of the same name, but for two.

    The kernel itself is the runtime, and the simulated store has no locks of objects.
    """
    ports = {path.name for path in (ROOT / "reference_engine" / "ports").glob("[a-z]*.py")}

    facade = {path.name for path in (ROOT / "simulator" / "facade").glob("[a-z]*.py")}

    assert ports - facade == {"object_locks.py", "runtime.py"}


def test_every_invariant_is_judged() -> None:
    """Every file of an invariant is in the oracle's registry, under its own number."""
    files = sorted((ROOT / "simulator" / "oracle").glob("i[0-9][0-9]_*.py"))

    judged = [invariant.id for invariant in INVARIANTS]

    assert judged == [f"I{int(path.name[1:3])}" for path in files]


@pytest.mark.parametrize("package", DOCUMENTED_PACKAGES)
def test_the_glossary_knows_every_word_of_the_interfaces(package: str) -> None:
    """Every class of `model`, `ports` and `trace` stands in the glossary."""
    terms = {term for entry in _glossary() for term in entry}
    words = {
        node.name
        for module in sorted((ROOT / "reference_engine" / package).glob("*.py"))
        for node in _classes(_tree(module))
        if not node.name.startswith("_")
    }

    assert sorted(words - terms) == []


def test_the_glossary_is_in_order_and_says_each_thing_once() -> None:
    """Entries are alphabetical, and no term has two meanings."""
    entries = _glossary()
    leading = [entry[0].casefold() for entry in entries]
    terms = [term for entry in entries for term in entry]

    assert leading == sorted(leading)
    assert sorted(term for term in set(terms) if terms.count(term) > 1) == []


def test_the_readme_lists_the_invariants_as_the_oracle_words_them() -> None:
    """The README's table of invariants is the oracle's registry."""
    table = _table("README.md", "How the proof works")

    assert table == {invariant.id: invariant.title for invariant in INVARIANTS}


def test_the_readme_lists_the_exit_codes_that_there_are() -> None:
    """The README's table names every exit code, and no other."""
    table = _table("README.md", "Exit codes")

    assert {int(code) for code in table} == {int(code) for code in ExitCode}


def test_the_readme_shows_a_scenario_that_can_be_read() -> None:
    """The README's scenario is one by the rules of today's scenario files."""
    text = (ROOT / "README.md").read_text("utf-8")

    shown = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    assert [parse_scenario(each, name="README.md").why != "" for each in shown] == [True]
