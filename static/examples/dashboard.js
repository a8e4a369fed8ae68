// Many feeds on one native EventSource: with envelope=1, all come through onmessage and say which feed they are of.
const KEPT = 60; // values of a plot
const FEEDS = 200; // tiles

const base = new URL("..", import.meta.url);
const tiles = document.getElementById("tiles");
const state = document.getElementById("state");
const shown = new Map();

document.getElementById("command").textContent =
  `curl -s '${new URL("examples/dashboard.sh", base)}' | sh -s '${base.href.replace(/\/$/, "")}'`;

const source = new EventSource(new URL("feeds/metrics.%3E?envelope=1&last=500", base));

source.onopen = () => (state.textContent = "live");
source.onerror = () => {
  // It comes back by itself, and goes on after the last event that it has had, unless it was refused.
  state.textContent = source.readyState === EventSource.CLOSED ? "refused: where tokens are taken, this page's may stand in a cookie alone (--jwt-cookie), since an EventSource sends no header" : "reconnecting";
};
source.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  const value = Number(event.data?.value ?? event.data);
  if (Number.isFinite(value)) show(event.feed, value, event.data?.unit ?? "");
};
// What was missed leaves a hole in the plots, and here it is no more than that: begin them anew.
source.addEventListener("hub:gap", clear);
source.addEventListener("hub:reset", clear);

function clear() {
  for (const tile of shown.values()) tile.values.length = 0;
}

function show(feed, value, unit) {
  const tile = shown.get(feed) ?? add(feed);
  if (!tile) return;
  tile.values.push(value);
  if (tile.values.length > KEPT) tile.values.shift();
  tile.value.textContent = `${value.toLocaleString(undefined, { maximumFractionDigits: 2 })} ${unit}`;
  tile.line.setAttribute("points", points(tile.values));
}

function add(feed) {
  if (shown.size >= FEEDS) return;
  document.getElementById("empty").hidden = true;
  const section = document.createElement("section");
  section.className = "card";
  section.innerHTML =
    '<h2></h2><p class="value"></p><svg viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true"><polyline/></svg>';
  section.querySelector("h2").textContent = feed;
  tiles.append(section);
  const tile = { values: [], value: section.querySelector(".value"), line: section.querySelector("polyline") };
  shown.set(feed, tile);
  return tile;
}

function points(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y = (value) => (high === low ? 15 : 28 - (26 * (value - low)) / (high - low));
  const x = (index) => (100 * index) / Math.max(1, values.length - 1);
  return values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
}
