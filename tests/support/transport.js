// Runs the script of a page's transport against stand-ins of the browser, and prints what happened as JSON.
"use strict";
const fs = require("fs");
const [script, broken] = [process.argv[2], process.argv[3] === "broken"];

class Element {
  constructor(values = {}) {
    Object.assign(this, { dataset: {}, style: { setProperty() {} }, attributes: {}, on: {}, classes: new Set() });
    Object.assign(this, values);
    const classes = this.classes;
    this.classList = {
      add: (name) => classes.add(name),
      remove: (name) => classes.delete(name),
      toggle: (name, on) => (on ? classes.add(name) : classes.delete(name)),
    };
  }
  addEventListener(name, call) { this.on[name] = call; }
  dispatchEvent(event) { this.on[event.type]?.(event); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  removeAttribute(name) { delete this.attributes[name]; }
  append(child) { this.child = child; }
  contains() { return true; }
  getBoundingClientRect() { return { left: 100, width: 1000 }; }
}

const starts = [], gains = [];
class Param {
  constructor() { this.value = 1; this.set = []; }
  setTargetAtTime(value, time) { this.value = value; this.set.push([value, time]); }
  setValueAtTime() {}
  linearRampToValueAtTime() {}
}
class Context {
  constructor(options) { this.currentTime = 5; this.destination = {}; this.options = options; context = this; }
  createGain() {
    const node = { gain: new Param(), connect: (to) => (to === this.destination && gains.push(node), to) };
    return node;
  }
  createBufferSource() {
    return { connect: (to) => to, start: (...a) => starts.push(a), stop() {} };
  }
  async decodeAudioData(data) {
    if (broken) throw new Error("no MP3");
    return { duration: 60, bytes: data.byteLength };
  }
  async resume() {}
}
let context = null, frame = null;
const button = new Element(), slider = new Element({ value: "0" }), clock = new Element();
const status = new Element({ textContent: "" });
const radios = ["1 1", "1 0", "0 1"].map((gains, i) => new Element({ checked: i === 0, dataset: { gains } }));
radios.forEach((radio) => {
  let checked = radio.checked;
  Object.defineProperty(radio, "checked", {
    get: () => checked,
    set: (on) => { if (on) radios.forEach((other) => other !== radio && (other.checked = false)); checked = on; },
  });
});
const audio = [1, 2].map(() => new Element({ src: "data:audio/mpeg;base64,AAAA" }));
const root = new Element({
  dataset: { rate: "24000", start: "10.000", seconds: "60.000" },
  querySelector: (s) => ({ ".play": button, ".position": slider, ".clock": clock, ".status": status })[s],
  querySelectorAll: (s) => (s === "audio" ? audio : radios),
});
const plot = new Element({
  dataset: { from: "30", to: "50", left: "0.1", right: "0.9", top: "0.1", bottom: "0.8" },
});
const page = new Element({
  querySelector: () => root,
  querySelectorAll: () => [plot],
  createElement: () => new Element(),
});
Object.assign(globalThis, {
  document: page, window: { AudioContext: Context }, requestAnimationFrame: (call) => (frame = call),
});
const settle = () => new Promise((done) => setTimeout(done, 5));
const key = (name, target = {}) => {
  const event = { key: name, target: { tagName: "BODY", ...target }, preventDefault() { this.taken = true; } };
  page.on.keydown(event);
  return Boolean(event.taken);
};
const state = () => ({
  gains: gains.map(({ gain }) => gain.value), position: Number(slider.value), label: button.attributes["aria-label"],
  text: slider.attributes["aria-valuetext"], cursor: plot.child.hidden ? null : plot.child.style.left,
  starts: starts.length, live: root.classes.has("live"),
});

(async () => {
  new Function(fs.readFileSync(script, "utf8"))();
  const said = { before: state() };
  button.on.click();
  await settle();
  said.playing = { ...state(), begins: starts.slice(), rate: context?.options?.sampleRate };
  if (!broken) {
    context.currentTime += 25.03;
    frame();
    said.later = state();
    key("2");
    frame();
    said.switched = state();
    plot.on.click({ clientX: 100 + 500 });
    said.sought = { ...state(), begins: starts.slice(-2) };
    plot.on.click({ clientX: 100 + 50 });
    said.beside = state();
    said.taken = [key("x"), key("9"), key("1", { tagName: "BODY" })];
    said.summary = key(" ", { tagName: "SUMMARY" });
    key("ArrowLeft");
    said.left = state();
    key(" ");
    said.paused = state();
    context.currentTime += 9;
    said.still = state();
    key(" ", { tagName: "INPUT", type: "radio" });
    await settle();
    context.currentTime += 100;
    frame();
    said.end = state();
  }
  said.status = status.textContent;
  console.log(JSON.stringify(said));
})();
