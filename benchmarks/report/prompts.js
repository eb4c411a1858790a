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

// One entry per prompt, agent and seed.
const views = data.prompts.flatMap((entry) =>
  entry.views.map(([agent, seed, dropped, answer, figures]) => ({
    entry, agent, seed, dropped, figures,
    answer: answer === null ? entry.output : answer,
    split: entry.split, family: entry.source,
    survived: figures[similarityAt] > data.survival ? "yes" : "no",
    key: [entry.split, entry.id, agent, seed].join("/"),
  })),
);
const searched = new Map(); // texts in lower case, made when the first search needs them
function searchText(view) {
  if (!searched.has(view)) searched.set(view, [view.entry.prompt, view.entry.output, view.answer, view.entry.gold].join("\n").toLowerCase());
  return searched.get(view);
}

const form = byId("prompt-filter").elements;
let page = 0;
let found = views;
let opened = "";

function readAddress() {
  const values = address.read();
  for (const name of ["split", "agent", "family", "survived"]) {
    const select = form.namedItem(name);
    const names = [...new Set(views.map((view) => view[name]))].sort();
    const titles = { ...splitNames, yes: "survived", no: "did not survive" };
    const titled = (key) => (name === "split" || name === "survived" ? titles[key] : key);
    select.replaceChildren(new Option("all", ""), ...names.map((key) => new Option(titled(key), key)));
    select.value = names.includes(values.get(name)) ? values.get(name) : "";
  }
  form.namedItem("text").value = values.get("text") || "";
  page = Math.max(0, (parseInt(values.get("page"), 10) || 1) - 1);
  opened = values.get("open") || "";
}

function choose() {
  const names = ["split", "agent", "family", "survived", "text"];
  const wanted = Object.fromEntries(names.map((name) => [name, form.namedItem(name).value]));
  const text = wanted.text.trim().toLowerCase();
  found = views.filter((view) =>
    names.slice(0, 4).every((key) => !wanted[key] || view[key] === wanted[key])
    && (!text || searchText(view).includes(text)),
  );
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

function body(view) {
  const answer = (title, text, name) => make("div", "", make("h3", "", title), make("p", "words " + name, text));
  const answers = make("div", "answers",
    answer("Answer to the original prompt", view.entry.output, "original"),
    answer("Answer to what is left", view.answer, "compressed"));
  if (view.entry.gold) answers.append(answer("Gold answer", view.entry.gold, "gold"));
  const terms = data.figures
    .map((key, place) => [key, view.figures[place]])
    .filter(([, value]) => value !== null)
    .map(([key, value]) => make("div", "", make("dt", "", key.replaceAll("_", " ")), make("dd", "", format(value, key.endsWith("tokens") ? 0 : 3))));
  return make("div", "opened",
    make("h3", "", "Prompt; what was dropped is struck through"), marked(view.entry.prompt, view.dropped),
    answers, make("dl", "terms", ...terms));
}

function item(view) {
  const figures = `reward ${format(view.figures[rewardAt], 3)}, similarity ${format(view.figures[similarityAt], 3)}`;
  const heading = make("span", "heading", make("strong", "", view.agent),
    `, seed ${view.seed} · ${splitNames[view.split]} · ${view.family} · ${figures}`);
  const excerpt = make("span", "excerpt", view.entry.prompt.slice(0, 300).replace(/\s+/g, " "));
  const details = make("details", "", make("summary", "", make("span", "", heading, excerpt)));
  const open = () => details.childElementCount > 1 || details.append(body(view));
  if (view.key === opened) {
    open();
    details.open = true;
  }
  details.addEventListener("toggle", () => {
    if (details.open) open();
    if (details.open || opened === view.key) {
      opened = details.open ? view.key : "";
      address.write({ open: opened });
    }
  });
  return make("li", "", details);
}

function showPrompts() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(page, pages - 1);
  byId("prompt-list").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(item));
  byId("prompt-count").textContent = `${format(found.length)} of ${format(views.length)} results match`;
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

let typing = 0;
function filterSoon(event) {
  clearTimeout(typing);
  typing = setTimeout(filterPrompts, event.target.name === "text" ? 150 : 0);
}
byId("prompt-filter").addEventListener("input", filterSoon);
// A list may send only this. A text field sends it when it is left, and a new list then would take away
// what was just clicked.
byId("prompt-filter").addEventListener("change", (event) => event.target.name === "text" || filterSoon(event));
byId("prompt-filter").addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
window.addEventListener("hashchange", () => location.hash.includes("=") && showAddress()); // else a link to a section
showAddress();
