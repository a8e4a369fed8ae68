// The client of Tidings: see tidings.d.ts.
//
// A subscription is a position in the log, and takes what is above it: nothing comes twice, whoever brings it. One
// connection, of the tab that leads, is for all tabs. A subscription that is far behind it polls until they meet.

const SILENCE = 45e3; // three heartbeats
const BUFFERED = "a proxy may hold the stream back";

const failure = (message, more) => Object.assign(new Error(message), more);
const refusal = ({ status, title, detail = title }) => failure(detail ?? `status ${status}`, { status, detail });
// 408 and 429 pass by themselves.
const isFinal = ({ status }) => /^4(?!08|29)|501/.test(status);

const sequence = (id) => parseInt(id) || 0;
const newer = (id, than) => sequence(id) > sequence(than);

// Full jitter: those who were cut off together must not come back together.
const backoff = (failures) => Math.random() * Math.min(30e3, 1e3 * 2 ** failures);

function matches(pattern, feed) {
  const source = pattern.replace(/[^\w*>]/g, "\\$&").replaceAll("*", "[^.]+").replace(">", ".+");
  return RegExp(`^${source}$`).test(feed);
}

function decode({ encoding, ...event }) {
  if (encoding) event.data = Uint8Array.from(atob(event.data), (char) => char.charCodeAt(0)).buffer;
  return event;
}

// A handler's error stops nothing here.
function call(handler, argument) {
  try {
    handler(argument);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}

const tools = { failure, refusal, isFinal, backoff, decode };

function sender(base, options) {
  let token;

  function renew() {
    token = undefined;
    return typeof options.token === "function";
  }

  const bearer = async () => (token ??= await (renew() ? options.token() : options.token));

  async function send(path, init, again) {
    const headers = { ...options.headers, ...init.headers };
    if (await bearer()) headers.Authorization = `Bearer ${token}`;
    const { credentials, fetch = globalThis.fetch } = options;
    const response = await fetch(base + path, { credentials, cache: "no-store", ...init, headers }).catch((cause) => {
      throw failure("the server can't be reached", { cause });
    });
    if (response.ok) return response;
    if (response.status === 401 && !again && renew()) return send(path, init, true);
    throw refusal({ ...(await response.json().catch(() => {})), status: response.status });
  }

  return { base, options, renew, bearer, send };
}

// Tells what comes, and of which patterns (`covers`) that is all after which position.
function downstream(http, tell, transport, start = { after: "now" }) {
  const { options } = http;
  const wants = new Map();
  let patterns = [];
  let standing; // all up to here has been told
  let status = { state: "connecting" };
  let attempt = new AbortController();
  let pollUntil = transport === "poll" ? Infinity : 0;
  let failures = 0;
  let running, due, from, timer, reason;

  function want({ tab, patterns, position }) {
    patterns.length ? wants.set(tab, patterns) : wants.delete(tab);
    if (position && (!from || newer(from, position))) from = position;
    due ??= Promise.resolve().then(change); // not a timer: those of hidden tabs are slow
  }

  function change() {
    const union = [...new Set([...wants.values()].flat())].sort();
    const behind = from && (!standing || newer(standing, from));
    if (behind) standing = from;
    due = from = undefined;
    if (behind || union.join(" ") !== patterns.join(" ")) {
      patterns = union;
      attempt.abort(null);
      if (!running) run();
    } else cover();
    if (union.length) tell(status); // a tab may be new
  }

  function close() {
    wants.clear();
    change();
  }

  function cover() {
    if (standing) tell({ covers: patterns, after: standing });
  }

  async function run() {
    for (running = true; patterns.length; ) {
      attempt = new AbortController();
      cover();
      let error = await (Date.now() < pollUntil ? poll() : stream()).catch((e) => e);
      clearTimeout(timer);
      if (attempt.signal.aborted) error = attempt.signal.reason; // null: a change
      if (!error || !patterns.length) continue;
      if (isFinal(error)) {
        become("refused", error);
        break;
      }
      if (error.message === BUFFERED && transport !== "stream") pollUntil = Date.now() + options.streamsAgain;
      else {
        const wait = backoff(failures++);
        become("offline", error, Date.now() + wait);
        attempt = new AbortController();
        expect(wait);
        await aborted();
      }
    }
    running = false;
    if (!patterns.length) standing = undefined; // the next begins at "now"
  }

  function become(state, error, retryAt) {
    if (state === status.state && !error) return;
    // Channels drop an Error's fields.
    status = { state, error: error && { message: error.message, status: error.status, detail: error.detail, retryAt } };
    tell(status);
  }

  function take(message, state) {
    expect();
    if (attempt.signal.aborted) return;
    if (message.type === "hub:closing") reason = `the server ends the stream: ${message.data.reason}`;
    else if (message.id) {
      failures = 0;
      reason = undefined;
      const first = !standing;
      standing = message.id;
      if (first) cover();
      tell({ event: message });
      become(state);
    }
  }

  const lost = () => failure(reason ?? "the connection was lost");

  // Ends the attempt unless it is called again in time.
  function expect(ms, complaint) {
    clearTimeout(timer);
    if (ms >= 0) timer = setTimeout(() => attempt.abort(failure(complaint)), ms);
  }

  const aborted = () => new Promise((resolve) => attempt.signal.addEventListener("abort", resolve));

  function path(more) {
    const query = new URLSearchParams({ ...(standing ? { after: standing } : start), ...more });
    for (const pattern of patterns) query.append("feed", pattern);
    return `/feeds?${query}`;
  }

  const get = (path, Accept) => http.send(path, { headers: { Accept }, signal: attempt.signal });

  async function poll() {
    // The first does not wait; proxies give up after 30 s.
    const wait = standing && status.state === "polling" ? 25 : 0;
    expect(wait * 1e3 + 15e3, "the server does not answer");
    const { events, next } = await (await get(path({ wait, limit: 1000 }), "application/json")).json();
    for (const message of [...events, { type: "hub:position", id: next }]) take(message, "polling");
  }

  function stream() {
    const { token, headers, EventSource = globalThis.EventSource } = options;
    expect(options.firstByte, BUFFERED);
    return EventSource && !token && !headers ? listen(EventSource) : read();
  }

  async function read() {
    const { body } = await get(path(), "application/x-ndjson");
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value } = await reader.read().catch(() => ({}));
      if (!value) throw lost();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.trim()) take(JSON.parse(line), "live");
      expect(SILENCE, "the connection is silent");
    }
  }

  async function listen(EventSource) {
    const source = new EventSource(http.base + path({ envelope: 1 }), { withCredentials: options.credentials === "include" });
    source.onopen = () => expect(options.firstByte, BUFFERED);
    source.onmessage = ({ data }) => take(JSON.parse(data), "live");
    for (const type of ["hub:position", "hub:gap", "hub:reset", "hub:closing"])
      source.addEventListener(type, (e) => take({ type, id: e.lastEventId, data: JSON.parse(e.data) }, "live"));
    const closed = new Promise((resolve) => {
      source.onerror = () => {
        expect();
        if (source.readyState === 2) resolve();
        else become("offline", lost()); // comes back by itself
      };
    });
    await Promise.race([closed, aborted()]);
    source.close();
    await poll(); // says why, if it was refused
    throw lost();
  }

  return { want, close };
}

export function connect(url = location.origin, given = {}) {
  const locks = globalThis.navigator?.locks;
  const share = locks && !given.token && !given.headers;
  const options = { firstByte: 5e3, streamsAgain: 300e3, share, ...given };
  const http = sender(new URL(url, globalThis.location).href.replace(/\/$/, ""), options);
  const client = new EventTarget();
  const subs = new Set();
  const tab = Math.random();
  const echoes = []; // this client's newest WebSockets
  const connected = (id) => echoes.push(id) > 99 && echoes.shift();
  const kept = JSON.parse((options.persist && sessionStorage.getItem(options.persist)) || "{}");
  const life = new AbortController();
  const { signal } = life;
  let leader, channel, visit, standing, up;

  function feed(pattern, handler, { after = "now", last, ...more } = {}) {
    signal.throwIfAborted();
    const sub = { pattern, handler, ...more };
    const start = kept[pattern] ? { after: kept[pattern] } : last === undefined ? { after } : { last };
    subs.add(sub);
    start.after === "now" ? ask() : catchUp(sub, start);
    const close = () => {
      delete kept[pattern];
      subs.delete(sub);
      sub.own?.close();
      ask();
    };
    return Object.defineProperty({ pattern, close }, "position", { get: () => sub.position });
  }

  function catchUp(sub, start = { after: sub.position }) {
    sub.own?.close();
    sub.live = false;
    const own = (sub.own = downstream(http, tell, "poll", start));
    function tell({ event, error, state }) {
      if (event) advance(sub, event);
      if (error) standing ? emit("error", { error }) : become(state, error);
      if (event?.type !== "hub:position" || newer(standing, event.id)) return;
      own.close();
      sub.own = undefined;
      ask();
    }
    own.want({ patterns: [sub.pattern] });
  }

  function advance(sub, event) {
    const { type, id, feed, data, connection } = event;
    const reset = type === "hub:reset";
    if (!subs.has(sub) || (sub.position && !reset && !newer(id, sub.position))) return;
    sub.position = id;
    if (reset) alert(sub, "reset", data, sub.onReset);
    else if (type === "hub:gap") alert(sub, "gap", data, sub.onGap);
    else if (feed && matches(sub.pattern, feed) && (sub.echo !== false || !echoes.includes(connection)))
      call(sub.handler, decode(event));
  }

  function alert({ pattern }, type, data, handler) {
    const unheard = emit(type, { ...data, pattern });
    if (handler) call(handler, data);
    else if (unheard) console.warn(`tidings: ${type} in ${pattern}`, data);
  }

  const emit = (type, detail) => client.dispatchEvent(new CustomEvent(type, { detail, cancelable: true }));

  function become(state, error) {
    if (state === client.state && !error) return;
    client.state = state;
    emit("state", { state, error });
    if (state === "refused") emit("error", { error });
  }

  const oldestLast = () => [...subs].sort((a, b) => sequence(b.position) - sequence(a.position));

  function ask() {
    const joined = oldestLast().filter((sub) => !sub.own);
    const position = joined.findLast((sub) => sub.position)?.position;
    const want = { tab, position, patterns: joined.map((sub) => sub.pattern) };
    leader ? leader.want(want) : channel?.postMessage({ want });
  }

  function hear({ who, want, state, error, covers, after, event }) {
    if (who) ask();
    if (want) leader?.want(want);
    if (state) become(state, error);
    if (covers) cover(covers, after);
    if (event) take(event);
  }

  function cover(patterns, after) {
    standing = after;
    for (const sub of subs) {
      if (sub.own || !(sub.live = patterns.includes(sub.pattern))) continue;
      sub.position ??= after;
      if (newer(after, sub.position)) catchUp(sub);
    }
  }

  function take(event) {
    standing = event.id;
    for (const sub of subs) {
      const astray = sub.own && event.type === "hub:reset";
      if (sub.live || astray) advance(sub, event);
      if (astray && subs.has(sub)) catchUp(sub);
    }
  }

  function lead() {
    const tell = (message) => {
      channel?.postMessage(message);
      hear(message);
    };
    leader = downstream(http, tell, options.transport);
    channel?.postMessage({ who: true });
    ask();
  }

  function start() {
    const { signal } = (visit = new AbortController());
    for (const sub of subs) if (sub.position) catchUp(sub); // the log may be another by now
    if (!options.share) return lead();
    const name = `tidings:${http.base}`;
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => hear(data);
    const held = () => new Promise((resolve) => signal.addEventListener("abort", resolve, lead()));
    locks.request(name, { signal }, held).catch(() => {});
    ask();
  }

  function stop() {
    leader?.close();
    channel?.postMessage({ want: { tab, patterns: [] } });
    channel?.close();
    leader = channel = undefined;
    visit.abort();
    const positions = Object.fromEntries(oldestLast().map((sub) => [sub.pattern, sub.position]));
    if (options.persist) sessionStorage.setItem(options.persist, JSON.stringify({ ...kept, ...positions }));
  }

  function close() {
    stop();
    for (const sub of subs) sub.own?.close();
    subs.clear();
    life.abort(failure("the client is closed"));
    become("closed");
  }

  // Few pages need it.
  const send = (how) => async (...more) => {
    signal.throwIfAborted();
    up ??= import("./tidings-upstream.js").then((it) => it.upstream({ ...http, tools, connected, life: signal }));
    return (await up)[how](...more);
  };

  start();
  // A page that was left may come back.
  globalThis.addEventListener?.("pagehide", stop, { signal });
  globalThis.addEventListener?.("pageshow", ({ persisted }) => persisted && start(), { signal });
  return Object.assign(client, { state: "connecting", feed, publish: send("publish"), request: send("request"), close });
}
