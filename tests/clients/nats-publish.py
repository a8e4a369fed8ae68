"""Publishes to NATS with PyPI's nats-py, and ends when the server has taken it all:
`nats-publish.py <server>`, one JSON line on standard input for each message, its data in base64."""

import asyncio
import base64
import json
import sys

import nats


async def main():
    connection = await nats.connect(sys.argv[1])
    for line in sys.stdin:
        message = json.loads(line)
        data = base64.b64decode(message["data"])
        await connection.publish(message["subject"], data, headers=message["headers"] or None)
    await connection.drain()


asyncio.run(main())
