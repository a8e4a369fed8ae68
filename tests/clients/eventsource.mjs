// npm's eventsource: the browsers' interface, on Node.
import { EventSource } from "eventsource";
import { report, types, untilStdinEnds, url } from "./report.mjs";

untilStdinEnds(() => process.exit());

const source = new EventSource(url);
for (const type of types) {
  source.addEventListener(type, ({ data, lastEventId }) => report({ type, data, id: lastEventId }));
}
source.addEventListener("open", () => console.error("open"));
source.addEventListener("error", ({ code, message }) => console.error("error", code, message));
