// The feeds of the window, a page at a time: those with the newest events first.
import { byId, command, count, element, fill, say, span } from "./dom.js";
import { curl, get } from "./server.js";

const ROWS = 50;

const section = byId("feeds");
const body = section.querySelector("tbody");
const show = command(section);
let after; // where the page begins that is shown; the first one follows what happens
let next;
let asked = 0;

/** Asks for the page that is shown. `seen` is told of a page that could not be had. */
export async function refresh() {
  const query = new URLSearchParams({ limit: ROWS });
  const prefix = byId("prefix").value.trim();
  if (prefix) query.set("prefix", prefix);
  if (after) query.set("after", after);
  const path = `admin/feeds?${query}`;
  const turn = ++asked;
  const page = await get(path);
  if (turn !== asked) return; // another was asked for meanwhile
  show(curl(path));
  next = page.next;
  byId("first").disabled = !after;
  byId("older").disabled = !next;
  const which = after ? "older ones" : "those with the newest events";
  say(byId("found"), `${count(page.total)} feeds; ${page.feeds.length} shown: ${which}${prefix ? " that begin so" : ""}.`);
  fill(body, page.feeds.map(row), { numbers: [3, 4], make: named });
}

/** Whether the page that is shown changes with each event. */
export const isFirst = () => !after;

function row({ feed, events, newest }) {
  const ago = Math.max(0, (Date.now() - Date.parse(newest.time)) / 1000);
  return [feed, `${span(ago)} ago`, newest.type, count(newest.bytes), count(events), newest.id];
}

/** The feed's name is a button, which has it watched. */
function named(cell, column) {
  if (column !== 0) return undefined;
  if (!cell.firstElementChild) cell.append(element("button", { type: "button", className: "name" }));
  return cell.firstElementChild;
}

/** Has `watch` called with the feed that is chosen, and `failed` with what went wrong. */
export function start(watch, failed) {
  const go = (to) => {
    after = to;
    refresh().catch(failed);
  };
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    go(undefined);
  });
  byId("first").addEventListener("click", () => go(undefined));
  byId("older").addEventListener("click", () => go(next));
  body.addEventListener("click", ({ target }) => {
    if (target.matches("button")) watch(target.textContent);
  });
}
