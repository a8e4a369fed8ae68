// Publishes to NATS with npm's client, and ends when the server has taken it all:
// `nats-publish.mjs <server>`, one JSON line on standard input for each message, its data in base64.
import { createInterface } from "node:readline";
import { connect, headers } from "@nats-io/transport-node";

const connection = await connect({ servers: process.argv[2] });
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  const fields = headers();
  for (const [name, value] of Object.entries(message.headers)) {
    fields.set(name, value);
  }
  connection.publish(message.subject, Buffer.from(message.data, "base64"), { headers: fields });
}
await connection.drain();
