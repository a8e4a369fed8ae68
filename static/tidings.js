// The client of Tidings: see tidings.d.ts.
//
// A subscription is a position in the log, and takes what is above it: nothing comes twice, whoever brings it. One
// connection, of the tab that leads, is for all tabs. Who is behind it polls up to now; then it steps back to them.

const BUFFERED = "a proxy may hold the stream back";

const failure = (message, more) => Object.assign(new Error(message), more);
const refusal = ({ status, title, detail = title, retry_after }) => failure(detail ?? `status ${status}`, { status, detail, retry_after });
// 408 and 429 pass by themselves.
const isFinal = ({ status }) => /^4(?!08|29)|501/.test(status);

const sequence = (id) => parseInt(id) || 0;
const newer = (id, than) => sequence(id) > sequence(than);

// Those who were cut off together must not come back together.
const backoff = (failures, { retry_after } = {}) => (1e3 * retry_after || 0) + Math.random() * Math.min(30e3, 1e3 * 2 ** failures);

const token = "[^.*>/\\p{White_Space}\\p{Cc}]+";
const isPattern = RegExp(`^((\\*|${token})\\.)*([*>]|${token})$`, "u");

function matches(pattern, feed) {
  const source = pattern.replace(/[^\w*>]/g, "\\$&").replaceAll("*", "[^.]+").replace(">", ".+");
  return RegExp(`^${source}$`).test(feed);
}

function decode({ encoding, ...event }) {
  if (encoding) event.data = Uint8Array.from(atob(event.data), (char) => char.charCodeAt(0)).buffer;
  return event;
}

function call(handler, argument) {
  try {
    handler(argument);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}

function sender(base, options, complain) {
  let token, coming;

  // Whether there may be another one.
  function renew(old = token) {
    if (token === old) token = undefined;
    return typeof options.token === "function";
  }

  // Who needs one at the same time shares it.
  const bearer = async () => (token ??= await (coming ??= bring().finally(() => (coming = undefined))));

  const bring = async () => {
    try {
      return await (renew() ? options.token() : options.token);
    } catch (error) {
      const message = `no token could be had: ${error?.message ?? error}`;
      complain({ message });
      throw failure(message);
    }
  };

  async function send(path, init, again) {
    const headers = { ...options.headers, ...init.headers };
    const token = await bearer();
    if (token) headers.Authorization = `Bearer ${token}`;
    const { credentials, fetch = globalThis.fetch } = options;
    const response = await fetch(base + path, { credentials, cache: "no-store", ...init, headers }).catch((cause) => {
      throw failure("the server can't be reached", { cause });
    });
    if (response.ok) return Object.assign(response, { token });
    if (response.status === 401 && !again && renew(token)) return send(path, init, true);
    throw refusal({ ...(await response.json().catch(() => {})), status: response.status });
  }

  return { base, options, renew, bearer, send };
}

// Tells what comes, and of which patterns (`covers`) that is all after which position. With a `start` it polls.
function downstream(http, tell, start) {
  const { options } = http;
  const { transport } = options;
  const wants = new Map();
  let patterns = [];
  let standing; // all up to here has been told
  let from; // where to step back to
  let status;
  let attempt = new AbortController();
  let pollUntil = start || transport === "poll" ? Infinity : 0;
  let failures = 0;
  let running, due, timer, reason, shown;

  function want({ tab, patterns, position }) {
    patterns.length ? wants.set(tab, patterns) : wants.delete(tab);
    if (position && (!from || newer(from, position))) from = position;
    due ??= Promise.resolve().then(change); // not a timer: those of hidden tabs are slow
  }

  function change() {
    const union = [...new Set([...wants.values()].flat())].sort();
    due = undefined;
    standing ??= from;
    if (!newer(standing, from)) from = undefined;
    if (from || union.join(" ") !== patterns.join(" ")) {
      patterns = union;
      attempt.abort(null);
      if (!running) run();
    } else cover();
    if (union.length) tell(status); // a tab may be new
  }

  const close = () => change(wants.clear());

  const cover = () => standing && tell({ covers: patterns, after: standing });

  async function run() {
    status = { state: "connecting" };
    for (running = true; patterns.length; ) {
      attempt = new AbortController();
      let error = await proceed().catch((e) => e);
      clearTimeout(timer);
      if (attempt.signal.aborted) error = attempt.signal.reason; // null: a change
      attempt.abort();
      if (!error || !patterns.length) continue;
      if (isFinal(error)) {
        become("refused", error);
        break;
      }
      if (error.message === BUFFERED && transport !== "stream") pollUntil = Date.now() + options.streamsAgain;
      else {
        const wait = backoff(failures++, error);
        become("offline", error, Date.now() + wait);
        attempt = new AbortController();
        expect(wait);
        await aborted();
      }
    }
    running = false;
    if (!patterns.length) standing = from = undefined; // the next begins at "now"
  }

  async function proceed() {
    await http.bearer(); // it takes its time: the server is not to blame
    if (from) {
      // Only from here is it told if the log is another.
      await poll(0, status.state);
      if (newer(standing, from)) standing = from;
      from = undefined;
    }
    cover();
    if (Date.now() > pollUntil) return stream();
    return poll(status.state === "polling" && !start ? 25 : 0, "polling"); // proxies give up after 30 s
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
      if (message.type === "hub:token-expiring") renew(attempt);
      failures = 0;
      reason = undefined;
      const first = !standing;
      standing = message.id;
      if (first) cover();
      tell({ event: message });
      become(state);
    }
  }

  // The stream goes on until there is another token. The next one begins where it ends.
  async function renew(its, old = shown, tries = 0) {
    if (!http.renew(old)) return;
    const token = await http.bearer().catch(() => old);
    if (its.signal.aborted) return;
    if (token !== old) return its.abort(null);
    const again = setTimeout(renew, backoff(tries++), its, old, tries);
    its.signal.addEventListener("abort", () => clearTimeout(again));
  }

  const lost = () => failure(reason ?? "the connection was lost");

  // Ends the attempt unless it is called again in time.
  function expect(ms, complaint) {
    clearTimeout(timer);
    if (ms >= 0) timer = setTimeout(() => attempt.abort(failure(complaint)), ms);
  }

  const aborted = () => new Promise((resolve) => attempt.signal.addEventListener("abort", resolve));

  function path(more) {
    const query = new URLSearchParams({ ...(standing ? { after: standing } : start ?? { after: "now" }), ...more });
    for (const pattern of patterns) query.append("feed", pattern);
    return `/feeds?${query}`;
  }

  const get = (path, Accept) => http.send(path, { headers: { Accept }, signal: attempt.signal });

  async function poll(wait, state) {
    expect(wait * 1e3 + 15e3, "the server does not answer");
    const { events, next } = await (await get(path({ wait, limit: 1000 }), "application/json")).json();
    attempt.signal.throwIfAborted();
    // `next` is the last one where the page was full.
    if (events.at(-1)?.id !== next) events.push({ type: "hub:position", id: next });
    for (const message of events) take(message, state);
  }

  async function stream() {
    expect(options.firstByte, BUFFERED);
    const response = await get(path(), "application/x-ndjson");
    shown = response.token;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value } = await reader.read().catch(() => ({}));
      if (!value) throw lost();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.trim()) take(JSON.parse(line), "live");
      expect(options.silence, "the connection is silent");
    }
  }

  return { want, close };
}

export function connect(url = location.origin, given = {}) {
  const locks = globalThis.navigator?.locks;
  const share = !given.token && !given.headers;
  const options = { firstByte: 5e3, silence: 45e3, streamsAgain: 300e3, share, ...given };
  const http = sender(new URL(url, globalThis.location).href.replace(/\/$/, ""), options, (error) => emit("error", { error }));
  const client = new EventTarget();
  const subs = new Set();
  const tab = Math.random();
  const echoes = []; // this client's newest WebSockets
  const connected = (id) => echoes.push(id) > 99 && echoes.shift();
  const kept = { __proto__: null, ...JSON.parse((options.persist && sessionStorage.getItem(options.persist)) || "{}") };
  const life = new AbortController();
  const { signal } = life;
  let leader, channel, showing, sending;

  function feed(pattern, handler, { after = "now", last, ...more } = {}) {
    signal.throwIfAborted();
    if (!isPattern.test(pattern)) throw TypeError(`"${pattern}" is no pattern, as "a.*.b" or "a.>" is`);
    const position = kept[pattern];
    delete kept[pattern];
    const sub = { pattern, handler, position, ...more };
    subs.add(sub);
    if (position) catchUp(sub);
    else if (last === undefined && after === "now") ask();
    else catchUp(sub, last === undefined ? { after } : { last });
    const close = () => {
      sub.own?.close();
      if (subs.delete(sub)) ask();
    };
    return Object.defineProperty({ pattern, close }, "position", { get: () => sub.position });
  }

  function catchUp(sub, start = { after: sub.position ?? "now" }) {
    sub.own?.close();
    sub.live = false;
    const own = (sub.own = downstream(http, tell, start));
    function tell({ event, error, state }) {
      if (event) advance(sub, event);
      if (error) [...subs].every((sub) => sub.own) ? become(state, error) : emit("error", { error });
      if (event?.type !== "hub:position") return;
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

  const newestFirst = () => [...subs].sort((a, b) => sequence(b.position) - sequence(a.position));

  function ask() {
    const joined = newestFirst().filter((sub) => !sub.own);
    const position = joined.findLast((sub) => sub.position)?.position;
    const want = { tab, position, patterns: joined.map((sub) => sub.pattern) };
    leader ? hear({ want }) : channel?.postMessage({ want });
    if (!subs.size) become("connecting");
  }

  function hear({ who, want, state, error, covers, after, event }) {
    if (who) ask();
    if (want) leader?.want(want);
    if (state && subs.size && !(error?.status === 403 && askAlone())) become(state, error);
    if (covers) cover(covers, after);
    if (event) take(event);
  }

  // So that a pattern that is refused stops no other.
  function askAlone() {
    const untried = [...subs].filter((sub) => !sub.own && !sub.tried);
    for (const sub of untried) {
      sub.tried = true;
      catchUp(sub);
    }
    ask();
    return untried.length;
  }

  function cover(patterns, after) {
    for (const sub of subs) {
      if (sub.own || !(sub.live = patterns.includes(sub.pattern))) continue;
      sub.position ??= after;
      if (newer(after, sub.position)) catchUp(sub);
    }
  }

  function take(event) {
    for (const sub of subs) {
      // One that waits to be live has a position too.
      const astray = event.type === "hub:reset" && !sub.live && (sub.own || sub.position);
      if (sub.live || astray) advance(sub, event);
      if (astray && subs.has(sub)) catchUp(sub);
      if (sub.live) sub.tried = false;
    }
  }

  function lead() {
    const tell = (message) => {
      channel?.postMessage(message);
      hear(message);
    };
    leader = downstream(http, tell);
    channel?.postMessage({ who: true });
    ask();
  }

  function start() {
    showing = new AbortController();
    for (const sub of subs) if (sub.position) catchUp(sub);
    options.share ? join(showing.signal) : lead();
  }

  async function join(signal) {
    const name = `tidings:${http.base}`;
    const known = new Set();
    const lock = (name, held) => locks.request(name, { signal }, held);
    // Each tab holds one of its own: who leads can have it once the tab is gone, though it could not say so.
    const attend = (tab) => {
      const gone = () => known.delete(tab) && leader?.want({ tab, patterns: [] });
      known.add(tab);
      lock(name + tab, gone).catch(gone);
    };
    try {
      await lock(name + tab, () => {
        channel = new BroadcastChannel(name);
        channel.onmessage = ({ data }) => {
          hear(data);
          if (data.want && leader && !known.has(data.want.tab)) attend(data.want.tab);
        };
        ask();
        return lock(name, () => {
          lead();
          return new Promise((resolve) => signal.addEventListener("abort", resolve));
        });
      });
    } catch {
      if (signal.aborted) return;
      channel?.close(); // the browser forbids it
      channel = undefined;
      lead();
    }
  }

  function stop() {
    leader?.close();
    channel?.postMessage({ want: { tab, patterns: [] } });
    channel?.close();
    leader = channel = undefined;
    showing.abort();
    const positions = Object.fromEntries(newestFirst().map((sub) => [sub.pattern, sub.position]));
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
    sending ??= import("./tidings-upstream.js").then((it) => it.upstream({ ...http, tools: { failure, refusal, isFinal, backoff, decode }, connected, life: signal }));
    return (await sending)[how](...more);
  };

  start();
  // A page that was left may come back.
  globalThis.addEventListener?.("pagehide", stop, { signal });
  globalThis.addEventListener?.("pageshow", ({ persisted }) => persisted && start(), { signal });
  return Object.assign(client, { state: "connecting", feed, publish: send("publish"), request: send("request"), close });
}
