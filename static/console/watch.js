// A pattern watched and test events published, through the client that the server brings.
import { connect } from "../tidings.js";
import { byId, command, count, element, say } from "./dom.js";
import { base, credentials, curl, flag, inUrl } from "./server.js";

const ROWS = 100; // of events; older ones go
const LONGEST = 500; // characters of an event's data that are shown

const [pattern, last, events, state, heard] = ["pattern", "last", "events", "watch-state", "heard"].map(byId);
const [feed, type, key, data] = ["feed", "type", "key", "data"].map(byId);
const showWatch = command(byId("watch").closest("section"));
const showPublish = command(byId("publish").closest("section"));
let client;
let watched; // a subscription
let waiting = []; // rows to be shown with the next frame
let total = 0;

/** Connects anew, with the credentials as they are; `refused` is told of an answer that asks for others. */
export function reconnect(refused) {
  client?.close();
  const token = credentials();
  client = connect(base, token === undefined ? {} : { token });
  client.addEventListener("state", ({ detail: { state: now, error } }) => {
    if (!watched) return;
    say(state, error ? `${now}: ${error.detail ?? error.message}` : now);
    if (error?.status === 401) refused(error);
  });
  if (watched) watch(pattern.value);
  showCommands();
}

/** Watches a pattern in place of the one before. */
export function watch(name) {
  stop();
  pattern.value = name;
  events.replaceChildren();
  total = 0;
  const notice = (words) => put([element("td", { colSpan: 4, className: "notice", textContent: words })]);
  try {
    watched = client.feed(name.trim(), hear, {
      last: Number(last.value),
      onGap: ({ after, before, reason }) => notice(`Gap (${reason}): what came after ${after} and before ${before} is lost.`),
      onReset: () => notice("Reset: the log is another one. What follows begins with its first event."),
    });
    say(state, client.state);
    byId("stop").disabled = false;
  } catch (error) {
    say(state, error.message);
  }
  showCommands();
}

function stop() {
  watched?.close();
  watched = undefined;
  say(state, "Not watching.");
  byId("stop").disabled = true;
}

function hear(event) {
  total += 1;
  const time = new Date(event.time).toTimeString().slice(0, 8);
  put([time, event.feed, event.type, shown(event.data)].map((text) => element("td", { textContent: text })));
}

function shown(data) {
  if (data instanceof ArrayBuffer) return `${count(data.byteLength)} bytes that are no text`;
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** Has a row shown, with all that come until the next frame. */
function put(cells) {
  if (!waiting.length) requestAnimationFrame(showRows);
  waiting.push(cells);
  if (waiting.length > ROWS) waiting.shift();
}

function showRows() {
  events.prepend(...waiting.reverse().map((cells) => element("tr", {}, ...cells)));
  while (events.rows.length > ROWS) events.lastElementChild.remove();
  waiting = [];
  say(heard, `${count(total)} events${total > ROWS ? `, the newest ${ROWS} shown` : ""}`);
}

function showCommands() {
  showWatch(curl(`feeds/${inUrl(pattern.value.trim())}?last=${inUrl(last.value)}`, ["-N"]));
  const headers = [["Event-Type", type.value], ["Event-Key", key.value]].filter(([, value]) => value);
  const flags = [...headers.map(([name, value]) => flag("-H", `${name}: ${value}`)), flag("--data-raw", data.value)];
  showPublish(curl(`feeds/${inUrl(feed.value.trim())}`, flags));
}

/** JSON as such, and anything else as text. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function publish(refused) {
  const answer = byId("published");
  try {
    const options = { type: type.value || undefined, key: key.value || undefined };
    const { id } = await client.publish(feed.value.trim(), parsed(data.value), options);
    say(answer, `Stored as ${id}.`);
  } catch (error) {
    say(answer, `Not stored: ${error.detail ?? error.message}`);
    if (error.status === 401) refused(error);
  }
}

/** Listens to the forms. */
export function start(refused) {
  const submitted = (form, act) =>
    byId(form).addEventListener("submit", (event) => {
      event.preventDefault();
      act();
    });
  submitted("watch", () => watch(pattern.value));
  submitted("publish", () => publish(refused));
  byId("stop").addEventListener("click", stop);
  for (const field of [pattern, last, feed, type, key, data]) field.addEventListener("input", showCommands);
  reconnect(refused);
}
