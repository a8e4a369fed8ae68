// The server as the console asks it: with the credentials that were given, and as `curl` would.
export const base = new URL("..", import.meta.url).href.replace(/\/$/, "");

const KEPT = "tidings-token";
const PATIENCE = 10e3; // ms

let token = kept(() => sessionStorage.getItem(KEPT)) ?? undefined;

/** A browser may forbid storage: then the token is gone with the page. */
function kept(use) {
  try {
    return use();
  } catch {
    return undefined;
  }
}

export const credentials = () => token;

export function signIn(given) {
  token = given;
  kept(() => (given === undefined ? sessionStorage.removeItem(KEPT) : sessionStorage.setItem(KEPT, given)));
}

/** The JSON at a path; what is refused has a `status` and says why. */
export const get = async (path, how) => (await ask(path, how)).json();

/** The text at a path. */
export const text = async (path) => (await ask(path)).text();

async function ask(path, { method, headers } = {}) {
  const shown = token === undefined ? headers : { ...headers, Authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(PATIENCE);
  const response = await fetch(`${base}/${path}`, { method, headers: shown, signal, cache: "no-store" }).catch(() => {
    throw new Error("the server can't be reached");
  });
  if (response.ok) return response;
  const { detail = `status ${response.status}` } = await response.json().catch(() => ({}));
  throw Object.assign(new Error(detail), { status: response.status });
}

/** A feed or pattern as a URL has it. */
export const inUrl = (name) => encodeURIComponent(name).replaceAll("'", "%27");

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The command that asks for a path as this page does. A token is not shown. */
export function curl(path, flags = []) {
  const shown = token === undefined ? [] : ['-H "Authorization: Bearer $TOKEN"'];
  return ["curl", ...flags, ...shown, quoted(`${base}/${path}`)].join(" ");
}

/** A header of such a command, or the data. */
export const flag = (name, value) => `${name} ${quoted(value)}`;
