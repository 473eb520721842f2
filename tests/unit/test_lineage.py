"""Whose maps belong to a delta: every node that wrote the disk, the owner's in the hold."""

from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.identity import NodeName
from reference_engine.ports.change_tracking import TrackerState
from reference_engine.tracking.lineage import Contribution, SwitchMoment, contributions

NAMES = tuple(NodeName(name) for name in ("hv1", "hv2", "hv3", "hv4"))


def states() -> st.SearchStrategy[tuple[TrackerState, ...]]:
    """Trackers of different nodes, reachable or not, in any order."""
    each = st.builds(
        TrackerState, node=st.sampled_from(NAMES), reachable=st.booleans(), intact=st.booleans()
    )
    return st.lists(each, unique_by=lambda state: state.node).map(tuple)


def test_a_disk_that_never_moved_has_one_map() -> None:
    """The owner's map is switched where its writes are held, and nowhere else."""
    asked = contributions((), NAMES[0])

    assert asked == (Contribution(node=NAMES[0], moment=SwitchMoment.IN_HOLD),)


@given(states(), st.sampled_from(NAMES))
def test_the_owner_is_switched_last_and_in_the_hold(
    trackers: tuple[TrackerState, ...], owner: NodeName
) -> None:
    """Exactly one map is switched in the hold: that of the node through which is written."""
    asked = contributions(trackers, owner)

    assert asked[-1] == Contribution(node=owner, moment=SwitchMoment.IN_HOLD)
    assert all(part.moment is SwitchMoment.NOW for part in asked[:-1])


@given(states(), st.sampled_from(NAMES))
def test_every_reachable_writer_is_asked_once(
    trackers: tuple[TrackerState, ...], owner: NodeName
) -> None:
    """No writer is forgotten, none is asked twice, and a dead node is not waited for."""
    asked = [part.node for part in contributions(trackers, owner)]

    writers = {tracker.node for tracker in trackers if tracker.reachable}
    assert sorted(asked) == sorted(writers | {owner})


@given(st.data(), states(), st.sampled_from(NAMES))
def test_the_order_does_not_depend_on_the_answer(
    data: st.DataObject, trackers: tuple[TrackerState, ...], owner: NodeName
) -> None:
    """The same trackers, told in another order, are asked in the same one."""
    shuffled = tuple(data.draw(st.permutations(trackers)))

    assert contributions(shuffled, owner) == contributions(trackers, owner)
