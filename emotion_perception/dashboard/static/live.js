// The live view: video with faces, the state, the plane, the scrolling arc, the group, the conversation.
import { arc, bars, plane } from "./charts.js";
import { api, byId, clock, el, mood, name, percent, replace, setText, settings, signed, swatch } from "./util.js";

const SHOWN_S = 120;
const LATE_S = 1.5; // points arrive every half second; the arc moves on without them after this
const STATUS = { AUDIO_VISUAL: "face + voice", VISUAL_ONLY: "face only", ACOUSTIC_ONLY: "voice only", NO_EVIDENCE: "no evidence" };
const BASIS = { AUDIO_VISUAL: "From a face and a voice", VISUAL_ONLY: "From a face; no voice heard", ACOUSTIC_ONLY: "From a voice; no face seen" };

export function live(correct) {
  const setBars = bars(byId("bars")), setPlane = plane(byId("plane"));
  const canvas = byId("picture"), pen = canvas.getContext("2d"), boxes = byId("boxes"), faces = new Map();
  let points = [], state = null, chart = null, cursor = 0, picked = null, span = 0, frames = [], drawnAt = 0, pointAt = 0, silent = true;
  const newest = () => (points.length ? points[points.length - 1][0] : 0);
  /** Right end of the arc: the newest point, which moves to the left while nothing arrives. */
  const arcEnd = () => newest() + Math.max(0, (performance.now() - pointAt) / 1000 - LATE_S);

  // --- video
  async function frame(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const image = await createImageBitmap(new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
    if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
    pen.drawImage(image, 0, 0);
    image.close();
    drawnAt = performance.now();
    byId("no-picture").hidden = true;
    frames = frames.filter((t) => drawnAt - t < 2000);
    frames.push(drawnAt);
    setText(byId("camera-note"), `${header.width} × ${header.height}, ${Math.max(1, Math.round(frames.length / 2))} frames/s`);
    drawFaces(header.faces);
  }

  function drawFaces(list) {
    // The image is scaled to fit its stage; the boxes are placed relative to the image.
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
      setText(box.firstChild, text);
      box.setAttribute("aria-label", `Face${face.chosen ? " of the conversation partner" : ""}: ${text}. Correct it`);
    }
  }

  function watchVideo() {
    const quiet = performance.now() - drawnAt > 2500;
    byId("no-picture").hidden = !quiet;
    if (!quiet) return;
    drawFaces([]);
    setText(byId("camera-note"), "");
    setText(byId("no-picture-text"), settings.video === false ? "Video is turned off on this robot" : drawnAt ? "No image from the camera" : "Waiting for the camera");
  }

  // --- state
  function showState(next) {
    state = next.status && next.status !== "NO_EVIDENCE" ? next : null;
    byId("known").hidden = !state;
    byId("unknown").hidden = Boolean(state);
    setBars(state?.probabilities);
    if (!state) {
      const silent = next.status === null;
      setText(byId("status"), silent ? "no news" : STATUS.NO_EVIDENCE);
      setText(byId("unknown-title"), silent ? "No news from the robot" : next.camera ? `Nobody is heard, and ${next.camera}` : "Nobody is seen or heard");
      const since = next.quiet_s === null || next.quiet_s === undefined ? "since the page's server started" : `for ${clock(next.quiet_s)} (min:s)`;
      setText(byId("unknown-text"), silent
        ? "The emotion state is not published. The Robot page shows which part is missing."
        : next.camera ? "Check the camera: is the lens covered, or is it dark? This is not “neutral”: nothing is known."
        : `No face in view and no voice ${since}. This is not “neutral”: nothing is known.`);
      byId("senses").replaceChildren();
      setPlane([], null);
      setText(byId("plane-text"), "nobody");
      return;
    }
    setText(byId("status"), STATUS[state.status]);
    setText(byId("label"), name(state.label));
    setText(byId("sure"), `${percent(state.confidence)} sure`);
    byId("swatch").style.setProperty("--tone", settings.colours[state.label]);
    setText(byId("basis"), `${BASIS[state.status]}, shown ${state.latency_ms} ms after it was captured`);
    setText(byId("plane-text"), `${signed(state.valence)} / ${signed(state.arousal)}`);
    replace(byId("senses"), ...state.evidence.map((item) => el("div", {},
      el("dt", {}, { visual: "Face says", acoustic: "Voice says", text: "Words say" }[item.modality]),
      el("dd", {}, `${name(item.label)} ${percent(item.confidence)}`),
      el("dd", { class: "soft" }, `weight ${item.weight.toFixed(2)}, ${item.age < 1 ? `${Math.round(1000 * item.age)} ms` : `${item.age.toFixed(1)} s`} old`))));
    setPlane(points.filter((point) => point[0] > newest() - 8), state);
  }

  // --- trail
  function addTrail(trail) {
    const before = newest();
    if (trail.whole) points = trail.points;
    else if (trail.points.length) {
      const from = trail.points[0][0];
      if (points.length && from < points[0][0] - 1) points = trail.points; // the clock was set back
      else points = points.filter((point) => point[0] < from).concat(trail.points);
    }
    if (newest() !== before) pointAt = performance.now();
    points = points.filter((point) => point[0] > newest() - 2 * SHOWN_S);
    drawArc();
  }

  function drawArc() {
    const end = arcEnd();
    showPick();
    const known = points.filter((point) => point[1] !== 0 && point[0] > end - SHOWN_S);
    const mean = known.reduce((sum, point) => sum + point[4], 0) / Math.max(1, known.length);
    chart = arc(byId("arc"), {
      points, from: end - SHOWN_S, to: end, step: 0.5, cursor: picked === null ? null : pickedTime(), span,
      tick: (from, to) => [0, 30, 60, 90, 120].map((ago) => [to - ago, ago ? `−${ago} s` : "now"]),
      label: `The last two minutes: ${known.length ? `${mood(mean)} on average, evidence for ${Math.round(known.length / 2)} of 120 s` : "no evidence"}. The table below has the values.`,
    });
    if (byId("arc-details").open) fillTable(end);
  }

  function fillTable(end) {
    const rows = [];
    for (let ago = 0; ago <= SHOWN_S; ago += 10) {
      const point = points.findLast((p) => p[0] <= end - ago && p[0] > end - ago - 1.2);
      const cells = point && point[1] !== 0 ? [name(point[2]), percent(point[3]), signed(point[4]), signed(point[5])] : ["no evidence", "", "", ""];
      rows.push(el("tr", {}, el("td", {}, String(ago)), ...cells.map((cell, i) => el("td", i ? { class: "n" } : {}, cell))));
    }
    replace(byId("arc-table"), ...rows);
  }

  /** Choose a moment of the arc, in seconds of its time axis, and so many seconds before it. */
  function pick(at, before = span) {
    span = Math.max(0, Math.min(settings.feedback?.stretch_s ?? 0, Math.round(before)));
    // "now" moves on with the arc; any other choice stays where the arc was when it was made.
    picked = at > arcEnd() - 0.5 && !span ? null : Math.min(at, arcEnd());
    drawArc();
  }
  const pickedTime = () => Math.max(arcEnd() - SHOWN_S + 1, picked ?? arcEnd());
  function showPick() {
    cursor = Math.round(pickedTime() - arcEnd());
    byId("moment").value = cursor;
    byId("length").value = span;
    setText(byId("length-text"), `${span} s`);
    const point = points.findLast((p) => p[0] <= pickedTime());
    const what = point && point[1] !== 0 ? name(point[2]) : "nobody";
    setText(byId("moment-text"), `${cursor ? `${-cursor} s ago` : "now"}: ${what}`);
  }
  // A click chooses a moment; dragging chooses a time range.
  let pressed = null;
  const place = (event) => chart.at(event.clientX);
  byId("arc").addEventListener("pointerdown", (event) => { pressed = chart && event.button === 0 ? { at: place(event), x: event.clientX } : null; });
  byId("arc").addEventListener("pointermove", (event) => {
    if (!pressed || !(event.buttons & 1) || Math.abs(event.clientX - pressed.x) < 6) return;
    const [a, b] = [pressed.at, place(event)].sort((m, n) => m - n);
    pick(b, b - a);
  });
  byId("arc").addEventListener("pointerup", (event) => {
    if (pressed && Math.abs(event.clientX - pressed.x) < 6) pick(place(event), 0);
    pressed = null;
  });
  byId("moment").addEventListener("input", (event) => pick(arcEnd() + Number(event.target.value)));
  byId("length").addEventListener("input", (event) => pick(pickedTime(), Number(event.target.value)));
  byId("arc-details").addEventListener("toggle", drawArc);
  byId("correct-moment").addEventListener("click", () => {
    const when = pickedTime();
    const point = points.findLast((p) => p[0] <= when);
    correct({ time: when - span, until: span ? when : null, said: point && point[1] !== 0 ? point[2] : undefined });
  });
  byId("pick").hidden = !settings.feedback;
  new ResizeObserver(drawArc).observe(byId("arc"));

  // --- group
  function showGroup(group) {
    const count = group.faces;
    setText(byId("group-count"), count === null ? "" : count === 1 ? "1 face" : `${count} faces`);
    if (count === null) return replace(byId("group"), el("p", { class: "soft" }, "No news from the robot."));
    if (!count) return replace(byId("group"), el("p", { class: "soft" }, group.camera ? `No face: ${group.camera}.` : "No face in the camera image."));
    const shares = group.probabilities.map((p, i) => [p, i]).filter(([p]) => p > 0.005).sort((a, b) => b[0] - a[0]);
    const stack = el("div", { class: "stack", role: "img", "aria-label": `Together: ${shares.map(([p, i]) => `${name(i)} ${percent(p)}`).join(", ")}` },
      ...shares.map(([p, i]) => { const part = el("i", { tone: i }); part.style.flexGrow = p; return part; }));
    const agree = group.agreement === null ? null : `They ${group.agreement > 0.8 ? "agree" : group.agreement > 0.5 ? "partly agree" : "differ"} (${percent(group.agreement)} alike). `;
    replace(byId("group"), stack,
      el("p", { class: "soft" }, `${agree ?? ""}Together ${mood(group.valence)}.`),
      el("ul", { class: "people" }, ...group.people.map((person) => el("li", {},
        el("span", {}, swatch(person.label), `${name(person.label)} ${percent(person.confidence)}`),
        el("span", { class: "soft" }, group.differing.includes(person.id) ? "unlike the others" : `valence ${signed(person.valence)}`)))));
  }

  // --- conversation
  async function steer(what, body) {
    try { await api(`conversation/${what}`, { method: "POST", body: JSON.stringify(body ?? {}) }); } catch (error) { byId("talk").append(el("p", { class: "error", role: "alert" }, error.message)); }
  }
  let talkKey = "";
  function showTalk(talk) {
    setText(byId("talk-time"), talk.id ? clock(talk.seconds) : "");
    const key = JSON.stringify([talk.listening, talk.id]);
    if (key !== talkKey) {
      talkKey = key;
      if (!talk.listening) replace(byId("talk"), el("p", { class: "soft" }, "Conversations are not followed now: no news from interaction_node (interaction:=true starts it)."));
      else if (!talk.id) replace(byId("talk"), el("p", { class: "soft" }, "None is in progress. One starts automatically when a person engages."),
        settings.steer ? el("div", { class: "row" }, el("button", { type: "button", class: "quiet", onclick: () => steer("start") }, "Start one now")) : null);
      else replace(byId("talk"), el("dl", { class: "facts", id: "talk-facts" }),
        settings.steer ? el("div", { class: "row" }, el("button", { type: "button", class: "quiet", onclick: () => steer("stop") }, "End it and write the report")) : null);
    }
    if (talk.id) {
      const trend = talk.trend === null ? "not known yet" : Math.abs(talk.trend) < 0.05 ? "steady" : talk.trend > 0 ? "getting better" : "getting worse";
      const facts = [["Mood so far", mood(talk.mean_valence)], ["Trend", trend], ["Turning points", String(talk.turning_points)], ["Shape", talk.shape]];
      replace(byId("talk-facts"), ...facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
    }
  }

  showState({ status: null });
  setText(byId("unknown-title"), "Waiting for the robot");
  setText(byId("unknown-text"), "");

  // --- for screen readers: what was stable for 3 s, at most every 10 s
  let readAt = -Infinity, readText = "", pending = "", since = 0;
  function announce() {
    const now = performance.now();
    const text = state ? `${name(state.label)}, ${STATUS[state.status]}` : silent ? "No news from the robot" : byId("unknown-title").textContent;
    if (text !== pending) [pending, since] = [text, now];
    if (text !== readText && now - since > 3000 && now - readAt > 10000) {
      [readAt, readText] = [now, text];
      byId("announce").textContent = text;
    }
  }
  setInterval(() => { watchVideo(); if (silent) drawArc(); announce(); }, 1000);

  return {
    frame,
    state: (next) => {
      silent = next.status === null;
      if (silent && next.silent_s !== null) pointAt = performance.now() - 1000 * next.silent_s;
      showState(next);
    },
    trail: addTrail, group: showGroup, conversation: showTalk,
  };
}
