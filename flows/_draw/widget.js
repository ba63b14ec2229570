// The browser's half of the widget: shows the picture, keeps zoom and choice while it changes, asks the kernel for
// what there is to know of a box. Text is only ever put in as text; nothing is loaded from elsewhere.

const ZOOMS = [0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4];
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function made(tag, name, attributes = {}) {
  const element = document.createElement(tag);
  element.className = name;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function button(text, label, act) {
  const element = made("button", "", { type: "button", "aria-label": label });
  element.textContent = text;
  element.addEventListener("click", act);
  return element;
}

/** The document's svg element, ready for a page: parsed as XML, so that no part of it can be anything else. */
function parsed(text) {
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  return root.nodeName === "svg" ? document.importNode(root, true) : null;
}

class View {
  constructor(model, el) {
    this.model = model;
    this.place = 0; // of the box that the Tab key reaches
    this.chosen = null;
    this.zoom = 1;
    this.root = made("div", "flows-run", { role: "group", "aria-label": "Run" });
    this.picture = made("div", "flows-picture", { role: "group", tabindex: "0", "aria-label": "Picture of the run" });
    this.summary = made("p", "flows-summary", { role: "status", "aria-live": "polite" });
    this.details = made("div", "flows-details", { role: "region", "aria-label": "Details", hidden: "" });
    const bar = made("div", "flows-bar", { role: "toolbar", "aria-label": "Size of the picture" });
    bar.append(
      button("−", "Smaller", () => this.step(-1)),
      button("+", "Larger", () => this.step(1)),
      button("Fit", "Fit the width", () => this.fit()),
      button("100 %", "Original size", () => this.resize(1)),
      this.summary,
    );
    this.root.append(bar, this.picture, this.details);
    el.append(this.root);
    this.listen();
    this.draw();
    this.tell();
    this.restore();
  }

  // A front end makes a new view when the output of the cell is replaced, as it is at the end of a run.
  keep() {
    this.model.set("view", { zoom: this.zoom, chosen: this.chosen, mark: this.mark });
  }

  restore() {
    const kept = this.model.get("view");
    if (!kept) return;
    this.resize(kept.zoom);
    if (kept.mark === this.mark && kept.chosen !== null) this.choose(kept.chosen);
  }

  listen() {
    const { model, picture } = this;
    this.heard = [
      ["change:svg", () => this.draw()],
      ["change:summary", () => this.tell()],
      ["msg:custom", (message) => this.answered(message)],
    ];
    for (const [event, act] of this.heard) model.on(event, act);
    picture.addEventListener("click", (event) => {
      if (!this.dragged) this.choose(this.boxes.indexOf(event.target.closest("[data-box]")));
    });
    picture.addEventListener("mouseover", (event) => {
      const place = this.boxes.indexOf(event.target.closest("[data-box]"));
      if (this.chosen === null && place >= 0) this.preview(place);
    });
    picture.addEventListener("keydown", (event) => this.pressed(event));
    picture.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    picture.addEventListener("pointerdown", (event) => this.grab(event));
  }

  remove() {
    for (const [event, act] of this.heard) this.model.off(event, act);
    this.root.remove();
  }

  // The picture: only boxes that differ are put anew where the layout is the same, so that focus and place stay.
  draw() {
    const next = parsed(this.model.get("svg"));
    if (next === null) return;
    const mark = next.querySelector("title")?.id;
    const boxes = [...next.querySelectorAll("[data-box]")];
    if (this.svg && mark === this.mark && boxes.length === this.boxes.length) {
      boxes.forEach((box, place) => this.patch(this.boxes[place], box));
    } else {
      this.chosen = null;
      this.details.hidden = true;
      this.place = 0;
      this.mark = mark;
      this.svg = next;
      this.boxes = boxes;
      this.width = Number(next.getAttribute("width"));
      this.height = Number(next.getAttribute("height"));
      next.setAttribute("role", "group");
      this.picture.replaceChildren(next);
      boxes.forEach((box, place) => {
        box.setAttribute("role", "button");
        box.setAttribute("tabindex", place === this.place ? "0" : "-1");
        this.name(box);
      });
      this.resize(this.zoom);
    }
    if (this.chosen !== null) this.ask("details");
  }

  patch(old, box) {
    if (old.innerHTML === box.innerHTML) return;
    old.replaceChildren(...box.childNodes);
    if (box.dataset.state) old.dataset.state = box.dataset.state;
    this.name(old);
  }

  name(box) {
    box.setAttribute("aria-label", box.querySelector("title").textContent.replaceAll("\n", ", "));
  }

  tell() {
    this.summary.textContent = this.model.get("summary");
  }

  // Size. What is at x, y of the picture's frame stays there as far as it can.
  resize(zoom, x = this.picture.clientWidth / 2, y = this.picture.clientHeight / 2) {
    const { picture, zoom: before } = this;
    const [left, top] = [picture.scrollLeft, picture.scrollTop];
    this.zoom = Math.min(Math.max(zoom, ZOOMS[0]), ZOOMS.at(-1));
    this.svg.setAttribute("width", this.width * this.zoom);
    this.svg.setAttribute("height", this.height * this.zoom);
    const grown = this.zoom / before;
    picture.scrollTo((left + x) * grown - x, (top + y) * grown - y);
    if (grown !== 1) this.keep();
  }

  step(by, x, y) {
    const larger = ZOOMS.filter((zoom) => zoom > this.zoom + 0.01);
    const smaller = ZOOMS.filter((zoom) => zoom < this.zoom - 0.01);
    this.resize((by > 0 ? larger[0] : smaller.at(-1)) ?? this.zoom, x, y);
  }

  fit() {
    this.resize((this.picture.clientWidth - 4) / this.width);
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    const { left, top } = this.picture.getBoundingClientRect();
    this.step(event.deltaY < 0 ? 1 : -1, event.clientX - left, event.clientY - top);
  }

  grab(down) {
    this.dragged = false;
    if (down.button !== 0 || down.pointerType !== "mouse" || down.target.closest("[data-box]")) return;
    const { picture } = this;
    const [left, top] = [picture.scrollLeft, picture.scrollTop];
    picture.classList.add("flows-held");
    const move = (event) => {
      const [x, y] = [down.clientX - event.clientX, down.clientY - event.clientY];
      this.dragged ||= Math.hypot(x, y) > 3; // and its end is no click
      picture.scrollTo(left + x, top + y);
    };
    const release = () => {
      picture.classList.remove("flows-held");
      window.removeEventListener("pointermove", move);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", release, { once: true });
  }

  // Boxes: arrow keys go from one to the next, Enter chooses, Escape lets go.
  pressed(event) {
    const here = this.boxes.indexOf(event.target.closest("[data-box]"));
    const keys = ["Enter", " ", "Escape", "+", "-", "Home", "End", ...Object.keys(STEPS)];
    if (event.ctrlKey || event.metaKey || event.altKey || !keys.includes(event.key)) return;
    event.stopPropagation(); // the notebook has meanings of its own for these
    if (event.key === "+" || event.key === "-") this.step(event.key === "+" ? 1 : -1);
    else if (event.key === "Escape") this.choose(-1);
    else if (here < 0) return; // the picture itself: arrows scroll it
    else if (event.key === "Enter" || event.key === " ") this.choose(here);
    else if (event.key === "Home" || event.key === "End") this.focus(event.key === "Home" ? 0 : this.boxes.length - 1);
    else this.focus((here + STEPS[event.key] + this.boxes.length) % this.boxes.length);
    event.preventDefault();
  }

  focus(place) {
    this.boxes[this.place].setAttribute("tabindex", "-1");
    this.place = place;
    this.boxes[place].setAttribute("tabindex", "0");
    this.boxes[place].focus();
  }

  // Details.
  preview(place) {
    this.fill(place, this.boxes[place].getAttribute("aria-label").split(", ").slice(1).join("\n"));
  }

  choose(place) {
    if (this.chosen !== null) this.boxes[this.chosen].removeAttribute("data-chosen");
    this.chosen = place < 0 ? null : place;
    this.payload = null;
    this.keep();
    if (place < 0) {
      this.details.hidden = true;
      return;
    }
    this.boxes[place].setAttribute("data-chosen", "");
    this.preview(place);
    this.ask("details");
  }

  fill(place, text) {
    const title = made("h2", "");
    title.textContent = this.boxes[place].dataset.box;
    const words = made("pre", "", { tabindex: "0", "aria-label": "What happened" });
    words.textContent = text;
    this.details.replaceChildren(title, words);
    if (place === this.chosen) {
      const values = made("pre", "", { tabindex: "0", "aria-label": "Data and result" });
      values.textContent = this.payload ?? "";
      values.hidden = this.payload === null;
      const ask = button("Data and result", "Show data and result", () => this.ask("payload"));
      this.details.append(ask, button("Close", "Close details", () => this.choose(-1)), values);
    }
    this.details.hidden = false;
  }

  ask(what) {
    this.model.send({ what, box: this.chosen, svg: this.mark });
  }

  answered({ box, what, text }) {
    if (box !== this.chosen) return;
    if (what === "payload") this.payload = text;
    else this.words = text;
    const held = this.details.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    this.fill(box, this.words ?? "");
    if (held) [...this.details.children].find((one) => one.getAttribute("aria-label") === held)?.focus();
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.remove();
  },
};
