// @microsoft/fetch-event-source on Node, which it needs a `window` and a `document` for.
import { createRequire } from "node:module";
import { report, untilStdinEnds, url } from "./report.mjs";

untilStdinEnds(() => process.exit());

globalThis.window = globalThis;
globalThis.document = new EventTarget();
// Its ES modules import each other without an extension, which Node does not resolve.
const { fetchEventSource } = createRequire(import.meta.url)("@microsoft/fetch-event-source");

await fetchEventSource(url, {
  openWhenHidden: true,
  onopen: async (response) => console.error("open", response.status),
  onmessage: ({ event, data, id }) => report({ type: event || "message", data, id }),
  // By default it gives up for good at a stream that ends well-formed; throwing is how it is told to go on.
  onclose: () => {
    throw new Error("the stream ended");
  },
  onerror: (error) => console.error("error", String(error), String(error.cause)),
});
