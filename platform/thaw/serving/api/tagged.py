"""Tagged: JSON that a caller need not be sent again while it is the same (ETag, RFC 9110)."""

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel

PARAMETERS = {
    "parameters": [
        {
            "in": "header",
            "name": "if-none-match",
            "required": False,
            "description": "Tags of what the caller has.",
            "schema": {"type": "string"},
        }
    ]
}
"""What the OpenAPI document says of such a request."""


def response(request: Request, content: BaseModel) -> Response:
    """Return JSON with its tag, or 304 where the caller has it."""
    body = content.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
