"""PyPI's httpx-sse."""

import httpx
from httpx_sse import connect_sse
from report import report, url

with (
    httpx.Client(timeout=None, trust_env=False) as client,
    connect_sse(client, "GET", url) as source,
):
    for event in source.iter_sse():
        report(event.event, event.data, event.id)
