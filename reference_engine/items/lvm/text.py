"""LVM2's texts: sections, values, lists.

Source: lvm.conf(5); LVM2's libdm/libdm-config.c.
"""

import re
from typing import Any, Final

from reference_engine.items.errors import TreeDamagedError

Section = dict[str, Any]
"""Names, and what they have: a number, a string, a list of both, or a section."""

_WORD: Final = re.compile(
    r"(?:\s|#[^\n]*)*+(?:(?P<number>\d++)(?![\w.+-])|(?P<name>[\w.+-]++)"
    r'|"(?P<string>(?:[^"\\]|\\.)*+)"|(?P<mark>[{}\[\],=]))',
    re.ASCII | re.DOTALL,
)
_DEPTH_MAX: Final = 8
_DIGITS_MAX: Final = 20
_TOO_EARLY: Final = "the text of a volume group ends too early"

_Word = tuple[str, str]
"""Its kind, and what stands there."""


def parsed(text: str, /) -> Section:
    """Return the outermost section of a text.

    Raises:
        TreeDamagedError: it follows no grammar.
    """
    words = _words(text)
    outermost: Section = {}
    open_ones = [outermost]
    at = 0
    while at < len(words):
        kind, name = words[at]
        if (kind, name) == ("mark", "}") and len(open_ones) > 1:
            open_ones.pop()
            at += 1
            continue
        follows = words[at + 1] if at + 1 < len(words) else ("", "")
        if kind in {"name", "number", "string"} and follows == ("mark", "="):
            open_ones[-1][name], at = _value(words, at + 2)
        elif kind in {"name", "number"} and follows == ("mark", "{"):
            inner: Section = {}
            open_ones[-1][name] = inner
            open_ones.append(inner)
            at += 2
        else:
            raise _no_grammar(name)
        if len(open_ones) > _DEPTH_MAX:
            raise TreeDamagedError("the text of a volume group nests too deep")
    if len(open_ones) > 1:
        raise TreeDamagedError(_TOO_EARLY)
    return outermost


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    at = 0
    while found := _WORD.match(text, at):
        assert found.lastgroup is not None
        words.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    if rest := re.sub(r"#[^\n]*", "", text[at:]).strip():
        raise _no_grammar(rest)
    return words


def _value(words: list[_Word], at: int) -> tuple[Any, int]:
    """Return the value that begins there, and where the next word is."""
    if words[at : at + 1] != [("mark", "[")]:
        return _single(_word(words, at)), at + 1
    values: list[int | str] = []
    at += 1
    while (word := _word(words, at)) != ("mark", "]"):
        if word != ("mark", ","):
            values.append(_single(word))
        at += 1
    return values, at + 1


def _word(words: list[_Word], at: int) -> _Word:
    if at >= len(words):
        raise TreeDamagedError(_TOO_EARLY)
    return words[at]


def _single(word: _Word) -> int | str:
    kind, what = word
    if kind == "number" and len(what) <= _DIGITS_MAX:
        return int(what)
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", what, flags=re.DOTALL)
    raise _no_grammar(what)


def _no_grammar(what: str) -> TreeDamagedError:
    return TreeDamagedError(f"the text of a volume group is not understood at {what[:40]!r}")
