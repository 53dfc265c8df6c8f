// Keeps a page true: every element with data-live is fetched again and swapped when it changed.
"use strict";
const EVERY_MS = 3000;

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href.replace(/#.*/, ""), { credentials: "same-origin" });
  if (answer.redirected) { location.reload(); return; } // signed out meanwhile
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (!now || old.contains(document.activeElement) || old.innerHTML === now.innerHTML) continue;
    const before = old.querySelector(".badge"), after = now.querySelector(".badge");
    if (before && after && before.textContent !== after.textContent) say("Now: " + after.textContent);
    old.replaceChildren(...now.childNodes);
  }
}

function say(words) {
  const status = document.getElementById("said");
  status.textContent = words;
  status.className = "said";
}

async function watch() {
  try { await refresh(); } catch { /* the service restarts: the next turn sees it */ }
  setTimeout(watch, EVERY_MS);
}

if (document.querySelector("[data-live]")) setTimeout(watch, EVERY_MS);
