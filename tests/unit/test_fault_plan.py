"""Several disturbances of one call: all of them happen."""

from simulator.faults.plan import Answer, AnswerKind, FaultPlan


def test_two_happenings_at_one_call_both_happen_in_order() -> None:
    """The second one does not take the first one's place; how the call is answered stays, too."""
    said: list[str] = []
    plan = FaultPlan()
    plan.disturb("x", "freeze", 1, Answer(before=(lambda: said.append("first"),)))
    plan.disturb("x", "freeze", 1, Answer(kind=AnswerKind.FAIL, cause="no"))
    plan.disturb("x", "freeze", 1, Answer(before=(lambda: said.append("second"),)))
    plan.disturb("x", "freeze", 1, Answer(after=(lambda: said.append("third"),)))

    answer = plan.consult("x", "freeze", 1)
    for happening in (*answer.before, *answer.after):
        happening()

    assert said == ["first", "second", "third"]
    assert (answer.kind, answer.cause) == (AnswerKind.FAIL, "no")
    assert plan.consult("x", "freeze", 2) == Answer()
