// The readers that are behind.
import { byId, command, count, fill, say, span } from "./dom.js";
import { curl, get } from "./server.js";

const PATH = "admin/readers?slow=1&limit=20";

const section = byId("readers");
const show = command(section);

export async function refresh() {
  const { readers, total } = await get(PATH);
  show(curl(PATH));
  const some = readers.length ? `The ${readers.length} furthest behind` : "None is behind";
  say(byId("behind"), `${some}, of ${count(total)} readers. Those on WebSockets are not looked at.`);
  section.querySelector(".scroll").hidden = !readers.length;
  fill(section.querySelector("tbody"), readers.map(row), { numbers: [2, 3] });
}

function row({ feeds, transport, behind, stalled_seconds: stalled, peer }) {
  const patterns = feeds.length ? feeds.join(" ") : "reads the log";
  return [patterns, transport.toUpperCase(), count(behind), stalled === null ? "takes what comes" : span(stalled), peer];
}
