"use strict";
// The tables, which stand in the page, sorted and filtered; one split is shown.

const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// The address keeps what is shown, so that it can be reloaded and handed on.
const address = {
  read: () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""),
  write(changes) {
    const values = address.read();
    for (const [key, value] of Object.entries(changes)) {
      if (value) values.set(key, value);
      else values.delete(key);
    }
    const hash = values.toString();
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  },
};

function showSplit() {
  for (const node of all("[data-split]")) node.hidden = node.dataset.split !== byId("split").value;
  const rows = all(".board:not([hidden]) tbody tr");
  const part = byId("agent-filter").value.trim().toLowerCase();
  for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(part);
  byId("agent-count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} agents`;
}

function sortBy(heading) {
  const text = heading.classList.contains("text");
  const [first, second] = text ? ["ascending", "descending"] : ["descending", "ascending"];
  const direction = heading.ariaSort === first ? second : first;
  for (const other of heading.parentElement.cells) other.ariaSort = other === heading ? direction : "none";
  const sign = direction === "ascending" ? 1 : -1;
  const value = (row) => row.cells[heading.cellIndex].dataset.value;
  const compare = (one, other) => {
    if (text) return sign * one.cells[0].textContent.localeCompare(other.cells[0].textContent, "en");
    const [a, b] = [value(one), value(other)];
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // last in both directions
    return sign * (a - b);
  };
  const body = heading.closest("table").tBodies[0];
  body.append(...[...body.rows].sort(compare));
}

byId("split").value = address.read().get("board") || byId("split").value;
if (!byId("split").value) byId("split").selectedIndex = 0;
byId("split").addEventListener("change", (event) => {
  address.write({ board: event.target.value });
  showSplit();
});
byId("agent-filter").addEventListener("input", showSplit);
byId("further").addEventListener("change", (event) => {
  for (const board of all(".board")) board.classList.toggle("whole", event.target.checked);
});
for (const button of all(".board th button")) button.addEventListener("click", () => sortBy(button.parentElement));
showSplit();
