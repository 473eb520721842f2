"""Numbers as people read them."""

from typing import Final

from reference_engine.model.units import HOUR, MINUTE, SECOND, ByteCount

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
TICKS_MOST: Final = 13
TICK_STEPS: Final = (
    *(SECOND * count for count in (1, 5, 15, 30)),
    *(MINUTE * count for count in (1, 5, 15, 30)),
    *(HOUR * count for count in (1, 2, 3, 6, 12, 24)),
)


def clock(instant: int, /) -> str:
    """Return an instant of the night as `hh:mm`; hours go on after 24."""
    return f"{instant // HOUR:02}:{instant % HOUR // MINUTE:02}"


def ticks(start: int, end: int, /) -> list[int]:
    """Return the round instants from `start` to `end` that a time axis labels: at most 14."""
    whole = end - start
    step = next((step for step in TICK_STEPS if whole // step < TICKS_MOST), 0)
    step = step or -(-whole // TICKS_MOST // TICK_STEPS[-1]) * TICK_STEPS[-1]
    return list(range(-(-start // step) * step, end + 1, step))


def tick_label(instant: int, /) -> str:
    """Return a round instant as `hh:mm`, with seconds only where it has some."""
    seconds = instant % MINUTE // SECOND
    return clock(instant) + (f":{seconds:02}" if seconds else "")


def precise_clock(instant: int, /) -> str:
    """Return an instant of the night as `hh:mm:ss.mmm`."""
    return f"{clock(instant)}:{instant % MINUTE / SECOND:06.3f}"


def span(duration: int, /) -> str:
    """Return a duration with the unit that suits it."""
    if abs(duration) < SECOND:
        return f"{duration / 1000:.0f} ms"
    if abs(duration) < MINUTE:
        return f"{duration / SECOND:.1f} s"
    if abs(duration) < HOUR:
        return f"{duration // MINUTE} min {duration % MINUTE // SECOND:02} s"
    return f"{duration // HOUR} h {duration % HOUR // MINUTE:02} min"


def milliseconds(duration: int | None, /) -> str:
    """Return a duration in milliseconds, or a dash for none."""
    return "\N{EN DASH}" if duration is None else f"{duration / 1000:,.0f}"


def size(amount: int, /) -> str:
    """Return a number of bytes with three digits and a binary unit."""
    value = float(ByteCount(amount))
    for unit in UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} {UNITS[-1]}"


def unit_for(amount: int, /) -> tuple[str, int]:
    """Return the unit, and its bytes, in which an axis that reaches `amount` reads best."""
    power = max((amount.bit_length() - 1) // 10, 0)
    power = min(power, len(UNITS) - 1)
    return UNITS[power], 1 << (10 * power)


def short(text: str, most: int, /) -> str:
    """Return `text`, cut to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
