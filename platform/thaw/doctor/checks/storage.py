"""The storage root is written, read and shared by every node."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, named


def check(material: Material) -> Finding:
    if material.storage is None:
        return Finding("skipped", "no storage root was given")
    refused = [f"{node.name}: {node.written}" for node in material.nodes if node.written]
    own = [node.name for node in material.nodes if not node.written and node.shares is False]
    values = {"root": material.storage, "refused": refused, "own": own}
    if refused:
        return Finding(
            "failed",
            f"{material.storage}: {len(refused)} of {len(material.nodes)} node(s) cannot write, read and remove: "
            f"{named(refused)}",
            "give every node the credentials, or mount the folder with write access for its user",
            values,
        )
    if own:
        return Finding(
            "failed",
            f"{material.storage} is not one place: {named(own)} and the driver do not see each other's files",
            "use s3:// or gs://, or a network folder that is mounted at this path on every node",
            values,
        )
    return Finding("ok", f"{material.storage}: written, read, shared and removed by every node", values=values)
