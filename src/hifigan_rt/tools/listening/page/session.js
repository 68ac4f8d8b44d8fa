/* The way through the test: welcome, volume, practice, trials, result. Progress is kept in the browser. */

const definition = JSON.parse(document.getElementById("definition").textContent);
const audio = JSON.parse(document.getElementById("audio").textContent);
const screen = document.getElementById("screen");
const statusLine = document.getElementById("status");
const alertLine = document.getElementById("alert");
/* Under it the code of the last listener here; behind it, with a code, the progress of each. */
const STORE = `hifigan-listening-${definition.test_id}-${definition.page_sha256.slice(0, 8)}`;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/;
const INSTRUCTIONS = {
  mos: "You will hear one recording of speech at a time. Rate how natural it sounds, from 1 (bad) to 5 (excellent).",
  mushra: "In each trial, compare several versions of one recording with the reference, and rate the quality of each from 0 (bad) to 100 (excellent). One of them is the reference itself: it should get 100. You can switch while it plays.",
  abx: "In each trial, X is the same recording as either A or B. Find out which. You can switch while it plays.",
};

let context = null;
let view = null;
let proceed = () => {};
let replaced = false;
let state = load(given());

/* The code in the address; "" if there is none. */
function given() {
  const code = new URLSearchParams(location.hash.slice(1)).get("listener") ?? "";
  return NAME.test(code) ? code : "";
}

/* The progress of this listener, or without a code of the last one here. */
function load(code) {
  try {
    const listener = code || localStorage.getItem(STORE);
    const kept = JSON.parse(localStorage.getItem(`${STORE}-${listener}`));
    if (kept && kept.listener === listener) return kept;
  } catch {
    // Unreadable, or storage is not allowed here: begin anew.
  }
  return blank();
}

function blank() {
  return { listener: "", output: "", phase: "welcome", index: 0, answers: [], draft: {}, started: "", finished: "", delivered: false };
}

function keep(changes) {
  if (replaced) return;
  state = { ...state, ...changes };
  try {
    localStorage.setItem(`${STORE}-${state.listener}`, JSON.stringify(state));
    localStorage.setItem(STORE, state.listener);
  } catch {
    statusLine.textContent = "This browser keeps no progress: do not close the page before the end.";
  }
}

/* `next`: what the main button does, and the key Enter wherever the focus is. */
function show(title, content, next) {
  if (view) view.close();
  view = null;
  alertLine.textContent = "";
  const heading = make("h1", { tabindex: "-1" }, title);
  screen.replaceChildren(heading, ...content);
  proceed = next;
  heading.focus();
  scrollTo(0, 0);
}

function mainButton(text) {
  return make("button", { type: "button", class: "main", onclick: () => proceed() }, text);
}

function showProgress(done, total, text) {
  const box = document.getElementById("progress");
  box.hidden = total === 0;
  document.getElementById("bar").max = Math.max(total, 1);
  document.getElementById("bar").value = done;
  document.getElementById("count").textContent = text;
}

function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return `L${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function welcome() {
  showProgress(0, 0, "");
  const name = make("input", { type: "text", id: "listener", value: given(), autocomplete: "off", maxlength: 40, "aria-describedby": "listener-hint" });
  const outputs = [{ value: "headphones", text: "Headphones", key: "H" }, { value: "loudspeakers", text: "Loudspeakers", key: "L" }];
  let output = "";
  const group = choiceGroup("What do you listen with?", "output", outputs, output, (event) => { output = event.target.value; });
  const count = scheduleOf(definition, "x").length;
  show("Listening test", [
    make("p", {}, INSTRUCTIONS[definition.mode]),
    make("p", {}, `${count === 1 ? "There is 1 trial" : `There are ${count} trials`} after a short practice. Sit somewhere quiet; headphones are best. You may pause at any time: close the page, and open it again in this browser to go on.`),
    make("p", {}, make("label", { for: "listener" }, "Code that you were given, if any"), name,
      make("span", { class: "hint", id: "listener-hint" }, "Letters, digits, dot, dash. Leave it empty to get a random one.")),
    group,
    mainButton("Begin"),
  ], () => {
    const listener = name.value.trim() || randomName();
    if (!NAME.test(listener)) return complain("The code may have letters, digits, dots, dashes and underscores, at most 40.", name);
    if (!output) return complain("Choose what you listen with.", group.querySelector("input"));
    const kept = load(listener);
    if (kept.phase !== "welcome") return begin(kept);
    openAudio();
    keep({ listener, output, phase: "volume", started: new Date().toISOString() });
    return volume();
  });
  view = { key: (pressed) => ("hl".includes(pressed) && pressed.length === 1 ? (choose(group, pressed === "h" ? "headphones" : "loudspeakers"), true) : false), close() {}, toggle() {} };
}

function complain(text, focused) {
  // Emptied first, so that the same complaint is read out again.
  alertLine.textContent = "";
  setTimeout(() => { alertLine.textContent = text; }, 50);
  if (focused) focused.focus();
}

function openAudio() {
  context ??= new AudioContext();
  context.resume();
}

async function buffersOf(stimuli) {
  statusLine.textContent = "Loading the audio …";
  const uris = Object.fromEntries(stimuli.map((stimulus) => [stimulus, audio[stimulus]]));
  const buffers = await decodeAll(context, uris);
  statusLine.textContent = "";
  return buffers;
}

async function volume() {
  showProgress(0, 0, "");
  const stimulus = definition.training[0][0];
  const buffers = await buffersOf([stimulus]);
  const check = new TrialView(context, buffers, { [stimulus]: "Play" }, {}, true, () => { alertLine.textContent = ""; });
  check.answer = () => ({});
  check.key = () => false;
  show("Set the volume", [
    make("p", {}, "Play this recording and set your volume so that speech is clear and comfortable. Then leave it as it is until the end."),
    make("div", { class: "players" }, check.buttons[stimulus]), check.timeline,
    make("p", { class: "hint keys" }, "Keys: ", make("kbd", {}, "P"), " or ", make("kbd", {}, "Space"), " plays and stops, ", make("kbd", {}, "Enter"), " goes on."),
    mainButton("The volume is right"),
  ], () => {
    if (check.unheard.length) return complain("Play the recording first, at least for a second.");
    keep({ phase: "training", index: 0, draft: {} });
    nextTrial();
  });
  view = check;
}

function makeView(trial, buffers, reference) {
  const save = (draft) => {
    alertLine.textContent = "";
    keep({ draft });
  };
  if (definition.mode === "mos") return new MosView(context, buffers, trial, state.draft, save);
  if (definition.mode === "abx") return new AbxView(context, buffers, trial, state.draft, save);
  return new MushraView(context, buffers, trial, state.draft, save, reference);
}

async function nextTrial() {
  const training = state.phase === "training";
  const trials = training ? trainingOf(definition) : scheduleOf(definition, state.listener);
  if (state.index >= trials.length) {
    if (training) {
      keep({ phase: "trials", index: 0, draft: {} });
      return ready(trials.length);
    }
    keep({ phase: "done", finished: new Date().toISOString(), draft: {} });
    return done();
  }
  const trial = trials[state.index];
  const clip = definition.clips.find((entry) => entry.id === definition.stimuli[trial.order[0]]);
  const stimuli = clip.reference ? [clip.reference, ...trial.order] : trial.order;
  const buffers = await buffersOf(stimuli);
  const number = `${state.index + 1} of ${trials.length}`;
  showProgress(state.index, trials.length, training ? `practice ${number}` : `trial ${number}`);
  const next = makeView(trial, buffers, clip.reference);
  const badge = training ? [make("p", {}, make("span", { class: "badge" }, "Practice: this does not count"))] : [];
  show(`${training ? "Practice" : "Trial"} ${number}`, [...badge, next.element, mainButton("Next")], () => {
    if (next.missing) return complain(next.missing);
    next.player.stop();
    const answer = { ...trial, ...next.answer(), heard_seconds: next.heardSeconds, seconds: Math.round(next.seconds * 1000) / 1000 };
    next.close();
    view = null;
    proceed = () => {};
    keep({ index: state.index + 1, draft: {}, answers: training ? [] : [...state.answers, answer] });
    return nextTrial();
  });
  view = next;
}

function ready(practised) {
  showProgress(0, 0, "");
  show("The test begins", [
    make("p", {}, `You have practised ${practised} trial${practised === 1 ? "" : "s"}. From now on your answers count.`),
    mainButton("Start"),
  ], nextTrial);
}

function goOn() {
  const other = make("button", { type: "button", onclick: anew }, "Another listener");
  show("Welcome back", [
    make("p", {}, "You go on as listener ", make("b", {}, state.listener), "."),
    make("p", {}, state.phase === "trials" ? `${state.answers.length === 1 ? "1 trial is" : `${state.answers.length} trials are`} done; the test goes on where you left it.` : "The test goes on where you left it."),
    mainButton("Continue"), make("p", {}, other),
  ], () => {
    openAudio();
    return state.phase === "volume" ? volume() : nextTrial();
  });
}

function result() {
  return {
    format: 1, kind: "hifigan-listening", test_id: definition.test_id, page_sha256: definition.page_sha256, mode: definition.mode,
    listener: state.listener, seed: seedOf(definition.test_id, state.listener), output: state.output,
    started: state.started, finished: state.finished, trials: state.answers,
  };
}

function done() {
  showProgress(1, 1, "done");
  const text = `${JSON.stringify(result(), null, 1)}\n`;
  const link = make("a", {
    class: "main", id: "download", download: `${definition.test_id}-${state.listener}.json`,
    href: URL.createObjectURL(new Blob([text], { type: "application/json" })), onclick: () => keep({ delivered: true }),
  }, "Download the result");
  const sent = make("p", { id: "sent" });
  const again = make("button", { type: "button", onclick: another }, "Another listener");
  show("Thank you", [
    make("p", {}, state.answers.length === 1 ? "The trial is done." : `All ${state.answers.length} trials are done.`), sent, make("p", {}, link),
    make("p", { class: "hint" }, "The result holds the code, your answers with their times, and whether you used headphones; nothing else about you."), make("p", {}, again),
  ], () => {});
  if (location.protocol.startsWith("http")) send(text, sent);
  else sent.textContent = "Download the file and give it to the person who runs the test.";
}

async function send(text, line) {
  line.textContent = "Sending the result …";
  try {
    const answer = await fetch("results", { method: "POST", headers: { "Content-Type": "application/json" }, body: text });
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 300));
    keep({ delivered: true });
    line.textContent = "Your answers have been sent. You can close the page.";
  } catch (error) {
    line.textContent = `The result could not be sent (${error.message}). Download the file and give it to the person who runs the test.`;
  }
}

function another() {
  if (!state.delivered) return complain("The result was neither sent nor downloaded yet: download it first.");
  localStorage.removeItem(`${STORE}-${state.listener}`);
  localStorage.removeItem(STORE);
  return anew();
}

function anew() {
  history.replaceState(null, "", location.pathname + location.search);
  return begin(blank());
}

function begin(kept) {
  state = kept;
  if (state.phase === "welcome") return welcome();
  return state.phase === "done" ? done() : goOn();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const { target } = event;
  const typing = target.matches("input[type=text]");
  const ownSpace = target.matches("button, a") || (target.matches("input[type=radio]") && !target.checked);
  if (event.key === "Enter") {
    if (target.matches("button, a") || event.repeat) return;
    event.preventDefault();
    proceed();
  } else if (typing || !view || event.repeat) {
    return;
  } else if (event.key === "p" || event.key === "P" || (event.key === " " && !ownSpace)) {
    event.preventDefault();
    view.toggle();
  } else if (event.key.length === 1 && view.key(event.key.toLowerCase())) {
    event.preventDefault();
  }
});

/* A closed tab loses nothing: what was heard until now is kept as well. */
addEventListener("pagehide", () => {
  if (view instanceof TrialView && state.phase !== "volume") view.keep();
});

/* Another address, or another tab that went on with these answers: what this one holds is old. */
function reload() {
  replaced = true;
  location.reload();
}
addEventListener("hashchange", reload);
addEventListener("storage", (event) => {
  if (state.listener && event.key === `${STORE}-${state.listener}`) reload();
});

begin(state);
