"""The limit of the control plane: a loop that watches Notifications and patches each one twice.

That is the least that a controller with a claim and a record can do. It runs as a process of its
own, as the operator does: ``python -m bench.bare_loop --help``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.waiting import BenchmarkError
from tests.support.kubernetes import Kubernetes, Object

_ROOT: Final = Path(__file__).parents[1]
_MOMENT: Final = "2026-01-01T00:00:00Z"
_RESULTS: Final = {
    "RecipientsResolved": "True",
    "Complete": "True",
    "Delivered": "True",
    "Ready": "True",
    "Reconciling": "False",
    "Stalled": "False",
}


def status(*, finished: bool, generation: int = 1) -> Object:
    """Return a status as large as the operator's, for one recipient; finished ones count as such.

    So an operator that is started later leaves them alone.
    """
    row = {
        "processor": "email",
        "recipient": "user:default/user-000000",
        "state": "Sent" if finished else "Claimed",
        "attempts": 1,
        "revision": 1,
        "openedTime": _MOMENT,
        "lastAttemptTime": _MOMENT,
    }
    row |= {"code": 250, "enhancedCode": "2.0.0"} if finished else {"holder": "0/bare-loop/1.1"}
    return {
        "observedGeneration": generation,
        "revision": 1,
        "payloadDigest": f"v1:{'0' * 64}",
        "recipientsDigest": f"v1:{'0' * 64}",
        "state": "Delivered" if finished else "Delivering",
        "summary": "1/1" if finished else "0/1",
        "origin": "namespace:bench",
        "startTime": _MOMENT,
        "ledger": {"format": 1, "type": "Inline", "revision": 1},
        "recipients": {"users": 1},
        "processors": [
            {"name": "email", "total": 1, "sent": int(finished), "pending": int(not finished)}
        ],
        "deliveries": [row],
        "conditions": [
            {
                "type": kind,
                "status": result if finished else "Unknown",
                "reason": "Delivered" if finished else "Progressing",
                "message": "1 sent" if finished else "1 pending",
                "lastTransitionTime": _MOMENT,
                "observedGeneration": generation,
            }
            for kind, result in _RESULTS.items()
        ],
        **({"completionTime": _MOMENT} if finished else {}),
    }


async def run(kubeconfig: Path, namespace: str, in_flight: int) -> None:
    """Watch, and patch what is new twice, until cancelled."""
    slots = asyncio.Semaphore(in_flight)
    async with Kubernetes(kubeconfig) as kubernetes, asyncio.TaskGroup() as tasks:

        async def deliver(name: str) -> None:
            async with slots:
                for finished in (False, True):
                    patch: Object = {"status": status(finished=finished)}
                    await kubernetes.patch(
                        "Notification", name, namespace, patch, subresource="status"
                    )

        met: set[str] = set()
        async for event in kubernetes.watch("Notification", namespace):
            name = event["object"]["metadata"]["name"]
            if name not in met:
                met.add(name)
                tasks.create_task(deliver(name))


@asynccontextmanager
async def bare_loop(kubeconfig: Path, namespace: str, *, in_flight: int) -> AsyncIterator[None]:
    """Run the loop as a process.

    Parameters
    ----------
    kubeconfig
        The operator's, as the API server queues requests of service accounts (API Priority and
        Fairness) and lets administrators pass.
    namespace
        Whose Notifications to deliver.
    in_flight
        Most Notifications at a time.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_loop", str(kubeconfig), namespace),
        *("--in-flight", str(in_flight)),
        cwd=_ROOT,
    )
    try:
        yield
    finally:
        if process.returncode is not None:
            raise BenchmarkError(f"the bare loop ended with status {process.returncode}")
        process.kill()
        await process.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.bare_loop", description=__doc__)
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("namespace")
    parser.add_argument("--in-flight", type=int, default=1, help="most Notifications at a time")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    asyncio.run(run(given.kubeconfig, given.namespace, given.in_flight))
