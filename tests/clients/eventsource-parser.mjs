// npm's eventsource-parser, fed from fetch.
import { createParser } from "eventsource-parser";
import { report, untilStdinEnds, url } from "./report.mjs";

untilStdinEnds(() => process.exit());

const parser = createParser({
  onEvent: ({ event = "message", data, id }) => report({ type: event, data, id }),
  onError: (error) => console.error(error),
});
const response = await fetch(url, { headers: { accept: "text/event-stream" } });
console.error(response.status, response.headers.get("content-type"));
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  parser.feed(text);
}
console.error("the stream ended");
process.exit();
