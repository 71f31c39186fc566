// What a page does better with JavaScript: an export shows how far it is, a filter's URL has no empty parameters, and
// the overview says when it has become old.
"use strict";

const SILENT_MS = 3000; // three answers of the overview's live part that did not come

function watch(live) {
  const silent = document.getElementById("silent");
  let answered = Date.now();
  live.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.swap !== "none") answered = Date.now();
  });
  setInterval(() => {
    const isOld = Date.now() - answered > SILENT_MS;
    if (isOld === !silent.hidden) return;
    silent.querySelector("span").textContent = new Date(answered).toISOString().slice(11, 19) + " UTC";
    silent.hidden = !isOld;
    live.classList.toggle("old", isOld);
  }, 500);
}

// A time of day in UTC has in its title also what the reader's own clock says.
document.addEventListener("pointerover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (!time || time.dataset.local) return;
  time.dataset.local = "1";
  time.title += `, ${new Date(time.dateTime).toLocaleString()} here`;
});

addEventListener("DOMContentLoaded", () => {
  const live = document.getElementById("live");
  if (live) watch(live);
});

document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

const MARK = "\x1e"; // around the time that the search has come to

async function save(link, shown, stop) {
  const url = new URL(link.href);
  url.searchParams.set("progress", "1");
  const answer = await fetch(url, { signal: stop.signal, redirect: "error" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const newest = Date.parse(answer.headers.get("Riskline-Newest"));
  const oldest = Date.parse(answer.headers.get("Riskline-Oldest"));
  const bar = shown.querySelector("progress");
  const words = shown.querySelector("span");
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  const parts = [];
  let rows = -1; // the first line names the columns
  let back = "";
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const pieces = (text + decoder.decode(value, { stream: true })).split(MARK);
    text = pieces.length % 2 ? "" : MARK + pieces.pop(); // a time whose end has not come yet
    pieces.forEach((piece, index) => {
      if (index % 2) {
        back = piece;
      } else {
        parts.push(piece);
        rows += piece.split("\n").length - 1;
      }
    });
    if (back && newest > oldest) bar.value = Math.max(0, Math.min(1, (newest - Date.parse(back)) / (newest - oldest)));
    words.textContent = `${Math.max(0, rows).toLocaleString("en")} decisions${back ? `, back to ${back}` : ""}`;
  }
  bar.value = 1;
  words.textContent = `${Math.max(0, rows).toLocaleString("en")} decisions, all of them`;
  const file = document.createElement("a");
  file.href = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
  file.download = "decisions.csv";
  file.click();
  setTimeout(() => URL.revokeObjectURL(file.href), 60000);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-progress]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const shown = document.getElementById(link.dataset.progress);
  const stop = new AbortController();
  shown.hidden = false;
  shown.querySelector("progress").removeAttribute("value");
  shown.querySelector("span").textContent = "looking";
  const button = shown.querySelector("button");
  button.hidden = false;
  button.onclick = () => stop.abort();
  save(link, shown, stop)
    .catch((error) => {
      const why = stop.signal.aborted ? "It was stopped" : `It broke off (${error.message})`;
      shown.querySelector("span").textContent = `${why}; nothing was saved.`;
    })
    .finally(() => { button.hidden = true; });
});
