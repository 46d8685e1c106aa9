"""The same bundle behind FastAPI under uvicorn as tutorials have it: each image in a thread of its pool.

python tests/bench/plain_server.py BUNDLE PORT
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from taken import taken

from thaw import predictor
from thaw.config.limits import Limits
from thaw.data import quality


def main(folder: str, port: str) -> None:
    """Serve until the process is ended."""
    loaded, app = taken(Path(folder)), FastAPI()

    def answer(content: bytes) -> dict[str, Any]:
        return predictor.as_json(predictor.answer(loaded, [quality.decode(content, Limits())])[0])

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(answer, await request.body())

    uvicorn.run(app, port=int(port), log_level="error")


if __name__ == "__main__":
    main(*sys.argv[1:])
