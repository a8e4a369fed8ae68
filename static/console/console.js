// The console: what this replica does, shown for as long as the page is looked at.
import { byId, say } from "./dom.js";
import * as explaining from "./explain.js";
import * as feeds from "./feeds.js";
import * as readers from "./readers.js";
import { credentials, signIn, text } from "./server.js";
import * as status from "./status.js";
import * as subjects from "./subjects.js";
import * as watching from "./watch.js";

const EVERY = 2000; // ms
const parts = ["now", "feeds", "readers", "subjects", "counts", "measured"].map(byId);
const [form, token, why, state, sign] = ["sign-in", "token", "why", "state", "sign"].map(byId);
let timer;
let round = 0;
let isRefused = false; // whether the credentials are no good

/** Asks for everything, again and again; another call takes the place of the one before. */
async function look() {
  const mine = ++round;
  clearTimeout(timer);
  try {
    const { status: how } = await status.refresh();
    await Promise.all([readers.refresh(), subjects.refresh(), feeds.isFirst() && feeds.refresh()]);
    if (mine !== round) return;
    say(state, how);
    state.classList.toggle("bad", how !== "ready");
    show(true);
  } catch (error) {
    if (mine !== round || failed(error)) return;
  }
  if (!document.hidden && mine === round) timer = setTimeout(look, EVERY);
}

/** Says what went wrong; whether it stays so until other credentials are given. */
function failed(error) {
  state.classList.add("bad");
  const denied = error.status === 401 || error.status === 403;
  say(state, denied ? "Not signed in as an operator." : `${error.message}; it is tried again.`);
  if (denied) {
    show(false);
    ask(error);
  }
  return denied;
}

/** Shows what is for operators, or hides it. */
function show(all) {
  for (const part of parts) {
    part.hidden = !all;
    const link = document.querySelector(`nav a[href="#${part.id}"]`);
    if (link) link.hidden = !all;
  }
}

/** Asks for credentials. Without any, a 403 says that none are taken. */
function ask({ status, message, detail = message }) {
  form.hidden = false;
  isRefused = status === 401;
  if (status === 401 && credentials() === undefined) {
    say(why, "This takes a token or an API key; what is for operators takes the permission `admin`.");
  } else say(why, `${status === 401 ? "Not taken" : "Not allowed"}: ${detail}.`);
  for (const field of form.querySelectorAll("label, input, button")) field.hidden = status === 403 && credentials() === undefined;
  showSign();
}

const isSignedIn = () => credentials() !== undefined && !isRefused;

function showSign() {
  sign.hidden = form.hidden && !isSignedIn();
  say(sign, isSignedIn() ? "Sign out" : "Sign in");
}

function signedIn(given) {
  signIn(given);
  isRefused = false;
  token.value = "";
  form.hidden = true;
  byId("main").focus();
  showSign();
  watching.reconnect(ask);
  if (given === undefined) explaining.forget();
  else explaining.showCommand();
  look();
}

/** A link shows no token: what takes one is fetched, and shown as a page of its own. */
async function showMetrics(event) {
  if (credentials() === undefined) return;
  event.preventDefault();
  const page = await text("metrics").catch((error) => void failed(error));
  if (page) location.assign(URL.createObjectURL(new Blob([page], { type: "text/plain;charset=utf-8" })));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signedIn(token.value.trim());
});
sign.addEventListener("click", () => (isSignedIn() ? signedIn(undefined) : token.focus()));
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));

feeds.start((feed) => {
  watching.watch(feed);
  byId("pattern").focus();
}, failed);
byId("measured").addEventListener("click", showMetrics);
watching.start(ask);
explaining.start(ask);
subjects.start();
show(false);
showSign();
look();
