"""A backend in Python that publishes over NATS, and answers what clients ask. It needs nothing of Tidings.

    pip install nats-py
    python orders.py [how many orders]

NATS_URL says where NATS is, nats://127.0.0.1:4222 unless set.
"""

import asyncio
import json
import os
import sys
import uuid

import nats

REGIONS = ["eu", "us", "asia"]
KEPT = 1000


async def publish(client, order, kind):
    """Publishes an order and returns its sequence.

    The subject `feeds.orders.eu` is the feed `orders.eu`. Published to JetStream, it is answered once it is stored; a mere
    publish is not answered, and may be lost on its way without a word.
    """
    headers = {
        "Event-Type": kind,
        "Content-Type": "application/json",
        # A repeat of the same is no second event.
        "Nats-Msg-Id": f"orders-example-{order['id']}-{kind}",
    }
    subject = f"feeds.orders.{order['region']}"
    for attempt in range(1, 6):
        try:
            ack = await client.jetstream().publish(
                subject, json.dumps(order).encode(), headers=headers, timeout=2
            )
            return ack.seq
        except (nats.errors.TimeoutError, nats.js.errors.Error):
            if attempt == 5:
                raise


async def main():
    left = int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    orders = {}

    async def answer(message):
        """What clients send with `request("orders.get", {id})` comes here, and the answer goes back to them."""
        try:
            order = orders.get(json.loads(message.data)["id"])
        except (ValueError, KeyError, TypeError):
            order = None
        if order:
            await message.respond(json.dumps(order).encode())
        else:
            error = {
                "Nats-Service-Error-Code": "404",
                "Nats-Service-Error": "there is no such order",
            }
            await client.publish(message.reply, b"", headers=error)

    await client.subscribe("requests.orders.get", cb=answer)
    for count in range(left):
        order = {
            "id": str(uuid.uuid4()),
            "region": REGIONS[count % len(REGIONS)],
            "total": 5 + count % 40,
        }
        orders[order["id"]] = order
        if len(orders) > KEPT:
            del orders[next(iter(orders))]
        print(order["region"], order["id"], "at", await publish(client, order, "created"), flush=True)
        if count + 1 < left:
            await asyncio.sleep(1)
    await client.drain()


if __name__ == "__main__":
    asyncio.run(main())
