// The browser of prompts.

const PAGE = 20;
const FIELDS = ["split", "agent", "family", "survived", "text"];
const figureAt = (key) => data.sample.figures.findIndex((figure) => figure.key === key);
const similarityAt = figureAt("similarity");
const rewardAt = figureAt("reward");

// One entry per prompt, agent and seed.
const views = data.sample.entries.flatMap((entry) => {
  const found = splits.find(({ place, split }) => place === entry.board && split.name === entry.split);
  return entry.views.map(([agent, seed, dropped, answer, figures]) => ({
    entry, agent, seed, dropped, figures,
    answer: answer === null ? entry.output : answer,
    split: found.key, splitName: found.name, family: entry.family,
    survived: figures[similarityAt] > data.survival ? "yes" : "no",
    key: [found.key, entry.id, agent, seed].join("/"),
  }));
});
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
  const names = (key) => [...new Set(views.map((view) => view[key]))].sort().map((name) => [name, name]);
  options(form.namedItem("split"), [["", "all"], ...splits.map(({ key, name }) => [key, name])], values.get("split"));
  options(form.namedItem("agent"), [["", "all"], ...names("agent")], values.get("agent"));
  options(form.namedItem("family"), [["", "all"], ...names("family")], values.get("family"));
  options(form.namedItem("survived"), [["", "all"], ["yes", "survived"], ["no", "did not survive"]], values.get("survived"));
  form.namedItem("text").value = values.get("text") || "";
  page = Math.max(0, (parseInt(values.get("page"), 10) || 1) - 1);
  opened = values.get("open") || "";
}

function choose() {
  const wanted = Object.fromEntries(FIELDS.map((name) => [name, form.namedItem(name).value]));
  const text = wanted.text.trim().toLowerCase();
  found = views.filter((view) =>
    ["split", "agent", "family", "survived"].every((key) => !wanted[key] || view[key] === wanted[key])
    && (!text || searchText(view).includes(text)),
  );
  return wanted;
}

// The prompt, with what was dropped in del elements.
function marked(text, dropped) {
  const parts = [];
  let end = 0;
  for (let place = 0; place < dropped.length; place += 2) {
    parts.push(text.slice(end, dropped[place]), make("del", {}, text.slice(dropped[place], dropped[place + 1])));
    end = dropped[place + 1];
  }
  parts.push(text.slice(end));
  return make("p", { class: "words prompt" }, ...parts.filter((part) => part !== ""));
}

function body(view) {
  const answer = (title, text, name) => make("div", {}, make("h3", {}, title), make("p", { class: "words " + name }, text));
  const terms = data.sample.figures
    .map(({ title }, place) => [title, view.figures[place]])
    .filter(([, value]) => value !== null)
    .map(([title, value]) => make("div", {}, make("dt", {}, title), make("dd", {}, format(value, Number.isInteger(value) && title.startsWith("tokens") ? "count" : "share"))));
  return make("div", { class: "opened" },
    make("h3", {}, "Prompt; what was dropped is struck through"),
    marked(view.entry.prompt, view.dropped),
    make("div", { class: "answers" },
      answer("Answer to the original prompt", view.entry.output, "original"),
      answer("Answer to what is left", view.answer, "compressed"),
      view.entry.gold === "" ? null : answer("Gold answer", view.entry.gold, "gold")),
    make("dl", { class: "terms" }, ...terms),
  );
}

function item(view) {
  const details = make("details", {},
    make("summary", {}, make("span", {},
      make("span", { class: "heading" }, make("strong", {}, view.agent),
        `, seed ${view.seed} · ${view.splitName} · ${view.family} · reward ${format(view.figures[rewardAt], "share")}, similarity ${format(view.figures[similarityAt], "share")}`),
      make("span", { class: "excerpt" }, view.entry.prompt.slice(0, 300).replace(/\s+/g, " ")))));
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
  return make("li", {}, details);
}

function showPrompts() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(page, pages - 1);
  byId("prompt-list").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(item));
  byId("prompt-count").textContent = `${format(found.length, "count")} of ${format(views.length, "count")} results match`;
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
window.addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return; // a link to a section
  readAddress();
  choose();
  showPrompts();
});

const sample = data.sample;
byId("sample-note").textContent = sample.prompts === sample.of_prompts
  ? `All ${format(sample.prompts, "count")} prompts, each with every agent and seed.`
  : `A sample: ${format(sample.prompts, "count")} of ${format(sample.of_prompts, "count")} prompts, spread evenly over each split, each with every agent and seed (${format(sample.records, "count")} of ${format(sample.of_records, "count")} results).`;
readAddress();
choose();
showPrompts();
