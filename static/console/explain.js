// Why a feed is, or is not, received: by these credentials, or by a token of someone else.
import { byId, command, say } from "./dom.js";
import { curl, get, inUrl } from "./server.js";

const [about, other, explained, answer] = ["about", "other", "explained", "answer"].map(byId);
const show = command(byId("explain").closest("section"));

const path = () => `explain?feed=${inUrl(about.value.trim())}`;
const verdict = (what, { allowed, grant, reason }) =>
  allowed ? `${what} is allowed${grant ? ` by ${grant}` : ""}.` : `${what} is not allowed: ${reason}.`;

async function explain(refused) {
  const token = other.value.trim();
  try {
    const told = await get(path(), { headers: token ? { "Tidings-Explain-Token": token } : {} });
    const { subscribe, publish } = told;
    say(explained, [verdict("Reading", subscribe), publish && verdict("Publishing", publish)].filter(Boolean).join(" "));
    say(answer, JSON.stringify(told, null, 2));
    answer.hidden = false;
  } catch (error) {
    say(explained, `${error.message}.`);
    answer.hidden = true;
    if (error.status === 401) refused(error);
  }
}

/** The command for it. A token is not shown. */
export function showCommand() {
  show(curl(path(), other.value ? ['-H "Tidings-Explain-Token: $OTHER"'] : []));
}

/** Forgets someone else's token, and what was told by it. */
export function forget() {
  other.value = "";
  say(explained, "");
  say(answer, "");
  answer.hidden = true;
  showCommand();
}

/** Listens to the form; `refused` is told of an answer that asks for other credentials. */
export function start(refused) {
  byId("explain").addEventListener("submit", (event) => {
    event.preventDefault();
    explain(refused);
  });
  for (const field of [about, other]) field.addEventListener("input", showCommand);
  showCommand();
}
