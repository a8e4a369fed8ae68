// What every client here has in common: it is called as `client.mjs <url> <type>...`, writes one line of
// JSON for each event it hears, and ends when its standard input does.

export const [url, ...types] = process.argv.slice(2);

export function report({ type, data, id }) {
  process.stdout.write(`${JSON.stringify({ type, data, id })}\n`);
}

export function untilStdinEnds(end) {
  process.stdin.resume();
  process.stdin.on("end", end);
}
