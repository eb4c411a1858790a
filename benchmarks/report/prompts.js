// The browser of prompts. Whatever comes from results is shown as text: nodes are made one by one, and
// no text is ever parsed as HTML.

const data = JSON.parse(byId("data").textContent);
const PAGE = 20;
const similarityAt = data.figures.indexOf("similarity");
const rewardAt = data.figures.indexOf("reward");
const splitNames = Object.fromEntries(all("#split option").map((option) => [option.value, option.textContent]));

function make(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children);
  return node;
}

const format = (value, digits = 0) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// Agents' answers to a prompt, in the order of the first prompt's records.
const entries = data.prompts.map((entry) => ({
  id: entry.id, text: entry.prompt, output: entry.output, gold: entry.gold, split: entry.split, family: entry.source,
  key: entry.split + "/" + entry.id,
  views: entry.views.map(([agent, dropped, answer, figures]) => ({
    agent, dropped, figures, answer: answer === null ? entry.output : answer,
    survived: figures[similarityAt] > data.survival,
  })),
}));
const searched = new Map(); // texts in lower case, made when the first search needs them
function searchText(entry) {
  if (!searched.has(entry)) {
    const answers = entry.views.map((view) => view.answer);
    searched.set(entry, [entry.text, entry.output, entry.gold, ...answers].join("\n").toLowerCase());
  }
  return searched.get(entry);
}

const form = byId("prompt-filter").elements;
const FIELDS = ["split", "family", "survived", "agents", "text"];
const SURVIVED = { all: "all survived", some: "some survived", none: "none survived" };
let page = 0;
let found = entries;
let parts = []; // of agents' names
let opened = "";

const chosen = (entry) => entry.views.filter((view) => !parts.length || parts.some((part) => view.agent.toLowerCase().includes(part)));

function readAddress() {
  const values = address.read();
  const options = {
    split: Object.fromEntries([...new Set(entries.map((entry) => entry.split))].sort().map((key) => [key, splitNames[key]])),
    family: Object.fromEntries([...new Set(entries.map((entry) => entry.family))].sort().map((key) => [key, key])),
    survived: SURVIVED,
  };
  for (const [name, titles] of Object.entries(options)) {
    const select = form.namedItem(name);
    select.replaceChildren(new Option("any", ""), ...Object.entries(titles).map(([key, title]) => new Option(title, key)));
    select.value = values.get(name) in titles ? values.get(name) : "";
  }
  for (const name of ["agents", "text"]) form.namedItem(name).value = values.get(name) || "";
  page = Math.max(0, (parseInt(values.get("page"), 10) || 1) - 1);
  opened = values.get("open") || "";
}

function choose() {
  const wanted = Object.fromEntries(FIELDS.map((name) => [name, form.namedItem(name).value]));
  const text = wanted.text.trim().toLowerCase();
  parts = wanted.agents.toLowerCase().split(/\s+/).filter(Boolean);
  found = entries.filter((entry) => {
    const views = chosen(entry);
    const kept = views.filter((view) => view.survived).length;
    const matches = { "": true, all: kept === views.length, some: kept > 0, none: kept === 0 };
    return views.length && matches[wanted.survived] && ["split", "family"].every((key) => !wanted[key] || entry[key] === wanted[key])
      && (!text || searchText(entry).includes(text));
  });
  return wanted;
}

// The prompt, with what was dropped in del elements. Ranges count characters, not UTF-16 units.
function marked(text, dropped) {
  const letters = Array.from(text);
  const parts = [];
  let end = 0;
  for (let place = 0; place < dropped.length; place += 2) {
    parts.push(letters.slice(end, dropped[place]).join(""), make("del", "", letters.slice(dropped[place], dropped[place + 1]).join("")));
    end = dropped[place + 1];
  }
  return make("p", "words prompt", ...parts, letters.slice(end).join(""));
}

const figure = (view, key) => view.figures[data.figures.indexOf(key)];

function column(entry, view) {
  const terms = data.figures
    .map((key, place) => [key, view.figures[place]])
    .filter(([, value]) => value !== null)
    .map(([key, value]) => make("div", "", make("dt", "", key.replaceAll("_", " ")), make("dd", "", format(value, key.endsWith("tokens") ? 0 : 3))));
  const summary = `saved ${format(100 * figure(view, "compression_ratio"))}%, reward ${format(figure(view, "reward"), 3)}`;
  return make("section", "view", make("h4", "", view.agent), make("p", "status", summary),
    marked(entry.text, view.dropped), make("p", "words compressed", view.answer),
    make("details", "", make("summary", "", "All figures"), make("dl", "terms", ...terms)));
}

function body(entry) {
  const answer = (title, text, name) => make("div", "", make("h4", "", title), make("p", "words " + name, text));
  const answers = make("div", "answers", answer("Answer to the original prompt", entry.output, "original"));
  if (entry.gold) answers.append(answer("Gold answer", entry.gold, "gold"));
  return make("div", "opened", answers, make("div", "views", ...chosen(entry).map((view) => column(entry, view))));
}

function item(entry, place, shown) {
  const heading = make("span", "heading", `${splitNames[entry.split]} · ${entry.family}`);
  const excerpt = make("span", "excerpt", entry.text.slice(0, 300).replace(/\s+/g, " "));
  const details = make("details", "", make("summary", "", make("span", "", heading, excerpt)));
  const open = () => details.childElementCount > 1 || details.append(body(entry));
  if (shown.some(({ key }) => key === opened) ? entry.key === opened : place === 0) {
    open();
    details.open = true;
  }
  details.addEventListener("toggle", () => {
    if (details.open) open();
    if (details.open || opened === entry.key) {
      opened = details.open ? entry.key : "";
      address.write({ open: opened });
    }
  });
  return make("li", "", details);
}

function showPrompts() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(page, pages - 1);
  byId("prompt-list").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(item));
  byId("prompt-count").textContent = `${format(found.length)} of ${format(entries.length)} prompts match`;
  byId("page-number").textContent = `Page ${page + 1} of ${pages}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page >= pages - 1;
}

function filterPrompts() {
  page = 0;
  const wanted = choose();
  showPrompts();
  address.write({ ...wanted, page: 0 });
}

function turn(step) {
  page += step;
  showPrompts();
  address.write({ page: page === 0 ? 0 : page + 1 });
  const list = byId("prompt-list").querySelector("summary");
  if (list) list.focus({ preventScroll: true });
  byId("prompts").scrollIntoView();
}

function showAddress() {
  readAddress();
  choose();
  showPrompts();
}

const isText = (field) => field.type === "search";
let typing = 0;
function filterSoon(event) {
  clearTimeout(typing);
  typing = setTimeout(filterPrompts, isText(event.target) ? 150 : 0);
}
byId("prompt-filter").addEventListener("input", filterSoon);
// A list may send only this. A text field sends it when it is left, and a new list then would take away
// what was just clicked.
byId("prompt-filter").addEventListener("change", (event) => isText(event.target) || filterSoon(event));
byId("prompt-filter").addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
window.addEventListener("hashchange", () => location.hash.includes("=") && showAddress()); // else a link to a section
showAddress();
