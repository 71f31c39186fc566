// What a page does better with JavaScript: an export shows how far it is, a filter's URL has no empty parameters.
"use strict";

document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

const SCORED_AT = /,(\d{4}-\d\d-\d\dT[\d:.]+Z),/g;

async function save(link, shown, stop) {
  const answer = await fetch(link.href, { signal: stop.signal, redirect: "error" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const newest = Date.parse(answer.headers.get("Riskline-Newest"));
  const oldest = Date.parse(answer.headers.get("Riskline-Oldest"));
  const bar = shown.querySelector("progress");
  const words = shown.querySelector("span");
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  const parts = [];
  let rows = -1; // the first line names the columns
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    const text = decoder.decode(value, { stream: true });
    rows += text.split("\n").length - 1;
    const last = [...text.matchAll(SCORED_AT)].pop();
    if (last && newest > oldest) bar.value = Math.min(1, (newest - Date.parse(last[1])) / (newest - oldest));
    words.textContent = `${Math.max(0, rows).toLocaleString("en")} decisions${last ? `, back to ${last[1]}` : ""}`;
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
