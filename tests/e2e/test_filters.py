"""Several processors with filters; what each gets, and what the resource says of it."""

from __future__ import annotations

import pytest

from tests.support.installation import AddProcessor
from tests.support.kubernetes import Kubernetes, Object, complete, notification
from tests.support.smtp import SMTPPeer

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("installation")]


def summaries(body: Object) -> dict[str, tuple[int, str | None]]:
    return {
        item["name"]: (item["sent"], item.get("reason")) for item in body["status"]["processors"]
    }


async def test_two_processors_with_filters(
    kubernetes: Kubernetes, namespace: str, title: str, add_processor: AddProcessor
) -> None:
    async with SMTPPeer() as urgent_peer, SMTPPeer() as topic_peer:
        urgent = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": urgent_peer.port},
            filter={"minSeverity": "high"},
        )
        topic = await add_processor(
            {"transport": "smtp", "hostname": "127.0.0.1", "port": topic_peer.port},
            email={"filter": {"includedTopics": ["builds"]}},
        )
        cases = {
            "both": {"severity": "critical", "topic": "builds"},
            "urgent": {"severity": "high", "topic": "other"},
            "topic": {"severity": "low", "topic": "builds"},
            "neither": {"severity": "normal"},
        }
        expected = {
            "both": {urgent: (1, None), topic: (1, None)},
            "urgent": {urgent: (1, None), topic: (0, "Filtered")},
            "topic": {urgent: (0, "Filtered"), topic: (1, None)},
            "neither": {urgent: (0, "Filtered"), topic: (0, "Filtered")},
        }
        for name, payload in cases.items():
            await kubernetes.create(
                notification(
                    name,
                    namespace,
                    "user:default/ada",
                    title=f"{title} {name}",
                    payload=payload,
                    processors=[urgent, topic],
                )
            )
        for name in cases:
            body = await kubernetes.wait("Notification", name, namespace, complete)
            assert summaries(body) == expected[name], name
            assert body["status"]["state"] == "Delivered"
        assert len(urgent_peer.ledger.messages) == 2
        assert len(topic_peer.ledger.messages) == 2
