// Analysis of the visitor's own picture, clip or sound: a file, or the camera and microphone of the browser.
import { arc, bars, ticks } from "./charts.js";
import { api, byId, clock, el, mood, name, percent, replace, settings, signed } from "./util.js";

const CLIP_MS = 5000;

export function tryIt() {
  const result = byId("try-result"), drop = byId("drop"), file = byId("file"), capture = byId("capture"), preview = byId("preview");
  let stream = null;
  const on = settings.try !== null;
  byId("try-limits").textContent = on
    ? `${settings.try.formats}; up to ${settings.try.max_mb} MB; of a recording the first ${settings.try.max_seconds} s`
    : "Uploads are turned off on this robot.";
  for (const id of ["file", "use-camera", "use-clip", "use-microphone"]) byId(id).disabled = !on;

  async function send(blob, what) {
    if (!on) return;
    replace(result, el("p", { class: "busy" }, el("i"), el("span", {}, "Analysing ", el("strong", {}, what), "…")));
    if (blob.size > settings.try.max_mb * 1e6) return fail(what, `the file has ${(blob.size / 1e6).toFixed(1)} MB; at most ${settings.try.max_mb} MB are taken`);
    try {
      const answer = await api("try", { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });
      replace(result, el("div", { class: "result" }, el("h2", { class: "part" }, what), ...(answer.kind === "picture" ? picture(answer) : recording(answer))));
      for (const draw of later.splice(0)) draw();
    } catch (error) { fail(what, error.message); }
  }

  function fail(what, reason) {
    replace(result, el("div", { class: "unknown" }, el("strong", {}, "This cannot be analysed"), el("p", {}, what), el("p", { class: "error", role: "alert" }, reason)));
  }

  const later = []; // charts that are drawn once they are in the page and have a width
  const image = (data, kind, alt) => el("img", { src: `data:image/${kind};base64,${data}`, alt });
  const why = ({ emotion, picture: data }) => el("figure", {}, image(data, "png", `The face, and next to it the same face with a heat map: bright regions supported ${emotion}`), el("figcaption", {}, `Occlusion sensitivity: bright regions supported “${emotion}”`));

  function verdict(emotion) {
    const list = el("ul", { class: "bars", "aria-label": "Probability of each emotion" });
    bars(list)(emotion.probabilities);
    return [el("p", { class: "headline" }, el("i", { class: "swatch", tone: emotion.label }), el("strong", {}, name(emotion.label)), el("span", {}, `${percent(emotion.confidence)} sure`)),
      el("p", { class: "soft" }, `Valence ${signed(emotion.valence)}, arousal ${signed(emotion.arousal)}: ${mood(emotion.valence)}`), list];
  }

  function picture(answer) {
    const boxes = el("div", { id: "try-boxes" });
    boxes.style.position = "absolute";
    const shown = image(answer.picture, "jpeg", "Your picture");
    const place = () => {
      const scale = Math.min(shown.clientWidth / answer.width, shown.clientHeight / answer.height);
      const [w, h] = [answer.width * scale, answer.height * scale];
      Object.assign(boxes.style, { width: `${w}px`, height: `${h}px`, left: `${(shown.clientWidth - w) / 2}px`, top: `${(shown.clientHeight - h) / 2}px` });
    };
    shown.addEventListener("load", place);
    new ResizeObserver(place).observe(shown);
    answer.faces.forEach((face) => {
      const [x, y, w, h] = face.box.map((v) => `${100 * v}%`);
      const box = el("div", { class: face.box[1] < 0.09 ? "face low" : "face", tone: face.label, "aria-hidden": "true" }, el("span", {}, `${name(face.label)} ${percent(face.confidence)}`));
      Object.assign(box.style, { left: x, top: y, width: w, height: h });
      boxes.append(box);
    });
    const stage = el("div", { class: "stage" }, shown, boxes);
    if (!answer.faces.length) return [stage, el("div", { class: "unknown" }, el("strong", {}, "No face in it"), el("p", { class: "soft" }, "Without a face there is no estimate; that is not “neutral”."))];
    return [stage, ...answer.faces.map((face) => el("div", { class: "person" }, el("div", {}, ...verdict(face), el("p", { class: "soft" }, `Picture quality of the face: ${percent(face.quality)}`)), face.explanation ? why(face.explanation) : null))];
  }

  function recording(answer) {
    const chart = el("div", { class: "chart" });
    const senses = answer.video ? (answer.audio ? "picture and sound" : "picture, no sound") : "sound";
    const score = answer.score === null ? `No satisfaction score: ${answer.reason}.` : `Satisfaction ${answer.score} ± ${answer.margin} of 100.`;
    later.push(() => arc(chart, { points: answer.moments, from: 0, to: answer.seconds, step: answer.step, tick: ticks, label: `Emotional arc over ${clock(answer.seconds)}. ${answer.text}` }));
    return [
      answer.emotion ? el("div", { class: "person" }, el("div", {}, ...verdict(answer.emotion)), answer.explanation ? why(answer.explanation) : null)
        : el("div", { class: "unknown" }, el("strong", {}, "Nobody is seen or heard in it"), el("p", { class: "soft" }, "Without evidence there is no estimate; that is not “neutral”.")),
      el("p", { class: "legend soft" }, el("i", { class: "line valence" }), "pleasant", el("i", { class: "line arousal" }), "excited", el("i", { class: "gapkey" }), "no evidence"),
      chart,
      el("p", { class: "soft" }, `${answer.seconds.toFixed(1)} s of ${senses}; evidence for ${percent(answer.coverage)}. ${score}${answer.cut ? ` Only the first ${settings.try.max_seconds} s were analysed.` : ""}`)];
  }

  // --- files
  file.addEventListener("change", () => { if (file.files[0]) send(file.files[0], file.files[0].name); file.value = ""; });
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); const dropped = event.dataTransfer.files[0]; if (dropped) send(dropped, dropped.name); });

  // --- this device
  function end() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    preview.srcObject = null;
    capture.hidden = true;
  }
  byId("capture-stop").addEventListener("click", end);

  async function listen(wanted) {
    end();
    if (!navigator.mediaDevices) { fail("This device", "browsers allow camera and microphone only on https pages and on this machine itself (http://127.0.0.1)"); return false; }
    try { stream = await navigator.mediaDevices.getUserMedia(wanted); } catch (error) {
      fail("This device", error.name === "NotAllowedError" ? "the browser was not allowed to use it" : error.name === "NotFoundError" ? "there is none" : error.message);
      return false;
    }
    capture.hidden = false;
    preview.hidden = !wanted.video;
    if (wanted.video) { preview.srcObject = stream; await preview.play(); }
    return true;
  }

  function record(what) {
    const chunks = [], recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => chunks.push(event.data);
    recorder.onstop = () => { const blob = new Blob(chunks, { type: recorder.mimeType }); end(); send(blob, what); };
    recorder.start();
    byId("capture-go").disabled = true;
    let left = CLIP_MS / 1000;
    const count = () => { byId("capture-go").textContent = `Recording, ${left} s`; if (left-- > 0) setTimeout(count, 1000); };
    count();
    setTimeout(() => { if (recorder.state !== "inactive") recorder.stop(); }, CLIP_MS);
  }

  byId("use-camera").addEventListener("click", async () => {
    if (!(await listen({ video: { width: 640, height: 480 } }))) return;
    Object.assign(byId("capture-go"), { textContent: "Take the picture", disabled: false, onclick: () => {
      const canvas = el("canvas", { width: preview.videoWidth, height: preview.videoHeight });
      canvas.getContext("2d").drawImage(preview, 0, 0);
      canvas.toBlob((blob) => { end(); send(blob, "Picture of this camera"); }, "image/jpeg", 0.92);
    } });
  });
  byId("use-clip").addEventListener("click", async () => {
    if (!(await listen({ video: { width: 640, height: 480 }, audio: true }))) return;
    Object.assign(byId("capture-go"), { textContent: "Record 5 s", disabled: false, onclick: () => record("Clip of this camera") });
  });
  byId("use-microphone").addEventListener("click", async () => {
    if (!(await listen({ audio: true }))) return;
    Object.assign(byId("capture-go"), { textContent: "Record 5 s", disabled: false, onclick: () => record("Sound of this microphone") });
  });
  return { shown: () => { if (on) api("try/prepare", { method: "POST" }).catch(() => null); } };
}
