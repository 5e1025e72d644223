// The endless image of a model: drag it, or use the arrow keys. Tiles come as pictures from the service, when they are
// seen and two at a time; the browser keeps them, since a version, a seed and a place say every pixel.
"use strict";

const TILES_AT_ONCE = 2;
const TILES_KEPT = 128;
const STEP = 64;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Pan {
  constructor(section, name) {
    this.section = section;
    this.name = name;
    this.canvas = section.querySelector("canvas");
    this.caption = section.querySelector("output");
    this.source = null;
    this.tiles = new Map();
    this.loading = new Map();
    this.waitUntil = 0;
    this.isSeen = false;
    this.inView = 0;
    [this.x, this.y] = [0, 0];
    section.querySelector("[name=home]").addEventListener("click", () => this.move(-this.x, -this.y));
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    new IntersectionObserver(([entry]) => {
      this.isSeen = entry.isIntersecting;
      this.redraw();
    }).observe(this.canvas);
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
  }

  // `source`: version, seed, key, side of a tile in pixels, and of a pixel in metres. Without a side there is nothing.
  show(source) {
    this.section.hidden = !source.side;
    const isSame = this.source && ["version", "seed", "key"].every((each) => this.source[each] === source[each]);
    this.source = source.side ? source : null;
    if (isSame && this.source) return;
    for (const loading of this.loading.values()) loading.abort();
    this.loading.clear();
    this.tiles.clear();
    this.waitUntil = 0;
    this.redraw();
  }

  press(event) {
    if (event.key === "Home") this.move(-this.x, -this.y);
    else if (event.key in KEYS) this.move(...KEYS[event.key].map((way) => way * STEP * (event.shiftKey ? 8 : 1)));
    else return;
    event.preventDefault();
  }

  grab(event) {
    let [x, y] = [event.clientX, event.clientY];
    const drag = (moved) => {
      this.move(x - moved.clientX, y - moved.clientY);
      [x, y] = [moved.clientX, moved.clientY];
    };
    const release = () => {
      this.canvas.removeEventListener("pointermove", drag);
      this.canvas.classList.remove("dragged");
    };
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.classList.add("dragged");
    this.canvas.addEventListener("pointermove", drag);
    this.canvas.addEventListener("lostpointercapture", release, { once: true });
  }

  move(right, down) {
    this.x = Math.round(this.x + right);
    this.y = Math.round(this.y + down);
    this.redraw();
  }

  redraw() {
    if (this.frame || !this.source || !this.isSeen) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.source) this.draw();
    });
  }

  draw() {
    const { canvas, source } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const wanted = [];
    this.inView = 0;
    const { side } = source;
    for (let row = Math.floor(this.y / side); row * side < this.y + height; row++) {
      for (let column = Math.floor(this.x / side); column * side < this.x + width; column++) {
        const place = `${row}/${column}`;
        const [left, top] = [column * side - this.x, row * side - this.y];
        const tile = this.tiles.get(place);
        this.inView += 1;
        if (tile) context.drawImage(tile, left, top);
        // The middle of the view first.
        else wanted.push([Math.hypot(left + (side - width) / 2, top + (side - height) / 2), place]);
      }
    }
    this.load(wanted.sort(([one], [other]) => one - other).map(([, place]) => place));
    canvas.dataset.missing = wanted.length;
    if (Date.now() >= this.waitUntil) this.describe(width, height);
  }

  describe(width, height) {
    const across = `${(width * this.source.voxel * 1e6).toPrecision(3)} \u00b5m`;
    say(this.caption, `Seed ${this.source.seed}, from pixel (${this.x}, ${this.y}), ${width} \u00d7 ${height} pixels, ${across} across`, "");
  }

  load(places) {
    for (const [place, loading] of this.loading) if (!places.includes(place)) loading.abort();
    if (Date.now() < this.waitUntil) return;
    for (const place of places) {
      if (this.loading.size >= TILES_AT_ONCE) return;
      if (!this.loading.has(place)) this.fetch(place, this.source);
    }
  }

  async fetch(place, source) {
    const loading = new AbortController();
    this.loading.set(place, loading);
    const { version, seed, key } = source;
    const path = `v2/models/${encodeURIComponent(this.name)}/versions/${version}/tiles/${place}?seed=${seed}`;
    try {
      const signal = AbortSignal.any([loading.signal, AbortSignal.timeout(TIMEOUT_MS)]);
      const response = await fetch(path, { headers: key ? { "X-API-Key": key } : {}, signal });
      if (!response.ok) throw Object.assign(new Error(await refusal(response)), { wait: response.headers.get("Retry-After") });
      const tile = await createImageBitmap(await response.blob());
      if (this.source === source) this.keep(place, tile);
    } catch (error) {
      if (this.source === source && error.name !== "AbortError") this.pause(error);
    } finally {
      if (this.loading.get(place) === loading) this.loading.delete(place);
      this.redraw();
    }
  }

  keep(place, tile) {
    this.tiles.set(place, tile);
    // The oldest goes, but none that may be in view; the browser still has its picture.
    if (this.tiles.size > Math.max(TILES_KEPT, 2 * this.inView)) this.tiles.delete(this.tiles.keys().next().value);
  }

  // After a refusal no request is made for a while: as long as the service says, or until the reader comes back to it.
  pause(error) {
    say(this.caption, error.name === "TimeoutError" ? "The server did not answer in time" : error.message, "refused");
    const seconds = Number(error.wait) || 10;
    this.waitUntil = Date.now() + seconds * 1000;
    setTimeout(() => this.redraw(), seconds * 1000 + 50);
  }
}
