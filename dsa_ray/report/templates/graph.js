"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const stage = document.getElementById("stage"), picture = document.getElementById("picture");
const world = document.getElementById("world"), panel = document.getElementById("details");
const boxes = data.skills.map((_, n) => document.getElementById("s" + n));
const builds = data.skills.map(() => []);
data.skills.forEach((skill, n) => skill.needs.forEach((m) => builds[m].push(n)));
const needs = data.skills.map((skill) => skill.needs);
const lines = new Map();
for (const path of document.getElementById("edges").children) {
  const [from, to] = path.id.slice(1).split("-").map(Number);
  lines.set(path, [from, to]);
}

let view = { x: 0, y: 0, scale: 1 };
function draw() {
  world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  document.body.classList.toggle("far", view.scale < 0.3);
}
function zoom(factor, x, y) {
  const scale = Math.min(4, Math.max(0.02, view.scale * factor));
  const share = scale / view.scale;
  view = { x: x - (x - view.x) * share, y: y - (y - view.y) * share, scale };
  draw();
}
function fit() {
  const left = innerWidth > 900 ? 300 : 0, width = innerWidth - left, height = innerHeight - 40;
  const scale = Math.min(1.25, (width - 24) / data.width, (height - 24) / data.height);
  view = { x: left + (width - data.width * scale) / 2, y: (height - data.height * scale) / 2, scale };
  if (scale < 0.1) { view.scale = 0.1; }
  draw();
}
function centre(n) {
  const scale = Math.max(view.scale, 0.8), skill = data.skills[n];
  view = { x: innerWidth / 2 - skill.x * scale, y: innerHeight / 2 - skill.y * scale, scale };
  draw();
}

const pointers = new Map();
let moved = 0;
stage.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, event);
  moved = 0;
});
addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  if (pointers.size === 1) {
    moved += Math.abs(event.clientX - last.clientX) + Math.abs(event.clientY - last.clientY);
    if (moved > 4) {
      stage.classList.add("dragging");
      view.x += event.clientX - last.clientX;
      view.y += event.clientY - last.clientY;
      draw();
    }
  } else {
    const other = [...pointers.entries()].find(([id]) => id !== event.pointerId)[1];
    const span = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY) || 1;
    zoom(span(event) / span(last), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
    moved = 99;
  }
  pointers.set(event.pointerId, event);
});
for (const name of ["pointerup", "pointercancel"]) {
  addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    stage.classList.remove("dragging");
  });
}
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
}, { passive: false });
stage.addEventListener("click", (event) => {
  if (moved > 4) return;
  const box = event.target.closest(".skill");
  choose(box ? Number(box.id.slice(1)) : null);
});
picture.addEventListener("keydown", (event) => {
  const box = event.target.closest(".skill");
  if (box && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    choose(Number(box.id.slice(1)));
  }
});

function reach(links, start) {
  const seen = new Set([start]), waiting = [start];
  while (waiting.length) {
    for (const next of links[waiting.pop()]) {
      if (!seen.has(next)) { seen.add(next); waiting.push(next); }
    }
  }
  return seen;
}
function choose(n) {
  document.body.classList.toggle("chosen-mode", n !== null);
  for (const box of boxes) box.classList.remove("near", "leads", "builds", "chosen");
  for (const line of lines.keys()) line.classList.remove("near", "leads", "builds");
  panel.hidden = n === null;
  if (n === null) return;
  const leads = reach(needs, n), onward = reach(builds, n);
  for (const m of leads) boxes[m].classList.add("near", "leads");
  for (const m of onward) boxes[m].classList.add("near", "builds");
  boxes[n].classList.remove("leads", "builds");
  boxes[n].classList.add("chosen");
  for (const [line, [from, to]] of lines) {
    if (leads.has(from) && leads.has(to)) line.classList.add("near", "leads");
    else if (onward.has(from) && onward.has(to)) line.classList.add("near", "builds");
  }
  tell(n, leads.size - 1, onward.size - 1);
}

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}
function chips(title, numbers) {
  if (!numbers.length) return [];
  const list = element("ul");
  for (const m of numbers.slice(0, 60)) {
    const button = element("button", data.skills[m].name);
    button.addEventListener("click", () => { choose(m); centre(m); });
    list.append(element("li", "", button));
  }
  if (numbers.length > 60) list.append(element("li", `and ${numbers.length - 60} more`));
  return [element("h3", title), list];
}
function tell(n, before, after) {
  const skill = data.skills[n], facts = element("dl");
  for (const [label, value] of [...skill.facts, ["before it", `${before} in all`], ["beyond it", `${after} in all`]]) {
    facts.append(element("dt", label), element("dd", value));
  }
  const parts = [element("h2", skill.name)];
  if (skill.about) parts.push(element("p", skill.about));
  parts.push(facts, ...chips("Needs", needs[n]), ...chips("Needed by", builds[n]));
  if (skill.sessions.length) {
    const list = element("ol");
    for (const [name, concepts] of skill.sessions) {
      list.append(element("li", name, ...(concepts ? [element("br"), element("span", concepts)] : [])));
    }
    parts.push(element("h3", "Class sessions"), list);
  }
  document.getElementById("text").replaceChildren(...parts);
}

const find = document.getElementById("find"), found = document.getElementById("found");
let matches = [], shown = -1;
find.addEventListener("input", () => {
  const wanted = find.value.trim().toLowerCase();
  matches = wanted ? data.skills.flatMap((skill, n) => (skill.name.toLowerCase().includes(wanted) ? [n] : [])) : [];
  shown = -1;
  document.body.classList.toggle("found-mode", Boolean(wanted));
  boxes.forEach((box) => box.classList.remove("match"));
  matches.forEach((n) => boxes[n].classList.add("match"));
  found.textContent = wanted ? `${matches.length || "no"} skill${matches.length === 1 ? "" : "s"}` +
    (matches.length ? ", Enter goes to the next" : "") : "";
});
find.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && matches.length) {
    shown = (shown + 1) % matches.length;
    document.body.classList.remove("found-mode");
    choose(matches[shown]);
    centre(matches[shown]);
    found.textContent = `${shown + 1} of ${matches.length}`;
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    find.value = "";
    find.dispatchEvent(new Event("input"));
    choose(null);
  } else if (event.target !== find && !event.ctrlKey && !event.metaKey) {
    const middle = [innerWidth / 2, innerHeight / 2];
    if (event.key === "+") zoom(1.25, ...middle);
    if (event.key === "-") zoom(0.8, ...middle);
    if (event.key === "0") fit();
  }
});
document.getElementById("close").addEventListener("click", () => choose(null));
document.getElementById("zoom").addEventListener("click", (event) => {
  const how = event.target.dataset.zoom, middle = [innerWidth / 2, innerHeight / 2];
  if (how === "fit") fit();
  else if (how) zoom(how === "in" ? 1.25 : 0.8, ...middle);
});
addEventListener("resize", fit);
const asked = /^#s(\d+)$/.exec(location.hash);
fit();
if (asked && boxes[Number(asked[1])]) choose(Number(asked[1]));
