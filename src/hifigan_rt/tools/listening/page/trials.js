/* What a listener sees and does in one trial: MOS, MUSHRA, ABX. */

/* An element: make("p", {class: "hint"}, "text", other). Texts are never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const LABELS = "ABCDEFGHIJKL";

/* Of each recording that is compared; MOS asks for the whole. */
const LEAST_SECONDS = 1;

class TrialView {
  /* names: {what is played: its title}. draft: what an earlier view of the same trial left, or {}. */
  constructor(context, buffers, names, draft, loop, save) {
    this.names = names;
    this.save = save;
    this.before = draft.heard ?? {};
    this.whole = draft.whole ?? false;
    this.spent = draft.seconds ?? 0;
    this.shown = performance.now();
    this.playing = false;
    this.player = new SwitchPlayer(context, buffers, { loop, onchange: () => this.changed() });
    this.bar = make("div");
    this.buttons = {};
    for (const [name, title] of Object.entries(names)) {
      this.buttons[name] = make("button", { type: "button", "aria-pressed": "false", onclick: () => this.hear(name) }, title);
    }
    this.frame = requestAnimationFrame(() => this.draw());
  }

  get timeline() {
    return make("div", { class: "time", "aria-hidden": "true" }, this.bar);
  }

  hear(name) {
    if (this.player.playing && this.player.active === name) this.player.stop();
    else this.player.select(name);
  }

  toggle() {
    if (this.player.playing) this.player.stop();
    else this.player.play(this.player.active ?? Object.keys(this.names)[0]);
  }

  changed() {
    const { playing, active } = this.player;
    for (const [name, button] of Object.entries(this.buttons)) button.setAttribute("aria-pressed", String(playing && name === active));
    // In one run: two halves of the beginning are as long.
    if (this.playing && !playing && !this.player.loop && this.player.reached > this.player.duration - 0.1) this.whole = true;
    this.playing = playing;
    this.keep();
  }

  draw() {
    this.player.credit();
    this.bar.style.width = `${(100 * this.player.position) / this.player.duration}%`;
    this.frame = requestAnimationFrame(() => this.draw());
  }

  heard(name) {
    return (this.before[name] ?? 0) + this.player.heard[name];
  }

  /* Names of what was not heard for long enough. */
  get unheard() {
    const least = Math.min(LEAST_SECONDS, this.player.duration);
    return Object.keys(this.names).filter((name) => this.heard(name) < least - 0.05);
  }

  get seconds() {
    return this.spent + (performance.now() - this.shown) / 1000;
  }

  get heardSeconds() {
    this.player.credit();
    return Object.fromEntries(Object.keys(this.names).map((name) => [name, Math.round(1000 * this.heard(name)) / 1000]));
  }

  keep() {
    this.save({ heard: this.heardSeconds, whole: this.whole, seconds: this.seconds, ...this.answer() });
  }

  close() {
    this.player.stop();
    cancelAnimationFrame(this.frame);
  }
}

function choiceGroup(legend, name, choices, checked, onchange) {
  const group = make("fieldset", {}, make("legend", {}, legend));
  for (const { value, text, key } of choices) {
    const input = make("input", { type: "radio", name, value, checked: String(value) === String(checked), onchange });
    group.append(make("label", { class: "choice" }, input, make("span", {}, text), make("kbd", { "aria-hidden": "true" }, key)));
  }
  return group;
}

function choose(group, value) {
  const input = group.querySelector(`input[value="${value}"]`);
  input.checked = true;
  input.focus();
  input.dispatchEvent(new Event("change"));
}

class MosView extends TrialView {
  constructor(context, buffers, trial, draft, save) {
    const [stimulus] = trial.order;
    super(context, buffers, { [stimulus]: "Play" }, draft, false, save);
    this.stimulus = stimulus;
    this.rating = draft.ratings?.[stimulus] ?? null;
    const choices = ["Excellent", "Good", "Fair", "Poor", "Bad"].map((text, index) => ({ value: 5 - index, text: `${5 - index} – ${text}`, key: 5 - index }));
    this.group = choiceGroup("How natural does this sound?", "rating", choices, this.rating, (event) => {
      this.rating = Number(event.target.value);
      this.keep();
    });
    this.element = make(
      "div", {},
      make("div", { class: "players" }, this.buttons[stimulus]), this.timeline, this.group,
      make("p", { class: "hint keys" }, "Keys: ", make("kbd", {}, "P"), " or ", make("kbd", {}, "Space"), " plays and stops, ", make("kbd", {}, "1"), " to ",
        make("kbd", {}, "5"), " rate, ", make("kbd", {}, "Enter"), " goes on."),
    );
  }

  changed() {
    super.changed();
    this.buttons[this.stimulus].textContent = this.player.playing ? "Stop" : "Play";
  }

  get missing() {
    if (!this.whole) return "Listen to the recording to its end first.";
    return this.rating === null ? "Choose a rating from 1 to 5." : "";
  }

  answer() {
    return { ratings: this.rating === null ? {} : { [this.stimulus]: this.rating }, answer: "" };
  }

  key(pressed) {
    if (!"12345".includes(pressed)) return false;
    choose(this.group, pressed);
    return true;
  }
}

class MushraView extends TrialView {
  constructor(context, buffers, trial, draft, save, reference) {
    const titles = trial.order.map((stimulus, index) => [stimulus, LABELS[index]]);
    super(context, buffers, { [reference]: "Reference", ...Object.fromEntries(titles) }, draft, true, save);
    this.order = trial.order;
    this.reference = reference;
    this.ratings = { ...draft.ratings };
    this.sliders = {};
    const words = ["Bad", "Poor", "Fair", "Good", "Excellent"].map((word) => make("li", {}, word));
    const rows = trial.order.map((stimulus, index) => this.row(stimulus, LABELS[index]));
    this.element = make(
      "div", {},
      make("div", { class: "players" }, this.buttons[reference]), this.timeline,
      make("div", { class: "scale", "aria-hidden": "true" }, make("span"), make("ol", {}, ...words)), ...rows,
      make("p", { class: "hint keys" }, "Keys: ", make("kbd", {}, "R"), " plays the reference, ", make("kbd", {}, "A"), " to ", make("kbd", {}, LABELS[rows.length - 1]),
        " play the others, ", make("kbd", {}, "←"), " ", make("kbd", {}, "→"), " rate the one that plays (", make("kbd", {}, "Page Up"), " ",
        make("kbd", {}, "Page Down"), " in large steps), ", make("kbd", {}, "Space"), " stops, ", make("kbd", {}, "Enter"), " goes on."),
    );
  }

  row(stimulus, label) {
    const rated = this.ratings[stimulus];
    const output = make("output", {}, rated ?? "–");
    const slider = make("input", {
      type: "range", min: 0, max: 100, step: 1, value: rated ?? 0, "aria-label": `Rating of ${label}, 0 bad to 100 excellent`,
      "aria-valuetext": rated ?? "not rated yet", class: rated === undefined ? "unrated" : false,
    });
    const rate = () => {
      this.ratings[stimulus] = Number(slider.value);
      output.textContent = slider.value;
      slider.setAttribute("aria-valuetext", slider.value);
      slider.classList.remove("unrated");
      this.keep();
    };
    slider.addEventListener("input", rate);
    // A rating of 0 moves nothing: the attempt counts.
    slider.addEventListener("pointerup", rate);
    slider.addEventListener("keyup", (event) => {
      if (/^(Arrow|Home|End|Page)/.test(event.key)) rate();
    });
    this.sliders[stimulus] = slider;
    this.buttons[stimulus].setAttribute("aria-label", `Play ${label}`);
    return make("div", { class: "item" }, this.buttons[stimulus], slider, output);
  }

  get missing() {
    const unheard = this.unheard.map((name) => this.names[name]);
    if (unheard.length) return `Listen first to ${unheard.join(", ")}.`;
    const unrated = this.order.filter((stimulus) => this.ratings[stimulus] === undefined).map((stimulus) => this.names[stimulus]);
    return unrated.length ? `Rate ${unrated.join(", ")}.` : "";
  }

  answer() {
    return { ratings: { ...this.ratings }, answer: "" };
  }

  key(pressed) {
    if (pressed === "r") {
      this.hear(this.reference);
      return true;
    }
    const index = LABELS.toLowerCase().indexOf(pressed);
    if (pressed.length !== 1 || index < 0 || index >= this.order.length) return false;
    this.hear(this.order[index]);
    this.sliders[this.order[index]].focus();
    return true;
  }
}

class AbxView extends TrialView {
  constructor(context, buffers, trial, draft, save) {
    const [a, b] = trial.order;
    const played = { A: buffers[a], B: buffers[b], X: buffers[trial.x] };
    super(context, played, { A: "A", B: "B", X: "X" }, draft, true, save);
    this.order = trial.order;
    this.chosen = draft.answer ?? "";
    const choices = [{ value: "A", text: "X is A", key: 1 }, { value: "B", text: "X is B", key: 2 }];
    const checked = this.chosen && "AB"[this.order.indexOf(this.chosen)];
    this.group = choiceGroup("X is the same recording as one of the two. Which?", "answer", choices, checked, (event) => {
      this.chosen = this.order["AB".indexOf(event.target.value)];
      this.keep();
    });
    for (const [name, button] of Object.entries(this.buttons)) button.setAttribute("aria-label", `Play ${name}`);
    this.element = make(
      "div", {},
      make("div", { class: "players" }, ...Object.values(this.buttons)), this.timeline, this.group,
      make("p", { class: "hint" }, make("span", { class: "keys" }, "Keys: ", make("kbd", {}, "A"), " ", make("kbd", {}, "B"), " ", make("kbd", {}, "X"), " play, ", make("kbd", {}, "Space"),
        " stops, ", make("kbd", {}, "1"), " X is A, ", make("kbd", {}, "2"), " X is B, ", make("kbd", {}, "Enter"), " goes on. "), "If you hear no difference, guess."),
    );
  }

  get missing() {
    if (this.unheard.length) return `Listen first to ${this.unheard.join(", ")}.`;
    return this.chosen ? "" : "Choose which one X is; guess if you cannot tell.";
  }

  answer() {
    return { ratings: {}, answer: this.chosen };
  }

  key(pressed) {
    if ("12".includes(pressed)) choose(this.group, "AB"[pressed - 1]);
    else if ("abx".includes(pressed) && pressed.length === 1) this.hear(pressed.toUpperCase());
    else return false;
    return true;
  }
}
