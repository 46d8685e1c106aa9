"""Report: an inspection as JSON and as one page with small pictures. Nothing here looks for anything."""

from collections.abc import Mapping

from thaw.data.labels import LabelSchema
from thaw.inspection.inspection import FILE, Inspection
from thaw.inspection.pictures import View
from thaw.inspection.report.page import page
from thaw.page.pictures import Picture
from thaw.storage import Root

__all__ = ["publish"]


def publish(
    root: Root, inspection: Inspection, pictures: Mapping[View, Picture], labels: Mapping[str, LabelSchema]
) -> str:
    """Write inspection.json and report.html beside the shards, in place of earlier ones; return the page's path.

    Args:
        labels: by task with boxes or masks, which were drawn into pictures of findings of these tasks.

    Raises:
        StorageError: the store does not take them.
    """
    root.write_json(f"{inspection.dataset}/{FILE}", inspection.model_dump(mode="json"))
    place = f"{inspection.dataset}/report.html"
    root.write_bytes(place, page(inspection, pictures, labels).encode())
    return place
