// Keeps the page as the server would send it now. What happens is told by
// /events; the page itself is fetched again, and only what differs is put in its
// place, so that what the reader has opened, chosen or marked stays so.
"use strict";

// In milliseconds.
const soon = 400;         // between something happening and its being shown
const nowAndThen = 10000; // for numbers of which no event tells
const again = 30000;      // after having been refused
const state = document.getElementById("live");
const pause = document.getElementById("pause");
const shown = new Map(); // by id, as it came
let paused = false, timer = 0, connected = false;

const parts = root => [...root.querySelectorAll("[data-live], #sessions > li")];

function tell() {
  const text = paused ? "paused" : connected ? "live" : "reconnecting";
  if (state.textContent !== text) state.textContent = text;
}

// busy says that the reader has marked text in part, or writes in it.
function busy(part) {
  const mark = document.getSelection();
  return mark && !mark.isCollapsed && (part.contains(mark.anchorNode) || part.contains(mark.focusNode));
}

function keyed(part) {
  return new Map([...part.querySelectorAll("[data-key]")].map(e => [e.dataset.key, e]));
}

function replace(old, part) {
  const focus = old.contains(document.activeElement) && document.activeElement.closest("[data-key]");
  const before = keyed(old), after = keyed(part);
  for (const [key, e] of after) {
    if (before.has(key) && "open" in e) e.open = before.get(key).open;
  }
  old.replaceWith(part);
  if (focus && after.has(focus.dataset.key)) {
    const e = after.get(focus.dataset.key);
    (e.querySelector("summary") || e).focus({preventScroll: true});
  }
}

function show(page) {
  const list = document.getElementById("sessions");
  const came = new Set();
  let last = null; // the session before
  for (const part of parts(page)) {
    const text = part.outerHTML;
    const old = document.getElementById(part.id);
    const session = part.parentNode.id === "sessions";
    came.add(part.id);
    if (!old) {
      const details = part.querySelector("details");
      if (details && list.children.length > 0) details.open = false; // what is being read stays where it is
      last ? last.after(part) : list.prepend(part);
      last = part;
    } else {
      let current = old;
      if (shown.get(part.id) !== text) {
        if (busy(old)) { if (session) last = old; continue; }
        replace(old, part);
        current = part;
      }
      if (session) last = current;
    }
    shown.set(part.id, text);
  }
  for (const part of [...list.children]) {
    if (!came.has(part.id) && !busy(part)) {
      part.remove();
      shown.delete(part.id);
    }
  }
}

async function refresh() {
  timer = 0;
  if (paused || document.hidden) return;
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    if (!answer.ok || paused) return;
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // the stream tells of it, and comes back
  }
}

function later() {
  if (!timer) timer = setTimeout(refresh, soon);
}

function listen() {
  const events = new EventSource("events" + location.search);
  events.onopen = () => { connected = true; tell(); later(); };
  events.onmessage = later;
  events.onerror = () => {
    connected = false;
    tell();
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, again); // it was refused
  };
}

for (const part of parts(document)) shown.set(part.id, part.outerHTML);
setInterval(later, nowAndThen);
document.addEventListener("visibilitychange", later);
pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", paused);
  tell();
  later();
});
tell();
listen();
