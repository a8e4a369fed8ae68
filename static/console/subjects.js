// Whose credentials are refused, and a way to end all that a subject has open.
import { byId, command, count, fill, say, span } from "./dom.js";
import { curl, get, inUrl } from "./server.js";

const PATH = "admin/subjects?limit=20";

const section = byId("subjects");
const [subject, time, revoked] = ["subject", "for", "revoked"].map(byId);
const show = command(section);

const some = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;
const path = () => `admin/subjects/${inUrl(subject.value)}?for=${inUrl(time.value)}`;

export async function refresh() {
  const { subjects, total } = await get(PATH);
  showCommand();
  say(byId("refused"), total ? `This replica refuses ${count(total)}, of which ${subjects.length} are shown.` : "This replica refuses nobody.");
  section.querySelector(".scroll").hidden = !subjects.length;
  const moment = (text) => new Date(text).toLocaleString();
  fill(section.querySelector("tbody"), subjects.map(({ subject, since, until }) => [subject, moment(since), moment(until)]));
}

async function revoke() {
  try {
    const { subject: whose, ended, seconds, replicas } = await get(path(), { method: "DELETE" });
    const what = `Ended: ${some(ended, "connection")} of ${whose}, on ${some(replicas.length, "replica")}. Its credentials`;
    say(revoked, seconds ? `${what} of before are refused for ${span(seconds)}.` : `${what} are taken again.`);
    await refresh();
  } catch (error) {
    say(revoked, `${error.message}.`);
  }
}

function showCommand() {
  show(curl(subject.value ? path() : PATH, subject.value ? ["-X", "DELETE"] : []));
}

/** Listens to the form. */
export function start() {
  byId("revoke").addEventListener("submit", (event) => {
    event.preventDefault();
    revoke();
  });
  for (const field of [subject, time]) field.addEventListener("input", showCommand);
}
