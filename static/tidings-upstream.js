// What the client of Tidings sends: publishes and requests. tidings.js fetches this when a page first sends something.
//
// It goes over a WebSocket that is opened when it is needed and closed after an idle minute; publishes go by POST where
// no WebSocket can be had. A publish has a key, and is repeated under it until it is known what became of it.

const IDLE = 60e3;

async function encode(data) {
  if (!(data instanceof Blob || data instanceof ArrayBuffer || ArrayBuffer.isView(data))) return { data };
  let text = "";
  for (const byte of new Uint8Array(await new Blob([data]).arrayBuffer())) text += String.fromCharCode(byte);
  return { data: btoa(text), encoding: "base64" };
}

/** `crypto.randomUUID` is for secure contexts alone. */
const random = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
  });

export function upstream({ base, options, bearer, renew, send, tools, connected, life }) {
  const { failure, refusal, isFinal, backoff, decode } = tools;
  const { WebSocket = globalThis.WebSocket } = options;
  const calls = new Set();
  let link; // a promise of a function that asks; shared, so that those who wait for it go on in their order
  let hangUp = () => {};
  let pausing; // shared too, so that what failed together is repeated in its order
  let probing = false;
  let failures = 0;
  let postUntil = WebSocket ? 0 : Infinity;

  life.addEventListener("abort", () => {
    hangUp();
    for (const call of calls) call.abort(life.reason);
  });

  /** Settles in time, and at the client's end; then the work's signal is aborted too. The work may say what its trouble is. */
  function within(ms, work) {
    const controller = new AbortController();
    const { signal } = controller;
    let trouble = "there was no answer";
    const timer = setTimeout(() => controller.abort(failure(`given up after ${ms} ms: ${trouble}`)), ms);
    calls.add(controller);
    return new Promise((resolve, reject) => {
      life.throwIfAborted();
      signal.addEventListener("abort", () => reject(signal.reason));
      work(signal, (error) => (trouble = error.message)).then(resolve, reject);
    }).finally(() => {
      clearTimeout(timer);
      calls.delete(controller);
      controller.abort();
    });
  }

  function connect() {
    if (link) return link;
    const opening = open(() => {
      if (link === opening) link = undefined;
    });
    return (link = opening);
  }

  async function open(ended) {
    const socket = new WebSocket(`${base.replace("http", "ws")}/ws`, "tidings.v1");
    hangUp = () => socket.close();
    const answers = new Map();
    let ref = 0;
    let complaint = "no WebSocket comes through to the server";
    let timer;

    function closeIn(ms) {
      clearTimeout(timer);
      timer = setTimeout(() => socket.close(), ms);
    }

    const ask = (message) =>
      new Promise((resolve, reject) => {
        clearTimeout(timer);
        answers.set(++ref, { resolve, reject });
        socket.send(JSON.stringify({ ...message, ref }));
      });

    closeIn(options.firstByte);
    return new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "hub:connected") {
          complaint = "the WebSocket was closed";
          connected(message.data.connection);
          signIn(ask).then(resolve, (error) => socket.close(reject(error)));
        }
        const answer = answers.get(message.ref);
        answers.delete(message.ref);
        if (message.error) answer?.reject(refusal(message.error));
        else answer?.resolve(message.result);
        if (!answers.size) closeIn(IDLE);
      };
      socket.onerror = () => {}; // a close follows; npm's `ws` throws where nobody listens
      socket.onclose = () => {
        clearTimeout(timer);
        ended();
        const lost = failure(complaint);
        reject(lost);
        for (const answer of answers.values()) answer.reject(lost);
      };
    });
  }

  /** A server without authentication answers 501. */
  async function signIn(ask) {
    const token = await bearer();
    if (token) {
      await ask({ op: "auth", token }).catch((error) => {
        if (error.status !== 501) throw error;
      });
    }
    return ask;
  }

  /** Asks, and once more with a fresh token where that is what is missing. */
  const askOver = (ask, message) =>
    ask(message).catch(async (error) => {
      if (error.status !== 401 || !renew()) throw error;
      await signIn(ask);
      return ask(message);
    });

  async function post(message, signal) {
    const headers = { "Content-Type": "application/x-ndjson" };
    const response = await send("/feeds", { method: "POST", headers, body: JSON.stringify(message), signal });
    const result = await response.json();
    if (result.status) throw refusal(result);
    return result;
  }

  async function once(message, signal) {
    if (Date.now() < postUntil) return post(message, signal);
    let trouble;
    const ask = await connect().catch((error) => {
      trouble = error;
    });
    if (ask) return askOver(ask, { op: "publish", ...message });
    // Is it the server that is away, or the WebSocket that does not come through? The first finds out, for all who wait.
    if (probing) throw trouble;
    probing = true;
    try {
      const result = await post(message, signal);
      postUntil = Date.now() + options.streamsAgain;
      return result;
    } finally {
      probing = false;
    }
  }

  async function repeat(message, signal, say) {
    for (;;) {
      await pausing;
      signal.throwIfAborted();
      try {
        const result = await once(message, signal);
        failures = 0;
        return result;
      } catch (error) {
        if (isFinal(error)) throw error;
        say(error);
        pausing ??= pause(backoff(failures++), signal).then(() => (pausing = undefined));
      }
    }
  }

  async function publish(feed, data, { type, key, contentType, idempotencyKey = random(), timeout = options.timeout ?? 30e3 } = {}) {
    const message = { feed, type, key, ...(await encode(data)), content_type: contentType, idempotency_key: idempotencyKey };
    return within(timeout, (...call) => repeat(message, ...call));
  }

  async function request(name, data, { timeout = 5000 } = {}) {
    if (!WebSocket) throw failure("a request needs a WebSocket, and there is none here: give one as options.WebSocket");
    const message = { op: "request", name, ...(await encode(data)), timeout: timeout / 1000 };
    // The server waits for so long; to get there takes time too.
    const result = await within(timeout + options.firstByte, async () => askOver(await connect(), message));
    return decode(result).data;
  }

  return { publish, request };
}
