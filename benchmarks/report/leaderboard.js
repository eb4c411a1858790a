// The leaderboard, what is drawn from it, analyses and learning curves.

const board = { choice: splits[0], sort: "reward", direction: "descending", filter: "", further: false };

const sortValue = (row, key) => (Array.isArray(row[key]) ? row[key][0] : row[key]);

function sorted(rows) {
  const sign = board.direction === "ascending" ? 1 : -1;
  return [...rows].sort((one, other) => {
    const a = sortValue(one, board.sort);
    const b = sortValue(other, board.sort);
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b); // last in both directions
    return sign * (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
  });
}

function shownColumns() {
  const rows = board.choice.split.rows;
  return data.columns.filter(
    (column) => (column.shown !== "further" || board.further) && rows.some((row) => !isEmpty(row[column.key])),
  );
}

// An interval as a small bar on the scale that all agents of the split share.
function bar(row, key, rows) {
  const ends = rows.map((one) => one[key]).filter((one) => !isEmpty(one));
  const low = Math.min(0, ...ends.map((one) => one[0]));
  const high = Math.max(...ends.map((one) => one[1]));
  const x = (value) => 4 + (high > low ? (value - low) / (high - low) : 0.5) * 104;
  const middle = row[key.replace(/_ci$/, "")];
  return draw("svg", { class: "bar", viewBox: "0 0 112 10", "aria-hidden": "true" },
    draw("line", { class: "scale", x1: 4, x2: 108, y1: 5, y2: 5 }),
    draw("line", { x1: x(row[key][0]), x2: x(row[key][1]), y1: 5, y2: 5 }),
    isEmpty(middle) ? null : draw("line", { class: "middle", x1: x(middle), x2: x(middle), y1: 0, y2: 10 }),
  );
}

function boardCell(row, column, rows) {
  const value = row[column.key];
  if (column.key === "agent") return make("th", { scope: "row" }, value + (row.oracle ? data.oracleMark : ""));
  const text = format(value, column.kind);
  if (column.kind !== "interval" || isEmpty(value)) return make("td", {}, text);
  return make("td", {}, text, bar(row, column.key, rows));
}

function sortBy(column) {
  const first = column.kind === "text" ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  board.direction = board.sort === column.key && board.direction === first ? other : first;
  board.sort = column.key;
  showRows();
}

function showBoard() {
  const columns = shownColumns();
  const { split, board: folder } = board.choice;
  const head = columns.map((column) =>
    make("th", { scope: "col", class: column.kind === "text" ? "text" : null, "data-key": column.key, title: column.meaning },
      make("button", { type: "button", on: { click: () => sortBy(column) } }, column.title.replace("-", "\u2011"))),
  );
  const caption = `${folder.title}, ${split.name} (generator: ${folder.generator}; ${format(split.prompts, "count")} prompts, up to ${split.seeds} seeds). A heading sorts by its column.`;
  const whole = make("table", {}, make("caption", {}, make("span", {}, caption)), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}));
  byId("board").replaceChildren(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Leaderboard" }, whole));
  const ranked = split.rows.filter((row) => row.ranks_by).map((row) => `${row.agent} ranks by ${row.ranks_by}.`);
  byId("oracle-note").textContent = (split.rows.some((row) => row.oracle) ? [data.oracleNote, ...ranked] : ranked).join(" ");
  showRows();
}

function showRows() {
  const rows = board.choice.split.rows;
  const found = sorted(rows.filter((row) => row.agent.toLowerCase().includes(board.filter.toLowerCase())));
  for (const heading of byId("board").querySelectorAll("thead th")) {
    heading.setAttribute("aria-sort", heading.dataset.key === board.sort ? board.direction : "none");
  }
  const columns = shownColumns();
  byId("board").querySelector("tbody").replaceChildren(
    ...found.map((row) => make("tr", {}, ...columns.map((column) => boardCell(row, column, rows)))),
  );
  byId("agent-count").textContent = `${found.length} of ${rows.length} agents`;
}

function showSplit() {
  showBoard();
  const host = byId("scatter-figure");
  drawInto(host, () => scatter(host, board.choice.split.rows, "Compression ratio and similarity, " + board.choice.name));
}

options(byId("split"), splits.map(({ key, name }) => [key, name]), address.read().get("board"));
board.choice = splits.find(({ key }) => key === byId("split").value);
byId("split").addEventListener("change", (event) => {
  board.choice = splits.find(({ key }) => key === event.target.value);
  address.write({ board: event.target.value });
  showSplit();
});
byId("agent-filter").addEventListener("input", (event) => {
  board.filter = event.target.value.trim();
  showRows();
});
byId("further").addEventListener("change", (event) => {
  board.further = event.target.checked;
  showBoard();
});
showSplit();

function chartIn(section, title, series, xLabel, yLabel) {
  const host = make("figure");
  section.append(host);
  drawInto(host, () => lines(host, title, series, xLabel, yLabel));
}

for (const folder of data.boards) {
  const after = several ? ", " + folder.title : "";
  for (const analysis of folder.analyses) {
    const section = byId("analyses");
    section.hidden = false;
    section.append(make("h3", {}, analysis.title + after), make("p", { class: "note" }, analysis.note));
    if (analysis.series.length) chartIn(section, analysis.title, analysis.series, analysis.x_label, analysis.y_label);
    for (const [heading, { columns, rows }] of Object.entries(analysis.tables)) section.append(table(heading, columns, rows));
  }
  if (folder.learning.series.length) {
    const section = byId("learning");
    section.hidden = false;
    if (several) section.append(make("h3", {}, folder.title));
    section.append(make("p", { class: "note" }, "Mean reward in training, one line per seed; neighbouring updates are averaged."));
    chartIn(section, "Reward in training" + after, folder.learning.series, folder.learning.x_label, "reward");
  }
}

byId("sections").append(
  ...[...document.querySelectorAll("main > section:not([hidden])")].map((section) =>
    make("li", {}, make("a", { href: "#" + section.id }, section.querySelector("h2").textContent)),
  ),
);
