"""What is lost from this machine to a device, beside what quantization lost; and the device itself."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.reporting.facts import facts, machine_facts, warnings
from edgetl.reporting.markup import Html, el
from edgetl.reporting.read import Row, quantity, section, text
from edgetl.reporting.sections import cell, paragraph, table_of, titled
from edgetl.reporting.text import PERCENT, POINTS, Unit

_LOGIT = Unit(1, lambda x: f"{x:.3g}")


def transfer(rows: Sequence[Row]) -> Html | None:
    """One table of all engines that ran on a device, and each device's environment; None without one."""
    there = [row for row in rows if section(row.source, "device") and not row.error]
    if not there:
        return None
    numbers = (
        *("Accuracy, here", "Accuracy, there", "On the way, points lost", "By quantization, points lost"),
        *("Same class, of images", "Logits apart, at most", "Logits apart, mean"),
    )
    table = table_of(("Engine", numbers, ("Here by",)), [_line(row) for row in there], "Host and device")
    words = (
        "Here is the machine that asked, there the device: the same images through each one's own decoder "
        "and engine. A positive loss is worse. Quantization's is that against FP32, measured when the "
        "bundle was made."
    )
    return titled("device", "From host to device", paragraph(words), table, *_devices(there))


def _line(row: Row) -> Html:
    device = section(row.source, "device")
    host = section(device, "host")
    return el(
        "tr",
        el("th", row.name, scope="row"),
        cell(quantity(host.get("accuracy")), PERCENT),
        cell(row.accuracy, PERCENT),
        cell(quantity(host.get("drop_points")), POINTS),
        cell(quantity(device.get("quantization_drop_points")), POINTS),
        cell(quantity(host.get("agreement")), PERCENT),
        cell(quantity(host.get("max_abs")), _LOGIT),
        cell(quantity(host.get("mean_abs")), _LOGIT),
        el("td", text(host, "by") or "not told"),
    )


def _devices(there: Sequence[Row]) -> list[Html | None]:
    """Each device once, whatever ran on it."""
    devices = {text(section(row.source, "device"), "name") or "device": row for row in reversed(there)}
    parts: list[Html | None] = []
    for name, row in reversed(devices.items()):
        environment = section(section(row.source, "device"), "environment")
        if environment:
            table = facts(machine_facts(environment), f"Environment of {name}")
            parts += [el("h3", f"The device {name}"), warnings(environment)]
            parts.append(el("details", el("summary", f"Environment of {name}"), table))
    return parts
