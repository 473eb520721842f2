"""Texts that are scenarios, nearly scenarios, or nothing of the kind."""

from hypothesis import strategies as st

from tests.strategies.simulated_clusters import scenario_text

HAPPENINGS = """
[[machines]]
name = "y"
node = "B"
guest = "none"
disks = [{ volume = "V2", size = "1 MiB" }]

[[happenings]]
kind = "live-migration"
machine = "x"
target = "B"
on = { at = "12m" }

[[happenings]]
kind = "call-disturbed"
subject = "x"
operation = "thaw"
answer = "lose"

[[expect]]
machine = "x"
slot = 1
outcome = ["OK"]

[[variants]]
id = "silent"

[[variants.happenings]]
kind = "guest-silence"
machine = "x"
"""

VALID = scenario_text(more=HAPPENINGS)

WORDS = (
    "", "0", "-1", "true", "[]", "{}", '""', '"x"', '"64 MiB"', '"1h"', "1e999", "nan", "[[",
    "]", "=", '"""', "\\", "\x00", "é", "name", "nodes = 3", "[a.b]", "[[nodes]]", "[machines]",
    "machines.x = 1", "[protection.deep]", 'kind = "node-crash"', "1979-05-27", "9" * 30,
)  # fmt: skip
"""What a slip of the hand may put into a file."""


def arbitrary_texts() -> st.SearchStrategy[str]:
    """Texts of every kind: any characters, or the words of scenario files in any order."""
    alphabet = st.characters(exclude_categories=["Cs"])
    return st.text(alphabet, max_size=60) | st.lists(
        st.sampled_from(WORDS) | st.sampled_from(VALID.splitlines()), max_size=12
    ).map("\n".join)


@st.composite
def mutated_scenarios(draw: st.DrawFn) -> str:
    """A valid scenario in which a few lines were lost, doubled, moved or spoiled."""
    lines = VALID.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("lose", "double", "move", "value", "word"))):
            case "lose":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "value":
                key, _, _ = lines[at].partition("=")
                lines[at] = f"{key}= {draw(st.sampled_from(WORDS))}"
            case _:
                place = draw(st.integers(0, len(lines[at])))
                word = draw(st.sampled_from(WORDS))
                lines[at] = lines[at][:place] + word + lines[at][place:]
    return "\n".join(lines)
