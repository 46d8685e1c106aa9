"""A job on a cluster, through its dashboard: handed over, followed to its end, tried again where chance ended it."""

import asyncio
import logging
import os
import secrets
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import ray
from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

from thaw.console import MARKED, result_in, say
from thaw.errors import ClusterError
from thaw.on_ray import SUBMISSION
from thaw.registry import record as records
from thaw.submission import parcel, refusal
from thaw.submission.outcome import Outcome
from thaw.submission.parcel import Parcel
from thaw.submission.work import Work

_OVER = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)
_POLL_S = 1.0
_SILENT_S = 300
"""How long a dashboard may not answer before a job is taken for lost."""
_MOST_NODES = 10_000
_SHOWN = ", last available logs"
"""From here on Ray's message repeats the log, which was shown as it came."""


def submit(work: Work, address: str | None, retries: int, shared: bool) -> Outcome:
    """Do some work on a cluster and return what it came to; its log goes to stderr.

    Args:
        address: of the dashboard; RAY_API_SERVER_ADDRESS, or that of a cluster on this machine, when left out.
        retries: how often a job that chance ended is handed over again, with the same run.
        shared: whether a path as storage root leads to the same place on every node.

    Raises:
        ClusterError: the cluster does not answer, refuses this user, or cannot do it.
        ConfigError: what would travel is too large.
    """
    client = _client(address)
    _check(client, work, shared)
    submission = secrets.token_hex(8)
    with parcel.packed(work) as packed:
        for attempt in range(1, retries + 2):
            found = _attempt(client, work, packed, attempt, submission)
            if attempt > retries or not found.is_worth_another_try:
                break
            say(f"job {found.job} {found.status.lower()} ({found.message or found.code}); trying again")
    if work.verb == "serve" and found.status == "FAILED":
        say("what it served may go on answering; `serve shutdown` on the cluster ends it")
    return found


def _client(address: str | None) -> JobSubmissionClient:
    asked = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    for one in ("ray", *(each.__module__ for each in JobSubmissionClient.__mro__[:-1])):
        logging.getLogger(one).setLevel(logging.WARNING)  # the job's own lines are what is to be read
    try:
        return JobSubmissionClient(asked)
    except AuthenticationError:
        raise ClusterError(
            f"{asked}: asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH)"
        ) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()
        raise ClusterError(
            f"{asked or 'this machine'}: no dashboard answers there ({said[0] if said else type(error).__name__}); "
            "give --address http://HEAD:8265, or forward that port"
        ) from None


def _check(client: JobSubmissionClient, work: Work, shared: bool) -> None:
    # The only place where the client keeps what the cluster said; None would pass over the comparison.
    refusal.check_versions(ray.__version__, getattr(client, "_server_ray_version", None))
    try:
        # All of them: asked for those that are alive, Ray takes the dead ones for an answer that was cut short.
        nodes = [one for one in list_nodes(address=client.get_address(), limit=_MOST_NODES) if one.state == "ALIVE"]
    except (RayStateApiException, ConnectionError) as error:
        raise ClusterError(f"{client.get_address()}: does not tell of its nodes ({error})") from None
    refusal.check_storage(work, client.get_address(), len(nodes), shared)


def _attempt(client: JobSubmissionClient, work: Work, packed: Parcel, attempt: int, submission: str) -> Outcome:
    variables = packed.environment | {MARKED: "1", SUBMISSION: submission}
    if commit := os.environ.get("THAW_GIT_COMMIT") or records.git_commit(Path.cwd()):
        variables["THAW_GIT_COMMIT"] = commit
    job = client.submit_job(
        entrypoint=shlex.join(packed.command),
        submission_id=f"{work.run or records.new_run_id(work.verb)}-{secrets.token_hex(3)}",
        runtime_env={"working_dir": str(packed.folder), "env_vars": variables},
        metadata={"thaw_verb": work.verb, "thaw_run": work.run or "", "attempt": str(attempt)},
    )
    say(f"job {job} on {client.get_address()}" + (f", run {work.run}" if work.run else ""))
    try:
        lines = asyncio.run(_Follower(client, job).follow())
    except KeyboardInterrupt:
        say(f"job {job} goes on; `ray job stop --address {client.get_address()} {job}` ends it")
        raise
    info = client.get_job_info(job)
    message = (info.message or "").partition(_SHOWN)[0]
    return Outcome(job, str(info.status.value), info.driver_exit_code, lines, message)


class _Follower:
    """Shows what a job prints, and keeps its result, until it is over; goes on where a connection breaks."""

    def __init__(self, client: JobSubmissionClient, job: str) -> None:
        self.client, self.job = client, job
        self.result: list[str] = []
        self.shown = 0
        self.open = ""

    async def follow(self) -> Sequence[str]:
        """Return the lines of the result, once the job is over."""
        answered = time.monotonic()
        while True:
            try:
                await self._read()
                if self.client.get_job_status(self.job) in _OVER:
                    await self._read()
                    self._line(self.open) if self.open else None
                    return self.result
                answered = time.monotonic()
            except (ClientError, ConnectionError, RuntimeError, OSError) as error:
                if time.monotonic() - answered > _SILENT_S:
                    raise ClusterError(
                        f"{self.client.get_address()}: has not answered for {_SILENT_S} s ({error}); what became of "
                        f"job {self.job} is not known"
                    ) from None
            await asyncio.sleep(_POLL_S)

    async def _read(self) -> None:
        """Read the log from its beginning, and pass over what was read before."""
        seen = 0
        async for text in self.client.tail_job_logs(self.job):
            fresh = text[max(0, self.shown - seen) :]
            seen += len(text)
            self.shown = max(self.shown, seen)
            *whole, self.open = (self.open + fresh).split("\n")
            for line in whole:
                self._line(line)

    def _line(self, line: str) -> None:
        result = result_in(line)
        say(line) if result is None else self.result.append(result)
