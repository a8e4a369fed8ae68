"""PyPI's websockets, called as `websockets-pypi.py <url>`: says in a line of JSON each what came of everything that it tried,
and at last with which code it was closed."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

url = sys.argv[1]


def say(what, value):
    print(json.dumps({what: value}), flush=True)


def read(message):
    """A message; a binary one with its bytes."""
    if isinstance(message, str):
        return json.loads(message)
    head, data = message.split(b"\n", 1)
    return {**json.loads(head), "bytes": list(data)}


async def until(socket, name, value):
    async for message in socket:
        message = read(message)
        if message.get(name) == value:
            return message


async def close_code(socket):
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code


async def main():
    async with connect(url, subprotocols=["tidings.v1"], proxy=None) as socket:
        await until(socket, "type", "hub:connected")
        say("protocol", socket.subprotocol)
        say("extensions", ",".join(one.name for one in socket.protocol.extensions))
        await socket.send(json.dumps({"op": "subscribe", "ref": "s", "feeds": ["a"], "binary": True}))
        await until(socket, "ref", "s")
        await socket.send(json.dumps({"op": "publish", "ref": 1, "feed": "a", "data": {"text": "é"}}))
        say("event", (await until(socket, "sub", "s"))["data"])
        head = json.dumps({"op": "publish", "ref": 2, "feed": "a"}).encode()
        await socket.send(head + b"\n" + bytes([255, 10, 0]))
        say("bytes", (await until(socket, "sub", "s"))["bytes"])
        large = {"op": "publish", "ref": 3, "feed": "a", "data": "x" * 900_000}
        await socket.send(json.dumps(large))
        say("large", len((await until(socket, "sub", "s"))["data"]))
        async with connect(url, proxy=None) as wrong:
            await wrong.send(b"\xff")
            say("refused", await close_code(wrong))
        say("closed", await close_code(socket))


asyncio.run(main())
