// A backend in Node that publishes over NATS, and answers what clients ask. It needs nothing of Tidings.
//
//     npm install --no-save @nats-io/transport-node
//     node orders.mjs [how many orders]
//
// NATS_URL says where NATS is, 127.0.0.1:4222 unless set.
import { connect, headers } from "@nats-io/transport-node";

const REGIONS = ["eu", "us", "asia"];
const KEPT = 1000;

const left = Number(process.argv[2] ?? Infinity);
const nats = await connect({ servers: process.env.NATS_URL ?? "127.0.0.1:4222" });
const orders = new Map();

// What clients send with `request("orders.get", {id})` comes here, and the answer goes back to them.
nats.subscribe("requests.orders.get", {
  callback: (error, message) => {
    if (error) return console.error(error.message);
    const order = orders.get(asked(message)?.id);
    if (order) return message.respond(JSON.stringify(order));
    const failed = headers();
    failed.set("Nats-Service-Error-Code", "404");
    failed.set("Nats-Service-Error", "there is no such order");
    message.respond("", { headers: failed });
  },
});

function asked(message) {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}

// The subject `feeds.orders.eu` is the feed `orders.eu`. Sent as a request, it is answered by JetStream once it is stored;
// a mere publish is not answered, and may be lost on its way without a word.
async function publish(order, type) {
  const meta = headers();
  meta.set("Event-Type", type);
  meta.set("Content-Type", "application/json");
  // A repeat of the same is no second event.
  meta.set("Nats-Msg-Id", `orders-example-${order.id}-${type}`);
  const subject = `feeds.orders.${order.region}`;
  for (let attempt = 1; ; attempt++) {
    try {
      const ack = (await nats.request(subject, JSON.stringify(order), { headers: meta, timeout: 2000 })).json();
      if (ack.error) throw new Error(ack.error.description);
      return ack.seq;
    } catch (error) {
      if (attempt === 5) throw error;
    }
  }
}

for (let count = 0; count < left; count++) {
  const id = crypto.randomUUID();
  const order = { id, region: REGIONS[count % REGIONS.length], total: 5 + (count % 40) };
  orders.set(id, order);
  if (orders.size > KEPT) orders.delete(orders.keys().next().value);
  console.log(`${order.region} ${id} at ${await publish(order, "created")}`);
  if (count + 1 < left) await new Promise((resolve) => setTimeout(resolve, 1000));
}
await nats.drain();
