"""The same bundle behind LitServe, with its batching on: a process for each core, as it advises for CPUs.

    pip install litserve; python tests/bench/lit_server.py BUNDLE PORT

Up to 16 images go together, and wait 5 ms for others. Its loop decodes them one after another.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
from fastapi import Body
from taken import taken

from thaw import on_ray, predictor
from thaw.config.limits import Limits
from thaw.data import quality

try:
    from litserve import LitAPI, LitServer
except ImportError:
    sys.exit("this needs LitServe, which Thaw itself does not: pip install litserve")


class Served(LitAPI):
    """One process of it; another one begins from this file anew, so that the class cannot be made inside a function."""

    folder: Path

    def setup(self, device: str) -> None:
        torch.set_num_threads(1)
        self.loaded = taken(self.folder)

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> predictor.Placed:
        return predictor.place(self.loaded.description.preprocess, quality.decode(request, Limits()))

    def batch(self, inputs: list[predictor.Placed]) -> list[predictor.Placed]:
        return inputs

    def predict(self, x: list[predictor.Placed]) -> list[predictor.Answers]:
        return predictor.answer_placed(self.loaded, x)

    def unbatch(self, output: list[predictor.Answers]) -> list[predictor.Answers]:
        return output

    def encode_response(self, output: predictor.Answers) -> dict[str, Any]:
        return predictor.as_json(output)


def main(folder: str, port: str) -> None:
    """Serve until the process is ended."""
    made = Served(max_batch_size=16, batch_timeout=0.005)
    made.folder = Path(folder)
    server = LitServer(made, accelerator="cpu", workers_per_device=on_ray.cores(), timeout=120)
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
