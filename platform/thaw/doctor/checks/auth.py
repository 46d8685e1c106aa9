"""Nobody without a token can run code in the cluster."""

from thaw.doctor.finding import Finding, State
from thaw.doctor.material import Material, named

REFUSED = (401, 403)


def check(material: Material) -> Finding:
    modes = {node.name: seen.auth for node, seen in material.answering}
    without = [name for name, mode in modes.items() if mode != "token"]
    values = {"modes": modes, "stranger": material.stranger}
    advice = (
        "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on every node, and TLS in front: the token is sent in the clear"
    )
    if material.stranger is not None and material.stranger not in REFUSED:
        state: State = "warning" if without else "failed"
        return Finding(
            state,
            f"the dashboard answers strangers (HTTP {material.stranger}): whoever reaches it can run code here",
            advice,
            values,
        )
    if without and material.stranger is not None:
        return Finding("failed", f"RAY_AUTH_MODE is not token on {named(without)}", advice, values)
    if without:
        return Finding("skipped", "no dashboard, and no token asked for", values=values)
    return Finding("ok", "a token is asked for", values=values)
