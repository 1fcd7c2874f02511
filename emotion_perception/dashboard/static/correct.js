// The dialog that takes the correct emotion of a face or of a moment.
import { remember, remembered, t } from "./messages.js";
import { api, byId, el, name, setText, settings } from "./util.js";

export const CORRECTED = "corrected"; // event of the document after a correction was kept

const dialog = byId("correct"), form = byId("correct-form"), error = byId("correct-error");
let about = {};

byId("correct-choices").append(...settings.emotions.map((_, i) => el("label", { tone: i },
  el("input", { type: "radio", name: "label", value: i, required: true }), el("i", { class: "swatch s", tone: i, "aria-hidden": "true" }), name(i))));

/** what: face_id, or time in seconds and, for a time range, until; said: index of the emotion that the robot showed. */
export function correct(what) {
  about = what;
  const off = !settings.feedback;
  form.reset();
  byId("annotator").value = remembered("annotator") ?? "";
  error.textContent = off ? t("feedback.off") : "";
  byId("correct-send").hidden = off;
  const place = what.face_id ? "face" : what.until ? "range" : "moment";
  const values = { emotion: what.said === undefined ? "" : name(what.said), n: Math.round(what.until - what.time) };
  setText(byId("correct-about"), t(`correct.${what.said === undefined ? "none" : "said"}_${place}`, values));
  for (const input of form.elements.label) input.disabled = off || (Boolean(what.face_id) && !settings.face_emotions.includes(settings.emotions[input.value]));
  dialog.showModal();
}

byId("correct-cancel").addEventListener("click", () => dialog.close());
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const annotator = byId("annotator").value.trim();
  remember("annotator", annotator);
  byId("correct-send").disabled = true;
  try {
    await api("corrections", { method: "POST", body: JSON.stringify({ label: Number(form.elements.label.value), face_id: about.face_id ?? "", time: about.time ?? null, until: about.until ?? null, annotator, comment: byId("comment").value.trim() }) });
    dialog.close();
    byId("announce").textContent = t("correct.kept");
    document.dispatchEvent(new CustomEvent(CORRECTED));
  } catch (problem) { error.textContent = problem.message; } finally { byId("correct-send").disabled = false; }
});
