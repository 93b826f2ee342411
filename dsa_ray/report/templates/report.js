"use strict";
// Details on hover, tap or focus: the first line of data-tip is the heading. Text goes in as text, never as markup.
const tip = document.getElementById("tip");

function showTip(target, x, y) {
  const [head, ...rest] = target.dataset.tip.split("\n");
  const heading = document.createElement("b");
  heading.textContent = head;
  tip.replaceChildren(heading, ...rest.map((line) => {
    const span = document.createElement("span");
    span.textContent = line;
    return span;
  }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(8, y - height - 10) : y + 18}px`;
}

document.addEventListener("pointermove", (event) => {
  const target = event.target.closest("[data-tip]");
  if (target) showTip(target, event.clientX, event.clientY);
  else tip.hidden = true;
});
document.addEventListener("pointerdown", (event) => {
  const target = event.target.closest("[data-tip]");
  if (target) showTip(target, event.clientX, event.clientY);
});
document.addEventListener("scroll", () => { tip.hidden = true; }, true);

// The skill graph: light up what leads to a skill and what it leads to.
for (const graph of document.querySelectorAll(".graph")) {
  const skills = new Map([...graph.querySelectorAll("[data-skill]")].map((node) => [node.dataset.skill, node]));
  const needs = new Map([...skills].map(([id, node]) => [id, node.dataset.needs.split(" ").filter(Boolean)]));
  const opens = new Map([...skills.keys()].map((id) => [id, []]));
  for (const [id, before] of needs) for (const other of before) opens.get(other).push(id);

  const reach = (start, next) => {
    const seen = new Set([start]);
    for (const id of seen) for (const other of next.get(id)) seen.add(other);
    return seen;
  };
  const light = (id) => {
    const below = reach(id, needs), above = reach(id, opens);
    for (const [other, node] of skills) node.classList.toggle("on", below.has(other) || above.has(other));
    for (const edge of graph.querySelectorAll(".edge")) {
      const { from, to } = edge.dataset;
      edge.classList.toggle("on", (below.has(from) && below.has(to)) || (above.has(from) && above.has(to)));
    }
    graph.classList.add("lit");
  };
  for (const [id, node] of skills) {
    node.addEventListener("pointerenter", () => light(id));
    node.addEventListener("pointerleave", () => graph.classList.remove("lit"));
    node.addEventListener("focus", () => {
      const box = node.getBoundingClientRect();
      light(id);
      if (node.matches(":focus-visible")) showTip(node, box.left, box.bottom - 12);
    });
    node.addEventListener("blur", () => { graph.classList.remove("lit"); tip.hidden = true; });
  }
}

// Tables: a click on a heading sorts by it, a second one the other way round.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement, column = heading.cellIndex;
    const order = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const body = heading.closest("table").tBodies[0];
    const value = (row) => row.cells[column].dataset.value;
    const numeric = heading.classList.contains("num");
    const compare = (a, b) => (numeric ? value(a) - value(b) : value(a).localeCompare(value(b)));
    const rows = [...body.rows].sort((a, b) => (order === "ascending" ? compare(a, b) : compare(b, a)));
    for (const other of heading.parentElement.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", order);
    body.append(...rows);
  });
}
