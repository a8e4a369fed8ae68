// npm's ws, called as `ws.mjs <url>`: says in a line of JSON each what came of everything that it tried, and at last with
// which code it was closed.
import { WebSocket } from "ws";

const url = process.argv[2];
const say = (what, value) => process.stdout.write(`${JSON.stringify({ [what]: value })}\n`);

// Messages of a connection, one after the other; a binary one as its line and its bytes.
async function* messages(socket) {
  const came = [];
  let wake = () => {};
  socket.on("message", (data, isBinary) => {
    const at = isBinary ? data.indexOf(10) : data.length;
    const message = JSON.parse(data.subarray(0, at).toString());
    if (isBinary) message.bytes = [...data.subarray(at + 1)];
    came.push(message);
    wake();
  });
  while (true) {
    while (came.length > 0) yield came.shift();
    await new Promise((resolve) => (wake = resolve));
  }
}

const socket = new WebSocket(url, "tidings.v1");
const closed = new Promise((resolve) => socket.on("close", resolve));
const coming = messages(socket);
const next = async (fits) => {
  for (;;) {
    const { value } = await coming.next();
    if (fits(value)) return value;
  }
};
await next((message) => message.type === "hub:connected");
say("protocol", socket.protocol);
say("extensions", socket.extensions);
socket.send(JSON.stringify({ op: "subscribe", ref: "s", feeds: ["a"], binary: true }));
await next((message) => message.ref === "s");
socket.send(JSON.stringify({ op: "publish", ref: 1, feed: "a", data: { text: "é" } }));
say("event", (await next((message) => message.sub === "s")).data);
const head = Buffer.from(`${JSON.stringify({ op: "publish", ref: 2, feed: "a" })}\n`);
socket.send(Buffer.concat([head, Buffer.from([255, 10, 0])]));
say("bytes", (await next((message) => message.sub === "s")).bytes);
socket.send(JSON.stringify({ op: "publish", ref: 3, feed: "a", data: "x".repeat(900_000) }));
say("large", (await next((message) => message.sub === "s")).data.length);

const wrong = new WebSocket(url);
wrong.on("open", () => wrong.send(Buffer.from([255])));
say("refused", await new Promise((resolve) => wrong.on("close", resolve)));
say("closed", await closed);
