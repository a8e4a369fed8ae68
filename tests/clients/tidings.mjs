// Our own client, told line by line what to do: `tidings.mjs <url> <options as JSON> [<what is special>]...`; `specials` says what may be.
//
// Each line of standard input is a JSON object with `do` and what that needs; each line of standard output tells one thing
// that the client has told. At the end of standard input the client is closed, and the process ends by itself if the
// client has left nothing behind.
import { createInterface } from "node:readline";
import { connect } from "../../static/tidings.js";
import * as tabs from "./tabs.mjs";

const [url, options, ...how] = process.argv.slice(2);
const given = JSON.parse(options);
const { WebSocket } = globalThis;
delete globalThis.WebSocket;

const isStream = ({ headers }) => headers.Accept === "application/x-ndjson";
const ended = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
const noLocks = async () => {
  throw new DOMException("not here", "SecurityError");
};

const specials = {
  /** Nobody listens to what the client itself tells. */
  unheard() {},
  websocket() {
    globalThis.WebSocket = WebSocket;
  },
  /** The first WebSocket leads nowhere once something is published, and does not say so. */
  dead() {
    let dead;
    given.WebSocket = class extends WebSocket {
      send(text) {
        if (text.includes('"publish"')) dead ??= this;
        if (dead !== this) super.send(text);
      }
      close() {
        if (dead === this) this.onclose = undefined;
        super.close();
      }
    };
  },
  /** As behind a proxy that passes on no stream before its end. */
  buffering() {
    given.fetch = (url, init) => (isStream(init) ? ended(init.signal) : fetch(url, init));
  },
  /** The first stream brings nothing after its first piece, and does not end; what is too long a silence passes at once. */
  silent() {
    const { setTimeout } = globalThis;
    const silence = given.silence ?? 45_000;
    globalThis.setTimeout = (run, ms) => setTimeout(run, ms === silence ? 0 : ms);
    let streams = 0;
    given.fetch = async (url, init) => {
      const response = await fetch(url, init);
      if (!isStream(init) || streams++) return response;
      const reader = response.body.getReader();
      const { value } = await reader.read();
      reader.closed.catch(() => {});
      const start = (stream) => {
        stream.enqueue(value);
        ended(init.signal).catch((reason) => stream.error(reason));
      };
      return new Response(new ReadableStream({ start }));
    };
  },
  /** The tokens that are given come one after the other; each is told, and so is each that is refused. A list has its item thrown. */
  tokens() {
    given.token = () => {
      tell({ told: "token" });
      const token = given.tokens.length > 1 ? given.tokens.shift() : given.tokens[0];
      if (Array.isArray(token)) throw token[0];
      return token;
    };
    given.fetch = async (url, init) => {
      const response = await fetch(url, init);
      if (response.status === 401) tell({ told: "refused" });
      return response;
    };
  },
  /** What is asked for by polls is told. */
  polls() {
    given.fetch = (url, init) => {
      if (!isStream(init)) tell({ told: "poll", wait: new URL(url).searchParams.get("wait") });
      return fetch(url, init);
    };
  },
  /** Pauses of some seconds are told. None is by chance: they are those that the server asks for. */
  pauses() {
    Math.random = () => 0;
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (run, ms, ...more) => {
      if (ms >= 1_000 && ms < 4_000) tell({ told: "pause" });
      return setTimeout(run, ms, ...more);
    };
  },
  /** Clients can be as tabs of one origin. */
  tabs: tabs.install,
  "no locks"() {
    Object.defineProperty(globalThis, "navigator", { value: { locks: { request: noLocks } }, configurable: true });
  },
  "no channels"() {
    globalThis.BroadcastChannel = class {
      constructor() {
        throw new DOMException("not here", "SecurityError");
      }
    };
  },
};
for (const special of how) specials[special]();

const clients = new Map();
const subscriptions = new Map();

function open(tab) {
  const client = tabs.inTab(tab, () => connect(url, given));
  clients.set(tab, client);
  for (const type of ["state", "gap", "reset", "error"]) {
    if (!how.includes("unheard")) client.addEventListener(type, ({ detail }) => tell({ told: type, tab, ...detail }));
  }
  return client;
}

const commands = {
  open: ({ tab }) => open(tab),
  leave: ({ tab }) => clients.get(tab).close(),
  busy: ({ tab, is }) => tabs.busy(tab, is),
  feed({ name, pattern, options = {}, throws, heard, tab }) {
    const handler = ({ data, ...event }) => {
      tell({ told: "event", name, ...event, data: data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data });
      if (throws) throw new Error("thrown by a handler");
    };
    if (heard) {
      options.onGap = (gap) => tell({ told: "onGap", name, ...gap });
      options.onReset = () => tell({ told: "onReset", name });
    }
    try {
      subscriptions.set(name, clients.get(tab).feed(pattern, handler, options));
    } catch (error) {
      tell({ told: error.name, name, message: error.message });
    }
  },
  close: ({ name }) => subscriptions.get(name).close(),
  position: ({ name }) => tell({ told: "position", name, position: subscriptions.get(name).position ?? null }),
  publish({ feed, data, bytes, blob, options, tab }) {
    const what = blob ? new Blob([blob]) : bytes ? new Uint8Array(bytes) : data;
    settle(clients.get(tab).publish(feed, what, options));
  },
  request: ({ name, data, options, tab }) => settle(clients.get(tab).request(name, data, options)),
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

open();
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
for (const client of clients.values()) client.close();
