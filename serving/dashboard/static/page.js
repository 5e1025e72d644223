// Keeps the status page at how things stand, and draws samples. The server renders; this only puts in place.
"use strict";

const POLL_MS = 3000;
const TIMEOUT_MS = 60000;
const link = document.getElementById("link");
const served = new Map();
const pans = new Map();

for (const model of document.querySelectorAll("[data-model]")) {
  served.set(model, version(model));
  const form = model.querySelector("form");
  pans.set(model, new Pan(model.querySelector(".endless"), model.dataset.model));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    generate(model);
  });
  form.elements.next.addEventListener("click", () => {
    form.elements.seed.value = (Number(form.elements.seed.value) || 0) + 1;
    generate(model);
  });
  if (!form.elements.key && version(model)) generate(model);
}
setTimeout(poll, POLL_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

function version(model) {
  return model.querySelector("[data-version]")?.dataset.version;
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, POLL_MS);
}

async function refresh() {
  try {
    const response = await fetch("status.json?parts=1", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(`the server says ${response.status}`);
    const fresh = await response.json();
    put(fresh.parts);
    const alerts = fresh.status.alerts.length;
    document.title = alerts ? `rockbank (${alerts})` : "rockbank";
    say(link, `as of ${fresh.status.now.slice(11, 19)} UTC`, "");
  } catch (error) {
    say(link, "No answer from the server; this is how things stood last", "lost");
  }
}

function put(parts) {
  for (const [name, html] of Object.entries(parts)) {
    const place = document.querySelector(`[data-part="${name}"]`);
    if (!place || place.lastHtml === html) continue;
    // What the reader has folded or unfolded stays so, and the focus stays where it is.
    const folded = new Map([...place.querySelectorAll("details")].map((each) => [each.id, each.open]));
    const focused = place.contains(document.activeElement) ? document.activeElement.closest("details")?.id : null;
    place.innerHTML = html;
    place.lastHtml = html;
    for (const each of place.querySelectorAll("details")) {
      if (folded.has(each.id)) each.open = folded.get(each.id);
      if (each.id === focused) each.querySelector("summary").focus();
    }
  }
  for (const [model, before] of served) {
    const now = version(model);
    if (now === before) continue;
    served.set(model, now);
    // What is no longer there, or cannot do it, has no tiles.
    if (!model.querySelector("[data-tile]")) pan(model);
    // The same seed by the new version, where samples are on show.
    if (now && (!before || !model.querySelector("img").hidden)) generate(model);
  }
}

function pan(model) {
  const form = model.querySelector("form");
  const now = model.querySelector("[data-version]")?.dataset ?? {};
  pans.get(model).show({
    version: now.version, side: Number(now.tile), voxel: Number(now.voxel),
    seed: form.elements.seed.value, key: form.elements.key?.value,
  });
}

async function generate(model) {
  const form = model.querySelector("form");
  const caption = model.querySelector(".caption");
  const figure = model.querySelector("figure.grid");
  if (!form.reportValidity() || figure.ariaBusy === "true") return;
  const wanted = { seed: Number(form.elements.seed.value), n: Number(form.elements.n.value), format: "png" };
  if (form.elements.truncation.value) wanted.truncation = Number(form.elements.truncation.value);
  const headers = { "Content-Type": "application/json" };
  if (form.elements.key?.value) headers["X-API-Key"] = form.elements.key.value;
  const since = performance.now();
  pan(model);
  figure.ariaBusy = "true";
  try {
    const response = await fetch(`v2/models/${encodeURIComponent(model.dataset.model)}/generate`, {
      method: "POST", headers, body: JSON.stringify(wanted), signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(await refusal(response));
    const name = `${response.headers.get("X-Rockbank-Model")}/${response.headers.get("X-Rockbank-Version")}`;
    show(model, await response.blob(), `${wanted.n} of ${name}, seed ${response.headers.get("X-Rockbank-Seed")}`);
    say(caption, `${caption.dataset.of}, in ${Math.round(performance.now() - since)} ms`, "");
  } catch (error) {
    say(caption, error.name === "TimeoutError" ? "The server did not answer in time" : error.message, "refused");
  } finally {
    figure.ariaBusy = "false";
  }
}

async function refusal(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server says ${response.status}`;
  }
}

function show(model, blob, of) {
  const image = model.querySelector("img");
  const keep = model.querySelector(".keep");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  image.alt = `Generated rock: ${of}`;
  image.hidden = false;
  model.querySelector(".hint").hidden = true;
  model.querySelector(".caption").dataset.of = of;
  keep.href = image.src;
  keep.download = `${of.replace(/[^A-Za-z0-9.-]+/g, "-")}.png`;
  keep.hidden = false;
}

function say(place, text, kind) {
  place.textContent = text;
  place.classList.remove("lost", "refused");
  if (kind) place.classList.add(kind);
}
