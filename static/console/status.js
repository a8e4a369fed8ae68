// How the replica does: figures with their plots, and counts.
import { byId, bytes, command, count, element, fill, plot, rate, say, span } from "./dom.js";
import { curl, get } from "./server.js";

const KEPT = 120; // values of a plot
// Of metrics' names: whatever is counted there when a limit is hit, and when something ends.
const LIMIT = /(_refused|_full|_forgotten|_errors|_failed|_failures|_overtaken)_total/;
const END = /^(gaps|resets|stalled|connections_revoked)_total|(_ended|_closed)_total/;

const section = byId("now");
const show = command(section);
const tiles = new Map();
let before;

/** Asks, shows the answer, and returns it. */
export async function refresh() {
  const status = await get("admin/status");
  const rates = since(status);
  show(curl("admin/status"));
  say(byId("replica"), `${status.replica} · version ${status.version}${status.commit ? ` (${status.commit})` : ""} · up ${span(status.uptime_seconds)} · log ${status.log.name}`);
  say(byId("trouble"), status.reason ? `${status.status}: ${status.reason}` : "");
  byId("trouble").hidden = !status.reason;
  figures(status, rates);
  counts(status, rates);
  return status;
}

/** What has happened in each second since the answer before, if that was of the same replica. */
function since(status) {
  const { metrics } = status;
  const now = {
    replica: status.replica,
    time: status.uptime_seconds,
    taken: metrics.followed_events_total,
    out: sum(metrics, "deliveries_total"),
    bytes: sum(metrics, "delivered_bytes_total"),
    shards: status.shards.map((shard) => shard.deliveries_total),
  };
  const last = before;
  before = now;
  if (last?.replica !== now.replica || now.time <= last.time) {
    tiles.forEach((tile) => (tile.values.length = 0)); // another replica, or the same anew
    return { taken: 0, out: 0, bytes: 0, shards: now.shards.map(() => 0) };
  }
  const each = (value, then) => Math.max(0, value - then) / (now.time - last.time);
  return {
    taken: each(now.taken, last.taken),
    out: each(now.out, last.out),
    bytes: each(now.bytes, last.bytes),
    shards: now.shards.map((value, number) => each(value, last.shards[number] ?? value)),
  };
}

/** A metric over all its labels, or those that have this in them. */
function sum(metrics, family, label = "") {
  const samples = Object.entries(metrics).filter(([name]) => name.split("{")[0] === family && name.includes(label));
  return samples.reduce((all, [, value]) => all + value, 0);
}

function figures({ metrics, log, window, bounds }, rates) {
  figure("Events in", rates.taken, rate, `${count(metrics.followed_events_total)} so far`);
  figure("Events out", rates.out, rate, `${count(sum(metrics, "deliveries_total"))} so far; ${bytes(rates.bytes)}/s`);
  const direct = sum(metrics, "shard_connections");
  figure("Readers", metrics.readers, count, `of ${count(bounds.max_streams)}; ${count(direct)} by shards, ${count(Math.max(0, metrics.readers - direct))} other`);
  figure("Connections", metrics.http_connections, count, `of ${count(bounds.max_connections)}; ${count(sum(metrics, "streams", 'transport="websocket"'))} WebSockets`);
  figure("Behind the log", log.behind ?? 0, log.reached ? count : () => "?", reached(log));
  figure("Window", window.bytes, bytes, `of ${bytes(bounds.max_window_bytes)}; ${count(window.events)} of ${count(bounds.max_window_events)} events, of ${span(window.seconds)}`);
}

function reached(log) {
  const nats = { true: "NATS is connected", false: "NATS is away" }[log.nats_connected];
  const where = log.reached ? `its last is ${log.last}` : "it has not said in time how far it reaches";
  return nats ? `${where}; ${nats}` : where;
}

function figure(title, value, form, detail) {
  const tile = tiles.get(title) ?? add(title);
  tile.values.push(value);
  if (tile.values.length > KEPT) tile.values.shift();
  say(tile.value, form(value));
  say(tile.detail, tile.values.length > 1 ? `${detail}; peak ${form(Math.max(...tile.values))}` : detail);
  plot(tile.line, tile.values);
}

function add(title) {
  const [value, detail] = [element("p", { className: "value" }), element("p", { className: "faint" })];
  const item = element("li", { className: "card" }, element("h3", { textContent: title }), value, detail);
  const picture = '<svg viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true"><polyline/></svg>';
  item.insertAdjacentHTML("beforeend", picture);
  section.querySelector(".tiles").append(item);
  const tile = { value, detail, line: item.querySelector("polyline"), values: [] };
  tiles.set(title, tile);
  return tile;
}

function counts({ metrics, shards }, rates) {
  const all = Object.entries(metrics);
  const hit = all.filter(([name, times]) => LIMIT.test(name) && times > 0);
  fill(byId("limits"), hit.length ? hit.map(worded) : [["none so far", 0]], { numbers: [1] });
  const ends = all.filter(([name, times]) => END.test(name) && (times > 0 || !name.includes("{")));
  fill(byId("ends"), ends.map(worded), { numbers: [1] });
  const loads = shards.map((shard, number) => [number, count(shard.connections), rate(rates.shards[number]), count(shard.blocked_writes_total)]);
  fill(byId("shards"), loads.length ? loads : [["none", 0, 0, 0]], { numbers: [1, 2, 3] });
}

/** `a_b_total{code="x"}` as `a b: x`. */
function worded([name, times]) {
  const [family, labels = ""] = name.split("{");
  const values = [...labels.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, value]) => value);
  const words = family.replace(/_total$/, "").replaceAll("_", " ");
  return [[words, ...values].join(": "), count(times)];
}
