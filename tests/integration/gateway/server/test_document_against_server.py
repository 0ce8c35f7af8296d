"""schemathesis makes requests from the OpenAPI document, good and bad, and judges the answers."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.support.gateway import TOKEN, NotificationCluster, running_gateway

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
    "ignored_auth"
)
"""All but positive_data_acceptance: a schema cannot say that a host must be one, or no text NUL."""


async def test_every_operation_keeps_to_the_document(tmp_path: Path) -> None:
    limits = {"failures_per_minute": 1_000_000}
    sending = {"max_unfinished": 1_000_000}
    async with running_gateway(
        tmp_path, NotificationCluster(), callers=limits, sending=sending
    ) as gateway:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{gateway.port}/api/notifications/openapi.json",
            *("--header", f"Authorization: Bearer {TOKEN}", "--checks", CHECKS),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--seed", "1"),
            *("--no-color", "--wait-for-schema", "10"),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "*"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-20_000:]
