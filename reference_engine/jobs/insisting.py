"""What has to be done though an outage may last longer than whoever comes to do it."""

from collections.abc import Awaitable, Callable
from typing import Final

from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import CorruptionError, RefusedError, TwinshotError
from reference_engine.model.units import MINUTE, Duration

_LONGEST_WAIT: Final = Duration(10 * MINUTE)


async def insist(
    ports: Ports, policy: Policy, work: Callable[[], Awaitable[object]], /, *, within: Duration
) -> None:
    """Have the work done, trying again for as long as `within`; then leave it to the next run.

    What is refused will be refused again, so it is not tried again.
    """
    waited, wait = 0, policy.retry_delay
    while True:
        try:
            async with ports.runtime.deadline(policy.step_limit):
                await work()
        except (RefusedError, CorruptionError):
            return
        except TwinshotError:
            if waited >= within:
                return
        else:
            return
        await ports.runtime.sleep(wait)
        waited += wait
        wait = Duration(min(2 * wait, _LONGEST_WAIT)) or MINUTE
