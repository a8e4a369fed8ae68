// What the parts of the console show things with.
export const byId = (id) => document.getElementById(id);

/** An element with these properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Sets a text where it is another: what stays is not drawn, nor read out, again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const text = (cell) => (cell === undefined || cell === null ? "–" : String(cell));

/** Shows rows of cells in a table's body. Rows that are there are used again; a `make` gives a cell its own content. */
export function fill(body, rows, { numbers = [], make } = {}) {
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((cells, at) => {
    const row = body.rows[at] ?? body.insertRow();
    cells.forEach((cell, column) => {
      const place = row.cells[column] ?? row.insertCell();
      if (numbers.includes(column)) place.className = "number";
      const content = make?.(place, column) ?? place;
      say(content, text(cell));
    });
  });
}

/** A line of values, oldest first, over all of its width, with 0 at its bottom. */
export function plot(line, values) {
  const high = Math.max(...values, 1e-9);
  const x = (index) => (100 * index) / Math.max(1, values.length - 1);
  const y = (value) => 29 - (27 * value) / high;
  line.setAttribute("points", values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
}

export const count = (number) => number.toLocaleString("en");

export const rate = (number) => `${number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 })}/s`;

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = Math.min(3, Math.floor(Math.log2(Math.max(number, 1)) / 10));
  return `${(number / 1024 ** power).toLocaleString("en", { maximumFractionDigits: 1 })} ${units[power]}`;
}

export function span(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** Binds the line with the `curl` of a section, and returns what shows another command there. */
export function command(section) {
  const [code, button] = section.querySelector(".curl").children;
  const title = section.querySelector("h2").textContent;
  const label = (short, long = short) => {
    say(button, short);
    button.setAttribute("aria-label", long);
  };
  const offer = () => label("Copy", `Copy the command: ${title}`);
  offer();
  button.addEventListener("click", async () => {
    // A page that did not come over TLS may not write to the clipboard; what is selected can be copied by hand.
    const copied = await navigator.clipboard?.writeText(code.textContent).then(() => true, () => false);
    if (!copied) getSelection().selectAllChildren(code);
    label(copied ? "Copied" : "Selected");
    setTimeout(offer, 1500);
  });
  return (text) => say(code, text);
}
