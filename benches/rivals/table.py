"""One table of all that was measured: a column a system, a row a figure, ratios to wfhost beside it."""

from dataclasses import dataclass
from statistics import fmean

MIB = 1024 * 1024
# By how many times the disk may change in a run whose ratios are worth anything: more than that is as
# much as many of the ratios themselves.
DRIFT_MAX = 2


@dataclass(frozen=True)
class Row:
    label: str
    key: str
    unit: str
    scale: float = 1
    more_is_better: bool = False


def rows(sizes):
    return [
        Row("latency of one order, median", "latency_p50_ms", "ms"),
        Row("latency of one order, p99", "latency_p99_ms", "ms"),
        Row("orders a second, best", "orders_per_second", "/s", more_is_better=True),
        Row("processor time an order", "cpu_ms_per_order", "ms"),
        Row(f"{sizes.few_steps:,} steps in a row", "few_steps_seconds", "s"),
        Row(f"{sizes.many_steps:,} steps in a row", "many_steps_seconds", "s"),
        Row("kill -9 to the first new step", "recovery_seconds", "s"),
        Row("memory, idle", "memory_idle_bytes", "MiB", MIB),
        Row("memory, most in orders", "memory_peak_bytes", "MiB", MIB),
        Row(f"{sizes.parked:,} parked on a timer", "parked_seconds", "s"),
        Row("memory that they take", "parked_bytes", "MiB", MIB),
    ]


def table(parts, sizes):
    """Markdown. Parts of one title share a column: wfhost is measured before the rivals and after."""
    columns = {}
    for part in parts:
        columns.setdefault(part.title, []).append(part)
    ours = [column for title, column in columns.items() if title.startswith("wfhost")]
    lines = [_line(["", *columns]), _line(["---"] * (len(columns) + 1))]
    for row in rows(sizes):
        cells = [_cell(row, column, ours) for column in columns.values()]
        lines.append(_line([row.label, *cells]))
    for label, key in [
        ("disk alone, append 4 KiB and sync", "disk_appends_per_second"),
        ("load average of the machine", "load_average"),
    ]:
        unit = "/s" if key.startswith("disk") else ""
        cells = [_before_and_after(column, key, unit) for column in columns.values()]
        lines.append(_line([label, *cells]))
    return "\n".join(lines)


def drift(parts):
    """A warning where the disk was not the same for all; nothing where it was."""
    rates = [rate for part in parts for rate in part.figures["disk_appends_per_second"]]
    if max(rates) <= DRIFT_MAX * min(rates):
        return ""
    return (
        f"\nDO NOT QUOTE: the disk alone did between {_digits(min(rates))} and {_digits(max(rates))} syncs"
        " a second in this run. What waits for it (latency, rate, steps, parked) was not measured on equal"
        " terms; processor time and memory depend on it least. Run again when nothing else uses the disk."
    )


def _cell(row, column, ours):
    values = _values(row, column)
    if not values:
        notes = column[0].notes
        return notes.get(row.key) or ("failed" if "failed" in notes else "–")
    text = ", ".join(_digits(it / row.scale) for it in values)
    ratios = [] if column in ours else [_ratio(row, values, our) for our in ours]
    ratios = ", ".join(it for it in ratios if it)
    return f"{text} {row.unit}" + (f" ({ratios})" if ratios else "")


def _ratio(row, values, our):
    """How many times as good wfhost is."""
    our_values = _values(row, our)
    if not our_values or fmean(our_values) <= 0 or fmean(values) <= 0:
        return None
    ratio = fmean(values) / fmean(our_values)
    return f"{_digits(1 / ratio if row.more_is_better else ratio)}×"


def _values(row, column):
    return [part.figures[row.key] for part in column if row.key in part.figures]


def _before_and_after(column, key, unit):
    spans = [" → ".join(_digits(it) for it in part.figures[key]) for part in column]
    return ", ".join(spans) + unit


def _digits(value):
    """Three digits that count, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _line(cells):
    return f"| {' | '.join(cells)} |"
