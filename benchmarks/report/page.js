"use strict";
// Whatever comes from results is shown as text: nodes are made one by one, and no text is ever parsed
// as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, action] of Object.entries(value)) node.addEventListener(event, action);
    } else if (value !== null && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.filter((child) => child !== null).map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const drawing = byId("drawing").namespaceURI;
const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(drawing, tag), attributes, children);

function format(value, kind = "") {
  if (isEmpty(value)) return "";
  if (Array.isArray(value)) return value.map((end) => end.toFixed(3)).join(" to ");
  if (typeof value !== "number") return String(value);
  const whole = kind === "count" || (kind === "" && Number.isInteger(value));
  return whole ? value.toLocaleString("en") : value.toFixed(3);
}

// A table in a box that scrolls by itself and can be reached by keyboard.
function table(caption, columns, rows) {
  const head = make("tr", {}, ...columns.map((title, place) => make("th", { scope: "col", class: place ? null : "text" }, title)));
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((value, place) => {
      const text = typeof value === "string" ? "text" : null;
      return place ? make("td", { class: text }, format(value)) : make("th", { scope: "row" }, format(value));
    })),
  );
  const whole = make("table", {}, make("caption", {}, make("span", {}, caption)), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
}

// What depends on the width is drawn again when it changes; printing has its own layout.
const drawn = new Map();
function drawInto(node, action) {
  drawn.set(node, action);
  action();
}
let shownWidth = document.documentElement.clientWidth;
let redrawing = 0;
window.addEventListener("resize", () => {
  clearTimeout(redrawing);
  redrawing = setTimeout(() => {
    if (document.documentElement.clientWidth === shownWidth) return;
    shownWidth = document.documentElement.clientWidth;
    for (const action of drawn.values()) action();
  }, 120);
});

// The address keeps what is shown, so that it can be reloaded and handed on.
const address = {
  read: () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""),
  write(changes) {
    const values = address.read();
    for (const [key, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === 0) values.delete(key);
      else values.set(key, value);
    }
    const hash = values.toString();
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  },
};

const isEmpty = (value) => value === null || value === undefined;

function options(select, entries, value) {
  select.replaceChildren(...entries.map(([key, text]) => make("option", { value: key }, text)));
  select.value = entries.some(([key]) => key === value) ? value : entries[0][0];
}

// Splits of all folders: [key, name, board, split]; the key holds places, since names may be equal.
const several = data.boards.length > 1;
const splits = data.boards.flatMap((board, place) =>
  board.splits.map((split, own) => ({ key: place + "." + own, name: several ? board.title + ", " + split.name : split.name, board, split, place })),
);

(function facts() {
  for (const board of data.boards) {
    const seeds = Math.max(...board.splits.map((split) => split.seeds));
    const known = [
      ["Generator", board.generator],
      ["Prompts", board.splits.map((split) => `${split.name} ${format(split.prompts, "count")}`).join(", ")],
      ["Seeds", seeds > 1 ? `${seeds} for agents that use chance` : "1"],
      ["Last run", board.date.replace("T", " ").replace("+00:00", " UTC")],
      ["Commit", board.commit],
    ];
    if (several) byId("facts").append(make("h2", {}, board.title));
    byId("facts").append(make("dl", { class: "pairs" }, ...pairs(known)));
  }
  const shown = data.columns.filter((column) => splits.some(({ split }) => split.rows.some((row) => !isEmpty(row[column.key]))));
  byId("meanings").append(...pairs(shown.map((column) => [column.title, column.meaning])));
})();

function pairs(entries) {
  return entries.filter(([, value]) => value !== "").flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
}
