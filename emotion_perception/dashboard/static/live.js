// The live page: picture with faces, the state, the plane, the scrolling arc, the group, the conversation.
import { arc, bars, plane } from "./charts.js";
import { api, byId, clock, el, mood, name, percent, replace, say, settings, signed, swatch } from "./util.js";

const SHOWN_S = 120;
const STATUS = { AUDIO_VISUAL: "face + voice", VISUAL_ONLY: "face only", ACOUSTIC_ONLY: "voice only", NO_EVIDENCE: "no evidence" };
const BASIS = { AUDIO_VISUAL: "From a face and a voice", VISUAL_ONLY: "From a face; no voice heard", ACOUSTIC_ONLY: "From a voice; no face seen" };

export function live(correct) {
  const setBars = bars(byId("bars")), setPlane = plane(byId("plane"));
  const canvas = byId("picture"), pen = canvas.getContext("2d"), boxes = byId("boxes"), faces = new Map();
  let points = [], state = null, chart = null, cursor = 0, span = 0, frames = [], drawnAt = 0, silentSince = null;
  const newest = () => (points.length ? points[points.length - 1][0] : 0);

  // --- picture
  async function frame(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const image = await createImageBitmap(new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
    if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
    pen.drawImage(image, 0, 0);
    image.close();
    drawnAt = performance.now();
    byId("no-picture").hidden = true;
    frames = frames.filter((t) => drawnAt - t < 2000);
    frames.push(drawnAt);
    say(byId("camera-note"), `${told.width} × ${told.height}, ${Math.max(1, Math.round(frames.length / 2))} pictures/s`);
    drawFaces(told.faces);
  }

  function drawFaces(list) {
    // The picture is fitted into its stage; the boxes lie on the picture.
    const scale = Math.min(canvas.clientWidth / canvas.width, canvas.clientHeight / canvas.height);
    const [w, h] = [canvas.width * scale, canvas.height * scale];
    Object.assign(boxes.style, { width: `${w}px`, height: `${h}px`, left: `${canvas.offsetLeft + (canvas.clientWidth - w) / 2}px`, top: `${canvas.offsetTop + (canvas.clientHeight - h) / 2}px` });
    for (const [id, box] of faces) if (!list.some((face) => face.id === id)) { box.remove(); faces.delete(id); }
    for (const face of list) {
      let box = faces.get(face.id);
      if (!box) {
        box = el("button", { type: "button", class: "face", onclick: () => correct({ face_id: face.id, said: faces.get(face.id)?.said }) }, el("span"));
        faces.set(face.id, box);
        boxes.append(box);
      }
      const [x, y, width, height] = face.box;
      Object.assign(box.style, { left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * width}%`, height: `${100 * height}%` });
      box.style.setProperty("--tone", settings.colours[face.label]);
      box.said = face.label;
      box.classList.toggle("chosen", face.chosen);
      box.classList.toggle("low", y < 0.09);
      const text = `${name(face.label)} ${percent(face.confidence)}`;
      say(box.firstChild, text);
      box.setAttribute("aria-label", `Face${face.chosen ? " spoken with" : ""}: ${text}. Correct it`);
    }
  }

  function watchPicture() {
    const quiet = performance.now() - drawnAt > 2500;
    byId("no-picture").hidden = !quiet;
    if (!quiet) return;
    drawFaces([]);
    say(byId("camera-note"), "");
    say(byId("no-picture-text"), settings.video === false ? "Pictures are turned off on this robot" : drawnAt ? "No picture from the camera" : "Waiting for the camera");
  }

  // --- state
  function showState(told) {
    state = told.status && told.status !== "NO_EVIDENCE" ? told : null;
    byId("known").hidden = !state;
    byId("unknown").hidden = Boolean(state);
    setBars(state?.probabilities);
    if (!state) {
      const silent = told.status === null;
      say(byId("status"), silent ? "no news" : STATUS.NO_EVIDENCE);
      say(byId("unknown-title"), silent ? "No news from the robot" : "Nobody is seen or heard");
      const since = told.quiet_s === null || told.quiet_s === undefined ? "since the page's server started" : `for ${clock(told.quiet_s)} (min:s)`;
      say(byId("unknown-text"), silent
        ? "Nothing publishes the emotion state now. The Robot page tells which part is missing."
        : `No face in view and no voice ${since}. That is not “neutral”: nothing is known.`);
      byId("senses").replaceChildren();
      setPlane([], null);
      say(byId("plane-text"), "nobody");
      return;
    }
    say(byId("status"), STATUS[state.status]);
    say(byId("label"), name(state.label));
    say(byId("sure"), `${percent(state.confidence)} sure`);
    byId("swatch").style.setProperty("--tone", settings.colours[state.label]);
    say(byId("basis"), `${BASIS[state.status]}, shown ${state.latency_ms} ms after it was captured`);
    say(byId("plane-text"), `${signed(state.valence)} / ${signed(state.arousal)}`);
    replace(byId("senses"), ...state.evidence.map((item) => el("div", {},
      el("dt", {}, { visual: "Face says", acoustic: "Voice says", text: "Words say" }[item.modality]),
      el("dd", {}, `${name(item.label)} ${percent(item.confidence)}`),
      el("dd", { class: "soft" }, `weight ${item.weight.toFixed(2)}, ${item.age < 1 ? `${Math.round(1000 * item.age)} ms` : `${item.age.toFixed(1)} s`} old`))));
    setPlane(points.filter((point) => point[0] > newest() - 8), state);
  }

  // --- trail
  function addTrail(told) {
    if (told.whole) points = told.points;
    else if (told.points.length) {
      const from = told.points[0][0];
      if (points.length && from < points[0][0] - 1) points = told.points; // the clock was set back
      else points = points.filter((point) => point[0] < from).concat(told.points);
    }
    const end = newest();
    points = points.filter((point) => point[0] > end - 2 * SHOWN_S);
    drawArc();
  }

  function drawArc() {
    const end = newest() || 0;
    const known = points.filter((point) => point[1] !== 0 && point[0] > end - SHOWN_S);
    const mean = known.reduce((sum, point) => sum + point[4], 0) / Math.max(1, known.length);
    chart = arc(byId("arc"), {
      points, from: end - SHOWN_S, to: end, step: 0.5, cursor: cursor || span ? end + cursor : null, span,
      tick: (from, to) => [0, 30, 60, 90, 120].map((ago) => [to - ago, ago ? `−${ago} s` : "now"]),
      label: `The last two minutes: ${known.length ? `${mood(mean)} on average, evidence for ${Math.round(known.length / 2)} of 120 s` : "nobody was seen or heard"}. The table below has the values.`,
    });
    if (byId("arc-details").open) fillTable(end);
  }

  function fillTable(end) {
    const rows = [];
    for (let ago = 0; ago <= SHOWN_S; ago += 10) {
      const point = points.findLast((p) => p[0] <= end - ago && p[0] > end - ago - 1.2);
      const cells = point && point[1] !== 0 ? [name(point[2]), percent(point[3]), signed(point[4]), signed(point[5])] : ["nobody seen or heard", "", "", ""];
      rows.push(el("tr", {}, el("td", {}, String(ago)), ...cells.map((cell, i) => el("td", i ? { class: "n" } : {}, cell))));
    }
    replace(byId("arc-table"), ...rows);
  }

  function setCursor(seconds, before = span) {
    cursor = Math.max(-SHOWN_S + 1, Math.min(0, Math.round(seconds)));
    span = Math.max(0, Math.min(settings.feedback?.stretch_s ?? 0, Math.round(before)));
    byId("moment").value = cursor;
    byId("length").value = span;
    say(byId("length-text"), `${span} s`);
    const point = points.findLast((p) => p[0] <= newest() + cursor);
    const what = point && point[1] !== 0 ? name(point[2]) : "nobody";
    say(byId("moment-text"), `${cursor ? `${-cursor} s ago` : "now"}: ${what}`);
    drawArc();
  }
  // A click chooses a moment; drawing from one place to another chooses the stretch between.
  let pressed = null;
  const place = (event) => chart.at(event.clientX);
  byId("arc").addEventListener("pointerdown", (event) => { pressed = chart && event.button === 0 ? { at: place(event), x: event.clientX } : null; });
  byId("arc").addEventListener("pointermove", (event) => {
    if (!pressed || !(event.buttons & 1) || Math.abs(event.clientX - pressed.x) < 6) return;
    const [a, b] = [pressed.at, place(event)].sort((m, n) => m - n);
    setCursor(b - newest(), b - a);
  });
  byId("arc").addEventListener("pointerup", (event) => {
    if (pressed && Math.abs(event.clientX - pressed.x) < 6) setCursor(place(event) - newest(), 0);
    pressed = null;
  });
  byId("moment").addEventListener("input", (event) => setCursor(Number(event.target.value)));
  byId("length").addEventListener("input", (event) => setCursor(cursor, Number(event.target.value)));
  byId("arc-details").addEventListener("toggle", drawArc);
  byId("correct-moment").addEventListener("click", () => {
    const when = newest() + cursor;
    const point = points.findLast((p) => p[0] <= when);
    correct({ time: when - span, until: span ? when : null, said: point && point[1] !== 0 ? point[2] : undefined });
  });
  byId("pick").hidden = !settings.feedback;
  new ResizeObserver(drawArc).observe(byId("arc"));

  // --- group
  function showGroup(told) {
    const count = told.faces;
    say(byId("group-count"), count === 1 ? "1 face" : `${count} faces`);
    if (!count) return replace(byId("group"), el("p", { class: "soft" }, "No face is in the camera's picture."));
    const shares = told.probabilities.map((p, i) => [p, i]).filter(([p]) => p > 0.005).sort((a, b) => b[0] - a[0]);
    const stack = el("div", { class: "stack", role: "img", "aria-label": `Together: ${shares.map(([p, i]) => `${name(i)} ${percent(p)}`).join(", ")}` },
      ...shares.map(([p, i]) => { const part = el("i", { tone: i }); part.style.flexGrow = p; return part; }));
    const agree = told.agreement === null ? null : `They ${told.agreement > 0.8 ? "agree" : told.agreement > 0.5 ? "partly agree" : "differ"} (${percent(told.agreement)} alike). `;
    replace(byId("group"), stack,
      el("p", { class: "soft" }, `${agree ?? ""}Together ${mood(told.valence)}.`),
      el("ul", { class: "people" }, ...told.people.map((person) => el("li", {},
        el("span", {}, swatch(person.label), `${name(person.label)} ${percent(person.confidence)}`),
        el("span", { class: "soft" }, told.differing.includes(person.id) ? "unlike the others" : `valence ${signed(person.valence)}`)))));
  }

  // --- conversation
  async function steer(what, body) {
    try { await api(`conversation/${what}`, { method: "POST", body: JSON.stringify(body ?? {}) }); } catch (error) { byId("talk").append(el("p", { class: "error", role: "alert" }, error.message)); }
  }
  let talkKey = "";
  function showTalk(told) {
    say(byId("talk-time"), told.id ? clock(told.seconds) : "");
    const key = JSON.stringify([told.listening, told.id]);
    if (key !== talkKey) {
      talkKey = key;
      if (!told.listening) replace(byId("talk"), el("p", { class: "soft" }, "Conversations are not followed now: interaction_node does not run (interaction:=true starts it)."));
      else if (!told.id) replace(byId("talk"), el("p", { class: "soft" }, "None is going on. One starts by itself when somebody engages."),
        settings.steer ? el("div", { class: "row" }, el("button", { type: "button", class: "quiet", onclick: () => steer("start") }, "Start one now")) : null);
      else replace(byId("talk"), el("dl", { class: "facts", id: "talk-facts" }),
        settings.steer ? el("div", { class: "row" }, el("button", { type: "button", class: "quiet", onclick: () => steer("stop") }, "End it and write the report")) : null);
    }
    if (told.id) {
      const trend = told.trend === null ? "too early to tell" : Math.abs(told.trend) < 0.05 ? "steady" : told.trend > 0 ? "getting better" : "getting worse";
      const facts = [["Mood so far", mood(told.mean_valence)], ["Trend", trend], ["Turning points", String(told.turning_points)], ["Shape", told.shape]];
      replace(byId("talk-facts"), ...facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
    }
  }

  showState({ status: null });
  say(byId("unknown-title"), "Waiting for the robot");
  say(byId("unknown-text"), "");

  // --- read out, sparingly: what has held for 3 s, at most every 10 s
  let saidAt = -Infinity, saidText = "", pending = "", since = 0;
  function announce() {
    const now = performance.now();
    const text = state ? `${name(state.label)}, ${STATUS[state.status]}` : silentSince ? "No news from the robot" : "Nobody is seen or heard";
    if (text !== pending) [pending, since] = [text, now];
    if (text !== saidText && now - since > 3000 && now - saidAt > 10000) {
      [saidAt, saidText] = [now, text];
      byId("announce").textContent = text;
    }
  }
  setInterval(() => { watchPicture(); announce(); }, 1000);

  return {
    frame,
    state: (told) => { silentSince = told.status === null ? silentSince ?? Date.now() : null; showState(told); },
    trail: addTrail, group: showGroup, conversation: showTalk,
  };
}
