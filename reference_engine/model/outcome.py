"""How a run ended: the outcome codes of the scenario catalogue."""

import enum


class Step(enum.IntEnum):
    """The steps of a backup, S0 to S16."""

    PLAN = 0
    RESOLVE = 1
    COORDINATE = 2
    FREEZE_TRACKER = 3
    GUEST_SNAPSHOT = 4
    HOST_SNAPSHOT = 5
    THAW = 6
    EXPOSE = 7
    RECONCILE = 8
    ENUMERATE = 9
    SYNC = 10
    STAGE = 11
    COMMIT = 12
    ADVANCE_TRACKER = 13
    RELEASE = 14
    SETTLE = 15
    MAINTAIN = 16


class Outcome(enum.StrEnum):
    """What came of one run. The first five leave a restorable state behind by themselves."""

    OK = "OK"
    OK_SCAN = "OK-SCAN"
    OK_CRASH = "OK-CRASH"
    RETRY_OK = "RETRY-OK"
    DEFERRED = "DEFERRED"
    FAIL_CLEAN = "FAIL-CLEAN"
    REFUSED = "REFUSED"
    """Rejected before anything was done to the machine."""

    INCONSISTENT = "INCONSISTENT"
    """What the repository holds of the machine's newest point is not what was written, so nothing
    was built on it. Earlier points restore; the next run copies in full, which ends it."""

    QUARANTINE = "QUARANTINE"
    """It is open who the machine is, or whether its data is: a person has to decide."""

    SUPERSEDED = "SUPERSEDED"
