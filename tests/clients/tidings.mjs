// Our own client, told line by line what to do: `tidings.mjs <url> <options as JSON> [buffering|eventsource|unheard|websocket]...`.
//
// Each line of standard input is a JSON object with `do` and what that needs; each line of standard output tells one thing
// that the client has told. At the end of standard input the client is closed, and the process ends by itself if the
// client has left nothing behind.
import { createInterface } from "node:readline";
import { connect } from "../../static/tidings.js";

const [url, options, ...how] = process.argv.slice(2);
const given = JSON.parse(options);
if (!how.includes("websocket")) delete globalThis.WebSocket;
if (how.includes("eventsource")) given.EventSource = (await import("eventsource")).EventSource;
if (how.includes("buffering")) given.fetch = buffering;

const client = connect(url, given);
const subscriptions = new Map();
for (const type of ["state", "gap", "reset", "error"]) {
  if (!how.includes("unheard")) client.addEventListener(type, ({ detail }) => tell({ told: type, ...detail }));
}

const commands = {
  feed({ name, pattern, options = {}, throws, heard }) {
    const handler = ({ data, ...event }) => {
      tell({ told: "event", name, ...event, data: data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data });
      if (throws) throw new Error("thrown by a handler");
    };
    if (heard) {
      options.onGap = (gap) => tell({ told: "onGap", name, ...gap });
      options.onReset = () => tell({ told: "onReset", name });
    }
    subscriptions.set(name, client.feed(pattern, handler, options));
  },
  close: ({ name }) => subscriptions.get(name).close(),
  position: ({ name }) => tell({ told: "position", name, position: subscriptions.get(name).position ?? null }),
  publish: ({ feed, data, bytes, options }) => settle(client.publish(feed, bytes ? new Uint8Array(bytes) : data, options)),
  request: ({ name, data, options }) => settle(client.request(name, data, options)),
};

function settle(promise) {
  promise.then(
    (result) => tell({ told: "resolved", result }),
    ({ message, status, detail }) => tell({ told: "rejected", message, status, detail }),
  );
}

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

/** As behind a proxy that passes on no stream before its end. */
async function buffering(url, init) {
  if (init.headers.Accept !== "application/x-ndjson") return fetch(url, init);
  return new Promise((_, reject) => init.signal.addEventListener("abort", () => reject(init.signal.reason)));
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
client.close();
