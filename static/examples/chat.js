// A chat room: what is said on one feed, and who is here on another.
import { connect } from "../tidings.js";

const HERE_EVERY = 10_000; // ms between two signs of life
const HERE_FOR = 25_000; // ms after which somebody who gives none has gone
const KEPT = 500; // messages on the page
const MOST = 100; // names of who is here

const [form, name, text, said, here, state, signIn, field] = ["form", "name", "text", "said", "here", "state", "sign-in", "token"].map((id) =>
  document.getElementById(id),
);
// Kept in this tab until it is closed, as the console does.
const token = sessionStorage.getItem("tidings-token");
const tidings = connect("..", token ? { token } : {});
const seen = new Map(); // who is here, and when they last said so, by the server's clock
let ahead = -Infinity; // by how much that clock is ahead of this page's, as far as is known

name.value = localStorage.getItem("chat-name") ?? "";

tidings.addEventListener("state", ({ detail }) => {
  state.textContent = detail.error ? `${detail.state}: ${detail.error.message}` : detail.state;
  state.classList.toggle("bad", detail.state === "refused");
  if ([401, 403].includes(detail.error?.status)) signIn.hidden = false;
});

signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("tidings-token", field.value.trim());
  location.reload();
});

tidings.feed("chat.lobby", show, { last: 50, onGap: () => note("Some messages are lost."), onReset: () => said.replaceChildren() });
// A sign of life that is lost is followed by the next one.
tidings.feed("chat.presence", meet, { last: 100, onGap: () => {}, onReset: () => seen.clear() });

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = { name: name.value, text: text.value };
  localStorage.setItem("chat-name", name.value);
  text.value = "";
  try {
    // It comes back as an event, like everybody else's.
    await tidings.publish("chat.lobby", message, { type: "said" });
  } catch (error) {
    note(`Not sent: ${error.message}`);
    text.value ||= message.text;
  }
  arrive();
});

function show({ data }) {
  if (typeof data?.text !== "string") return; // anybody may publish anything
  const sender = document.createElement("b");
  sender.textContent = String(data.name).slice(0, 40);
  add(sender, data.text.slice(0, 1000));
}

function note(words) {
  const line = document.createElement("i");
  line.textContent = words;
  add(line);
}

function add(...content) {
  const line = document.createElement("li");
  line.append(...content);
  said.append(line);
  if (said.childElementCount > KEPT) said.firstElementChild.remove();
  said.parentElement.scrollTop = said.scrollHeight;
}

// Who is here tells it now and then, and says so on leaving.
function meet({ data, type, time }) {
  if (typeof data?.name !== "string") return;
  const who = data.name.slice(0, 40);
  const when = Date.parse(time);
  ahead = Math.max(ahead, when - Date.now()); // what is older, or was longer on its way, seems to be less
  seen.delete(who);
  if (type !== "left") seen.set(who, when);
  if (seen.size > MOST) seen.delete(seen.keys().next().value); // who has been silent for longest
  showWhoIsHere();
}

function showWhoIsHere() {
  const since = Date.now() + ahead - HERE_FOR;
  for (const [one, when] of seen) if (when < since) seen.delete(one);
  here.replaceChildren(
    ...[...seen.keys()].sort().map((one) => {
      const line = document.createElement("li");
      line.textContent = one;
      return line;
    }),
  );
}

function arrive() {
  if (name.value) tidings.publish("chat.presence", { name: name.value }, { type: "here" }).catch(() => {});
}

arrive();
setInterval(() => {
  arrive();
  showWhoIsHere();
}, HERE_EVERY);

addEventListener("pagehide", () => {
  if (!name.value) return;
  // What is sent by fetch with keepalive outlives the page.
  fetch("../feeds/chat.presence", {
    method: "POST",
    keepalive: true,
    headers: { "content-type": "application/json", "event-type": "left", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ name: name.value }),
  }).catch(() => {});
});
