// The live view: video with faces, the state, the plane, the scrolling arc, the group, the conversation.
import { arc, bars, plane } from "./charts.js";
import { clock, number, percent, signed, t } from "./messages.js";
import { api, byId, detail, el, mood, name, named, replace, setText, settings, swatch, withShare } from "./util.js";

const SHOWN_S = 120;
const LATE_S = 1.5; // points arrive every half second; the arc moves on without them after this
const correct = async (what) => (await import("./correct.js")).correct(what);

export function view() {
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
    frames = frames.filter((at) => drawnAt - at < 2000);
    frames.push(drawnAt);
    setText(byId("camera-note"), t("live.camera_note", { width: String(header.width), height: String(header.height), rate: Math.max(1, Math.round(frames.length / 2)) }));
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
      const what = withShare(face.label, face.confidence);
      setText(box.firstChild, what);
      box.setAttribute("aria-label", t(face.chosen ? "live.partner_label" : "live.face_label", { what }));
    }
  }

  function watchVideo() {
    const quiet = performance.now() - drawnAt > 2500;
    byId("no-picture").hidden = !quiet;
    if (!quiet) return;
    drawFaces([]);
    setText(byId("camera-note"), "");
    setText(byId("no-picture-text"), t(settings.video === false ? "live.video_off" : drawnAt ? "live.no_image" : "live.waiting_camera"));
  }

  // --- state
  const statusWord = (status) => t(`status.${status.toLowerCase()}`);
  function showUnknown(next) {
    const nothing = next.status === null, camera = next.camera ? named("camera", next.camera) : "";
    setText(byId("status"), nothing ? t("status.no_news") : statusWord("NO_EVIDENCE"));
    setText(byId("unknown-title"), nothing ? t("live.no_news") : camera ? t("live.nobody_camera", { camera }) : t("live.nobody"));
    const since = next.quiet_s === null || next.quiet_s === undefined ? t("live.since_start") : t("live.since", { time: clock(next.quiet_s) });
    setText(byId("unknown-text"), nothing ? t("live.no_news_text") : camera ? t("live.check_camera") : t("live.nobody_text", { since }));
    byId("senses").replaceChildren();
    setPlane([], null);
    setText(byId("plane-text"), t("live.nobody_short"));
  }

  function showState(next) {
    state = next.status && next.status !== "NO_EVIDENCE" ? next : null;
    byId("known").hidden = !state;
    byId("unknown").hidden = Boolean(state);
    setBars(state?.probabilities);
    if (!state) return showUnknown(next);
    setText(byId("status"), statusWord(state.status));
    setText(byId("label"), name(state.label));
    setText(byId("sure"), t("live.sure", { share: percent(state.confidence) }));
    byId("swatch").style.setProperty("--tone", settings.colours[state.label]);
    setText(byId("basis"), t(`basis.${state.status.toLowerCase()}`));
    setText(byId("delay"), t("live.delay", { n: state.latency_ms }));
    setText(byId("plane-text"), mood(state.valence));
    setText(byId("plane-numbers"), `${signed(state.valence)} / ${signed(state.arousal)}`);
    replace(byId("senses"), ...state.evidence.map((item) => el("div", {},
      el("dt", {}, t(`sense.${item.modality}`)),
      el("dd", {}, withShare(item.label, item.confidence)),
      el("dd", { class: "soft expert-only" }, t("live.weight", { weight: number(item.weight, { minimumFractionDigits: 2, maximumFractionDigits: 2 }), age: number(item.age, { maximumFractionDigits: 2 }) })))));
    setPlane(points.filter((point) => point[0] > newest() - 8), state);
    return undefined;
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

  const ago = (seconds) => t("live.seconds_ago", { n: seconds });
  function drawArc() {
    const end = arcEnd();
    showPick();
    const known = points.filter((point) => point[1] !== 0 && point[0] > end - SHOWN_S);
    const mean = known.reduce((sum, point) => sum + point[4], 0) / Math.max(1, known.length);
    chart = arc(byId("arc"), {
      points, from: end - SHOWN_S, to: end, step: 0.5, cursor: picked === null ? null : pickedTime(), span,
      tick: (from, to) => [0, 30, 60, 90, 120].map((seconds) => [to - seconds, seconds ? t("live.axis_ago", { n: seconds }) : t("live.now")]),
      label: known.length ? t("live.arc_label", { mood: mood(mean), seconds: Math.round(known.length / 2) }) : t("live.arc_label_none"),
    });
    if (byId("arc-details").open) fillTable(end);
  }

  function fillTable(end) {
    const rows = [];
    for (let seconds = 0; seconds <= SHOWN_S; seconds += 10) {
      const point = points.findLast((p) => p[0] <= end - seconds && p[0] > end - seconds - 1.2);
      const seen = point && point[1] !== 0;
      const cells = seen ? [name(point[2]), percent(point[3]), mood(point[4]), signed(point[4]), signed(point[5])] : [t("status.no_evidence"), "", "", "", ""];
      const kinds = ["", "n", "", "n expert-only", "n expert-only"];
      rows.push(el("tr", {}, el("td", {}, number(seconds)), ...cells.map((cell, i) => el("td", kinds[i] ? { class: kinds[i] } : {}, cell))));
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
    setText(byId("length-text"), t("unit.seconds", { n: span }));
    const point = points.findLast((p) => p[0] <= pickedTime());
    const what = point && point[1] !== 0 ? name(point[2]) : t("live.nobody_short");
    setText(byId("moment-text"), t("live.moment", { when: cursor ? ago(-cursor) : t("live.now"), what }));
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
  const soft = (text) => el("p", { class: "soft" }, text);
  function showGroup(group) {
    const count = group.faces;
    setText(byId("group-count"), count === null ? "" : t("group.faces", { n: count }));
    if (count === null) return replace(byId("group"), soft(t("group.no_news")));
    if (!count) return replace(byId("group"), soft(group.camera ? t("group.camera", { camera: named("camera", group.camera) }) : t("group.no_face")));
    const shares = group.probabilities.map((p, i) => [p, i]).filter(([p]) => p > 0.005).sort((a, b) => b[0] - a[0]);
    const stack = el("div", { class: "stack", role: "img", "aria-label": t("group.label", { list: shares.map(([p, i]) => withShare(i, p)).join(", ") }) },
      ...shares.map(([p, i]) => { const part = el("i", { tone: i }); part.style.flexGrow = p; return part; }));
    const agree = group.agreement === null ? "" : t(group.agreement > 0.8 ? "group.agree" : group.agreement > 0.5 ? "group.partly" : "group.differ");
    return replace(byId("group"), stack,
      el("p", { class: "soft" }, agree, " ", t("group.together", { mood: mood(group.valence) }), group.agreement === null ? null : el("span", { class: "expert-only" }, ` ${t("group.alike", { share: percent(group.agreement) })}`)),
      el("ul", { class: "people" }, ...group.people.map((person) => el("li", {},
        el("span", {}, swatch(person.label), withShare(person.label, person.confidence)),
        el("span", { class: "soft" }, group.differing.includes(person.id) ? t("group.unlike") : mood(person.valence), el("span", { class: "expert-only" }, ` ${signed(person.valence)}`))))));
  }

  // --- conversation
  async function steer(what) {
    try { await api(`conversation/${what}`, { method: "POST", body: "{}" }); } catch (error) { byId("talk").append(el("p", { class: "error", role: "alert" }, error.message)); }
  }
  const steering = (what, text) => (settings.steer ? el("div", { class: "row" }, el("button", { type: "button", class: "quiet", id: "steer", onclick: () => steer(what) }, text)) : null);
  let talkKey = "";
  function showTalk(talk) {
    setText(byId("talk-time"), talk.id ? clock(talk.seconds) : "");
    const key = JSON.stringify([talk.listening, talk.id]);
    if (key !== talkKey) {
      talkKey = key;
      if (!talk.listening) replace(byId("talk"), el("p", { class: "soft" }, t("talk.not_followed"), detail(" no news from interaction_node (interaction:=true starts it)")));
      else if (!talk.id) replace(byId("talk"), soft(t("talk.none")), steering("start", t("talk.start")));
      else replace(byId("talk"), el("dl", { class: "facts", id: "talk-facts" }), steering("stop", t("talk.stop")));
    }
    if (!talk.id) return;
    const trend = talk.trend === null ? "unknown" : Math.abs(talk.trend) < 0.05 ? "steady" : talk.trend > 0 ? "better" : "worse";
    const facts = [["mood", mood(talk.mean_valence)], ["trend", t(`trend.${trend}`)], ["turns", number(talk.turning_points)], ["shape", named("shape", talk.shape)]];
    replace(byId("talk-facts"), ...facts.map(([key, value]) => el("div", {}, el("dt", {}, t(`talk.${key}`)), el("dd", {}, value))));
  }

  showState({ status: null });
  setText(byId("unknown-title"), t("live.waiting"));
  setText(byId("unknown-text"), "");

  // --- for screen readers: what was stable for 3 s, at most every 10 s
  let readAt = -Infinity, readText = "", pending = "", since = 0;
  function announce() {
    const now = performance.now();
    const text = state ? `${name(state.label)}, ${statusWord(state.status)}` : silent ? t("live.no_news") : byId("unknown-title").textContent;
    if (text !== pending) [pending, since] = [text, now];
    if (text !== readText && now - since > 3000 && now - readAt > 10000) {
      [readAt, readText] = [now, text];
      byId("announce").textContent = text;
    }
  }
  setInterval(() => {
    if (byId("live").hidden) return;
    watchVideo();
    if (silent) drawArc();
    announce();
  }, 1000);

  return {
    frame,
    sections: {
      state: (next) => {
        silent = next.status === null;
        if (silent && next.silent_s !== null) pointAt = performance.now() - 1000 * next.silent_s;
        showState(next);
      },
      trail: addTrail, group: showGroup, conversation: showTalk,
    },
  };
}
