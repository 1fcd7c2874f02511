// Analysis of the visitor's own picture, clip or sound: a file, or the camera and microphone of the browser.
import { arc, bars, ticks } from "./charts.js";
import { clock, number, percent, signed, t, withMargin } from "./messages.js";
import { api, byId, detail, el, mood, name, named, replace, settings, withShare } from "./util.js";

const CLIP_MS = 5000;

export function view() {
  const result = byId("try-result"), drop = byId("drop"), file = byId("file"), capture = byId("capture"), preview = byId("preview");
  let stream = null;
  const on = settings.try !== null;
  byId("try-limits").textContent = on
    ? t("try.limits", { mb: settings.try.max_mb, n: settings.try.max_seconds })
    : t("try.off");
  if (on) byId("try-formats").textContent = settings.try.formats;
  for (const id of ["file", "use-camera", "use-clip", "use-microphone"]) byId(id).disabled = !on;

  async function send(blob, what) {
    if (!on) return;
    replace(result, el("p", { class: "busy" }, el("i"), el("span", {}, t("try.busy", { what }))));
    if (blob.size > settings.try.max_mb * 1e6) return fail(what, t("try.too_large", { size: number(blob.size / 1e6, { maximumFractionDigits: 1 }), mb: settings.try.max_mb }));
    try {
      const answer = await api("try", { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });
      replace(result, el("div", { class: "result" }, el("h2", { class: "part" }, what), ...(answer.kind === "picture" ? picture(answer) : recording(answer))));
      for (const draw of later.splice(0)) draw();
    } catch (error) { fail(what, error.message); }
  }

  function fail(what, reason) {
    replace(result, el("div", { class: "unknown" }, el("strong", {}, t("try.failed")), el("p", {}, what), el("p", { class: "error", role: "alert" }, reason)));
  }

  const later = []; // charts that are drawn once they are in the page and have a width
  const image = (data, kind, alt) => el("img", { src: `data:image/${kind};base64,${data}`, alt });
  const why = ({ emotion: label, picture: data }, emotion = named("emotion", label)) => el("figure", {}, image(data, "png", t("try.map_alt", { emotion })), el("figcaption", {}, t("try.map", { emotion }), el("span", { class: "expert-only" }, ` ${t("try.map_method")}`)));

  function verdict(emotion) {
    const list = el("ul", { class: "bars", "aria-label": t("live.bars_label") });
    bars(list)(emotion.probabilities);
    return [el("p", { class: "headline" }, el("i", { class: "swatch", tone: emotion.label }), el("strong", {}, name(emotion.label)), el("span", {}, t("live.sure", { share: percent(emotion.confidence) }))),
      el("p", { class: "soft" }, mood(emotion.valence), el("span", { class: "expert-only" }, ` (${t("try.numbers", { valence: signed(emotion.valence), arousal: signed(emotion.arousal) })})`)), list];
  }

  function picture(answer) {
    const boxes = el("div", { id: "try-boxes" });
    boxes.style.position = "absolute";
    const shown = image(answer.picture, "jpeg", t("try.your_picture"));
    const place = () => {
      const scale = Math.min(shown.clientWidth / answer.width, shown.clientHeight / answer.height);
      const [w, h] = [answer.width * scale, answer.height * scale];
      Object.assign(boxes.style, { width: `${w}px`, height: `${h}px`, left: `${(shown.clientWidth - w) / 2}px`, top: `${(shown.clientHeight - h) / 2}px` });
    };
    shown.addEventListener("load", place);
    new ResizeObserver(place).observe(shown);
    answer.faces.forEach((face) => {
      const [x, y, w, h] = face.box.map((v) => `${100 * v}%`);
      const box = el("div", { class: face.box[1] < 0.09 ? "face low" : "face", tone: face.label, "aria-hidden": "true" }, el("span", {}, withShare(face.label, face.confidence)));
      Object.assign(box.style, { left: x, top: y, width: w, height: h });
      boxes.append(box);
    });
    const stage = el("div", { class: "stage" }, shown, boxes);
    if (!answer.faces.length) return [stage, el("div", { class: "unknown" }, el("strong", {}, t("try.no_face")), el("p", { class: "soft" }, t("try.no_face_text")))];
    return [stage, ...answer.faces.map((face) => el("div", { class: "person" }, el("div", {}, ...verdict(face), el("p", { class: "soft" }, t("try.quality", { share: percent(face.quality) }))), face.explanation ? why(face.explanation) : null))];
  }

  function recording(answer) {
    const chart = el("div", { class: "chart" });
    const senses = t(`try.of_${answer.video ? (answer.audio ? "both" : "picture") : "sound"}`, { n: Math.round(10 * answer.seconds) / 10 });
    const score = answer.score === null ? t("try.no_score") : t("try.score", { score: withMargin(answer.score, answer.margin) });
    later.push(() => arc(chart, { points: answer.moments, from: 0, to: answer.seconds, step: answer.step, tick: ticks, label: t("arc.over", { time: clock(answer.seconds) }) }));
    return [
      answer.emotion ? el("div", { class: "person" }, el("div", {}, ...verdict(answer.emotion)), answer.explanation ? why(answer.explanation) : null)
        : el("div", { class: "unknown" }, el("strong", {}, t("try.nobody")), el("p", { class: "soft" }, t("try.nobody_text"))),
      el("p", { class: "legend soft" }, el("i", { class: "line valence" }), t("arc.pleasant"), el("i", { class: "line arousal" }), t("arc.excited"), el("i", { class: "gapkey" }), t("status.no_evidence")),
      chart,
      el("p", { class: "soft" }, [senses, t("try.coverage", { share: percent(answer.coverage) }), score, answer.cut ? t("try.cut", { n: settings.try.max_seconds }) : ""].join(" "),
        answer.score === null ? detail(` ${answer.reason}`) : null)];
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
    if (!navigator.mediaDevices) { fail(t("try.this_device"), t("try.https_only")); return false; }
    try { stream = await navigator.mediaDevices.getUserMedia(wanted); } catch (error) {
      fail(t("try.this_device"), error.name === "NotAllowedError" ? t("try.not_allowed") : error.name === "NotFoundError" ? t("try.no_device") : error.message);
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
    const count = () => { byId("capture-go").textContent = t("try.recording", { n: left }); if (left-- > 0) setTimeout(count, 1000); };
    count();
    setTimeout(() => { if (recorder.state !== "inactive") recorder.stop(); }, CLIP_MS);
  }

  byId("use-camera").addEventListener("click", async () => {
    if (!(await listen({ video: { width: 640, height: 480 } }))) return;
    Object.assign(byId("capture-go"), { textContent: t("try.take"), disabled: false, onclick: () => {
      const canvas = el("canvas", { width: preview.videoWidth, height: preview.videoHeight });
      canvas.getContext("2d").drawImage(preview, 0, 0);
      canvas.toBlob((blob) => { end(); send(blob, t("try.picture_name")); }, "image/jpeg", 0.92);
    } });
  });
  byId("use-clip").addEventListener("click", async () => {
    if (!(await listen({ video: { width: 640, height: 480 }, audio: true }))) return;
    Object.assign(byId("capture-go"), { textContent: t("try.record", { n: CLIP_MS / 1000 }), disabled: false, onclick: () => record(t("try.clip_name")) });
  });
  byId("use-microphone").addEventListener("click", async () => {
    if (!(await listen({ audio: true }))) return;
    Object.assign(byId("capture-go"), { textContent: t("try.record", { n: CLIP_MS / 1000 }), disabled: false, onclick: () => record(t("try.sound_name")) });
  });
  return { shown: () => { if (on) api("try/prepare", { method: "POST" }).catch(() => null); } };
}
