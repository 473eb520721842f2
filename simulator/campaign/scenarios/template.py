"""A scenario to begin with: it runs as it is, and says beside each key what it is for."""

from typing import Final

from simulator.campaign.scenarios.json_schema import FILE_NAME

TEMPLATE: Final = f"""#:schema {FILE_NAME}
# The line above tells editors (Taplo, Even Better TOML) what may stand here.

# One sentence: what happens, and what must come of it. Reports show it.
why = "A machine live-migrates between its two snapshots: the run is void and repeated at once."
seed = 1                  # latencies, skews and guest writes follow from it
duration = "1h10m"        # of virtual time; 250ms, 90s, 1h30m, 2d
back_end = "E1"           # E1: host snapshot after the guest's; E3: checkpoints and RCT

[protection]
interval = "30m"          # a slot for each machine
first = "5m"
attempts = 3              # tries in one slot
# application_required = true   # rather no point than a crash-consistent one

[skew]                    # Th - Tg: how long the host's snapshot comes after the guest's
shortest = "15s"
longest = "20s"

[[nodes]]
name = "A"

[[nodes]]
name = "B"

[[volumes]]
name = "V1"
coordinator = "A"         # the node whose I/O is direct

[[machines]]
name = "x"
node = "A"
guest = "vss"             # vss, fsfreeze, or none for a guest that cannot be frozen
disks = [{{ volume = "V1", size = "2 MiB" }}]
writes = {{ bursts_per_hour = 600, hot_percent = 40 }}
# application = "ledger"  # a program whose data is opened from every restored point

# Something happens at an instant (at = "12m"), around a step of a machine's backup, or around a
# call (subject, operation). README.md lists the kinds.
[[happenings]]
kind = "live-migration"
machine = "x"
target = "B"
pre_copy = "3s"
on = {{ machine = "x", step = 5, when = "before", occurrence = 2 }}

# What must come of it, beside the invariants, which hold in every scenario.
[[expect]]
machine = "x"
slot = 2
outcome = ["RETRY-OK"]
consistency = "application"
"""
