// What the client of Tidings sends: publishes and requests. tidings.js fetches this when a page first sends something.
//
// It goes over a WebSocket that is opened when it is needed and closed after an idle minute; publishes go by POST where
// none can be had, and where they are large. A publish has a key, under which it is repeated until it is known what became
// of it.

const IDLE = 60e3;
const LARGE = 64 * 1024; // a message over the server's bound would end the WebSocket, and all that waits on it

async function encode(data) {
  if (!(data instanceof Blob || data instanceof ArrayBuffer || ArrayBuffer.isView(data))) return { data };
  let text = "";
  for (const byte of new Uint8Array(await new Blob([data]).arrayBuffer())) text += String.fromCharCode(byte);
  return { data: btoa(text), encoding: "base64" };
}

/** `crypto.randomUUID` is for secure contexts alone. */
const random = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

export function upstream({ base, options, bearer, renew, send, tools, connected, life }) {
  const { failure, refusal, isFinal, backoff, decode } = tools;
  const { WebSocket = globalThis.WebSocket } = options;
  const calls = new Set();
  let encoded; // what was published before
  let link; // a promise of a function that asks; shared, so that those who wait for it go on in their order
  let hangUp = () => {};
  let wake = () => {};
  let pausing; // shared too, so that what failed together is repeated in its order
  let probing = false;
  let failures = 0;
  let postUntil = WebSocket ? 0 : Infinity;

  life.addEventListener("abort", () => {
    hangUp();
    wake();
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

  const pause = (ms) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => resolve(clearTimeout(timer));
    });

  function connect() {
    if (link) return link;
    const ended = () => {
      if (link === opening) link = undefined;
    };
    const opening = open(ended);
    opening.catch(ended);
    return (link = opening);
  }

  /** Brings a function that sends a body, which is JSON of an object, and brings its answer. */
  async function open(ended) {
    const socket = new WebSocket(`${base.replace("http", "ws")}/ws`, "tidings.v1");
    const answers = new Map();
    let ref = 0;
    let complaint = "no WebSocket comes through to the server";
    let idle, opened, over;
    const opening = new Promise((resolve, reject) => (opened = { resolve, reject }));

    /** At once: what a dead connection tells of its own end comes late, or never. */
    function end(error) {
      over = error;
      ended();
      clearTimeout(idle);
      opened.reject(error);
      for (const ref of answers.keys()) take(ref).reject(error);
      socket.close();
    }

    function closeIn(ms) {
      clearTimeout(idle);
      idle = setTimeout(close, ms);
    }

    const ask = (op, body, ms = 2 * options.firstByte) =>
      new Promise((resolve, reject) => {
        if (over) throw over;
        clearTimeout(idle);
        const overdue = setTimeout(() => end(failure("the WebSocket does not answer")), ms);
        answers.set(++ref, { resolve, reject, overdue });
        socket.send(`{"op":"${op}","ref":${ref},${body.slice(1)}`);
      });

    function take(ref) {
      const answer = answers.get(ref);
      answers.delete(ref);
      clearTimeout(answer?.overdue);
      return answer;
    }

    const close = () => end(failure(complaint));
    hangUp = close;
    closeIn(options.firstByte);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "hub:connected") {
        complaint = "the WebSocket was closed";
        connected(message.data.connection);
        signIn(ask).then(opened.resolve, end);
      }
      // Where that fails, the connection ends with its token.
      if (message.type === "hub:token-expiring" && renew()) signIn(ask).catch(() => {});
      const answer = take(message.ref);
      if (message.error) answer?.reject(refusal(message.error));
      else answer?.resolve(message.result);
      if (!answers.size && !over) closeIn(IDLE);
    };
    socket.onerror = () => {}; // a close follows; npm's `ws` throws where nobody listens
    socket.onclose = close;
    return opening;
  }

  /** A server without authentication answers 501. */
  async function signIn(ask) {
    const token = await bearer();
    if (token) {
      await ask("auth", JSON.stringify({ token })).catch((error) => {
        if (error.status !== 501) throw error;
      });
    }
    return ask;
  }

  /** Asks, and once more with a fresh token where that is what is missing. */
  const askOver = (ask, ...message) =>
    ask(...message).catch(async (error) => {
      if (error.status !== 401 || !renew()) throw error;
      await signIn(ask);
      return ask(...message);
    });

  async function post(body, signal) {
    const headers = { "Content-Type": "application/x-ndjson" };
    const response = await send("/feeds", { method: "POST", headers, body, signal });
    const result = await response.json();
    if (result.status) throw refusal(result);
    return result;
  }

  async function once(body, signal) {
    if (Date.now() < postUntil || body.length > LARGE) return post(body, signal);
    let trouble;
    const ask = await connect().catch((error) => {
      trouble = error;
    });
    if (ask) return askOver(ask, "publish", body);
    // Is it the server that is away, or no WebSocket that comes through? The first finds out, for all who wait.
    if (probing) throw trouble;
    probing = true;
    try {
      const result = await post(body, signal);
      postUntil = Date.now() + options.streamsAgain;
      return result;
    } finally {
      probing = false;
    }
  }

  async function repeat(body, signal, say) {
    for (;;) {
      await pausing;
      signal.throwIfAborted();
      try {
        const result = await once(body, signal);
        failures = 0;
        return result;
      } catch (error) {
        if (signal.aborted || isFinal(error)) throw error;
        say(error);
        pausing ??= pause(backoff(failures++, error)).then(() => (pausing = undefined));
      }
    }
  }

  /** A blob takes time to be read, in which nothing that is published later may overtake it. */
  function inTurn(data) {
    const its = encode(data);
    return (encoded = Promise.allSettled([its, encoded]).then(() => its));
  }

  async function publish(feed, data, { type, key, contentType, idempotencyKey = random(), timeout = options.timeout ?? 30e3 } = {}) {
    const more = { content_type: contentType, idempotency_key: idempotencyKey };
    const body = JSON.stringify({ feed, type, key, ...(await inTurn(data)), ...more });
    return within(timeout, (...call) => repeat(body, ...call));
  }

  async function request(name, data, { timeout = 5000 } = {}) {
    if (!WebSocket) throw failure("a request needs a WebSocket, and there is none here: give one as options.WebSocket");
    const body = JSON.stringify({ name, ...(await encode(data)), timeout: timeout / 1000 });
    // The server waits for so long; to get there takes time too.
    const ms = timeout + options.firstByte;
    const result = await within(ms, async () => askOver(await connect(), "request", body, ms));
    return decode(result).data;
  }

  return { publish, request };
}
