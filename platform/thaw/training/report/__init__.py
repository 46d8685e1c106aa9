"""The report of a run: curves with phases marked, rates of the layer groups, what was settled, data and environment."""

from thaw.registry.record import RunRecord
from thaw.storage import Root
from thaw.training.report.page import Told, page


def publish(root: Root, record: RunRecord, told: Told) -> None:
    """Write the page of a run beside its record."""
    root.write_bytes(f"runs/{record.id}/report.html", page(record, told).encode())
