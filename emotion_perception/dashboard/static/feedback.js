// Corrections: entering them, reviewing those of others, deleting all of them.
import { empty } from "./conversations.js";
import { api, byId, el, name, percent, replace, setText, settings } from "./util.js";

const OFF = "Storing faces and voices was not consented to in the robot's configuration: dashboard_node's store_corrections is false. With it, and with the consent of the people in view, what you correct here is kept for training.";

export function feedback() {
  const dialog = byId("correct"), form = byId("correct-form"), error = byId("correct-error");
  let about = {};
  byId("correct-choices").append(...settings.emotions.map((emotion, i) => el("label", { tone: i }, el("input", { type: "radio", name: "label", value: i, required: true }), el("i", { class: "swatch s", tone: i, "aria-hidden": "true" }), emotion)));
  byId("annotator").value = localStorage.getItem("annotator") ?? "";

  /** what: face_id, or time in seconds and, for a time range, until; said: index of the emotion that the robot showed. */
  function correct(what) {
    about = what;
    const off = !settings.feedback;
    form.reset();
    byId("annotator").value = localStorage.getItem("annotator") ?? "";
    error.textContent = off ? OFF : "";
    byId("correct-send").hidden = off;
    setText(byId("correct-about"), `${what.said === undefined ? "The robot showed no emotion" : `The robot showed “${name(what.said)}”`}${what.face_id ? " for this face" : what.until ? ` at the end of these ${Math.round(what.until - what.time)} s. Your answer applies to all of them` : ` at this moment`}.`);
    for (const input of form.elements.label) input.disabled = off || (Boolean(what.face_id) && !settings.face_emotions.includes(settings.emotions[input.value]));
    dialog.showModal();
  }
  byId("correct-cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const annotator = byId("annotator").value.trim();
    localStorage.setItem("annotator", annotator);
    byId("correct-send").disabled = true;
    try {
      await api("corrections", { method: "POST", body: JSON.stringify({ label: Number(form.elements.label.value), face_id: about.face_id ?? "", time: about.time ?? null, until: about.until ?? null, annotator, comment: byId("comment").value.trim() }) });
      dialog.close();
      byId("announce").textContent = "Kept for review";
      load();
    } catch (problem) { error.textContent = problem.message; } finally { byId("correct-send").disabled = false; }
  });

  async function load() {
    const body = byId("feedback-body");
    if (!settings.feedback) return replace(body, empty("No feedback is kept", OFF));
    let items;
    try { items = (await api("corrections")).corrections; } catch (problem) { return replace(body, el("p", { class: "error", role: "alert" }, problem.message)); }
    const waiting = items.filter((item) => item.status === "pending"), accepted = items.filter((item) => item.status === "accepted");
    replace(byId("feedback-actions"), items.length ? el("button", { type: "button", class: "quiet danger", onclick: () => byId("sure-delete").showModal() }, "Delete everything…") : null);
    replace(body,
      el("p", { class: "lead" }, `Corrections are reviewed by a second person. Training uses the accepted ones; a rejected one is deleted at once, every other after ${settings.feedback.retention_days} days.`),
      el("h2", { class: "part" }, `Waiting for review (${waiting.length})`),
      waiting.length ? el("div", { class: "cards" }, ...waiting.map(card)) : empty("Nothing to review", "Click a face on the live page, or a moment of the arc, to enter the correct emotion."),
      el("h2", { class: "part" }, `Accepted (${accepted.length})`),
      accepted.length ? el("div", { class: "cards" }, ...accepted.map(card)) : el("p", { class: "soft" }, "None yet."),
      accepted.length ? el("p", { class: "soft" }, "To learn from them: ", el("code", {}, "emotion-train visual --feedback <corrections_directory> --data <base data>"), " for faces, ", el("code", {}, "emotion-train acoustic …"), " for voices. A model that became worse is not installed; --roll-back restores the previous one.") : null);
  }

  function card(item) {
    const act = async (verdict) => { try { await api(`corrections/${item.id}/${verdict}`, { method: "POST" }); load(); } catch (problem) { replace(node, el("p", { class: "error", role: "alert" }, problem.message)); } };
    const source = `/api/corrections/${item.id}/evidence`;
    const what = `${item.label}, not ${item.said}`;
    const node = el("article", { class: "card", "aria-label": what },
      item.kind === "face" ? el("img", { src: source, alt: `Face that was corrected to ${item.label}`, loading: "lazy" }) : el("div", { class: "soundbox" }, el("audio", { controls: true, src: source, preload: "none" })),
      el("p", { class: "say" }, el("b", {}, item.label), item.label === item.said ? " (as the robot showed)" : `, not ${item.said} (${percent(item.confidence)})`),
      el("p", { class: "soft" }, `${item.annotator || "somebody"}, ${new Date(1000 * item.made).toLocaleString()}`),
      item.comment ? el("p", {}, item.comment) : null,
      el("div", { class: "row" },
        item.status === "pending" ? el("button", { type: "button", onclick: () => act("accept"), "aria-label": `Accept: ${what}` }, "Accept") : null,
        el("button", { type: "button", class: "quiet danger", onclick: () => act("reject"), "aria-label": `${item.status === "pending" ? "Reject" : "Delete"}: ${what}` }, item.status === "pending" ? "Reject" : "Delete")));
    return node;
  }

  byId("delete-no").addEventListener("click", () => byId("sure-delete").close());
  byId("delete-yes").addEventListener("click", async () => {
    byId("sure-delete").close();
    try { await api("corrections", { method: "DELETE" }); } catch (problem) { byId("announce").textContent = problem.message; }
    load();
  });
  return { correct, shown: load };
}
