// Corrections: reviewing those of others, deleting all of them.
import { CORRECTED } from "./correct.js";
import { capital, date, percent, t } from "./messages.js";
import { api, byId, detail, el, empty, named, replace, settings } from "./util.js";

export function view() {
  let learnt = null;

  async function load() {
    const body = byId("feedback-body");
    if (!settings.feedback) return replace(body, empty(t("feedback.off_title"), t("feedback.off")), el("p", { class: "soft" }, detail("store_corrections: true, corrections_directory: <folder>")));
    let items;
    try { items = (await api("corrections")).corrections; } catch (problem) { return replace(body, el("p", { class: "error", role: "alert" }, problem.message)); }
    if (settings.feedback.learning) {
      learnt ??= (await import("./learning.js")).learning();
      learnt.load();
    }
    const waiting = items.filter((item) => item.status === "pending"), accepted = items.filter((item) => item.status === "accepted");
    replace(byId("feedback-actions"), items.length ? el("button", { type: "button", class: "quiet danger", id: "feedback-delete", onclick: () => byId("sure-delete").showModal() }, t("feedback.delete_all")) : null);
    replace(body,
      el("p", { class: "lead" }, t("feedback.lead", { n: settings.feedback.retention_days })),
      el("h2", { class: "part" }, t("feedback.waiting", { n: waiting.length })),
      waiting.length ? el("div", { class: "cards" }, ...waiting.map(card)) : empty(t("feedback.nothing_title"), t("feedback.nothing")),
      learnt?.node,
      el("h2", { class: "part" }, t("feedback.accepted", { n: accepted.length })),
      accepted.length ? el("div", { class: "cards" }, ...accepted.map(card)) : el("p", { class: "soft" }, t("feedback.none_accepted")),
      accepted.length && !learnt ? el("p", { class: "soft" }, t("feedback.learn"), detail(el("code", {}, "emotion-train visual --feedback <corrections_directory> --data <base data>"))) : null);
  }

  function card(item) {
    const act = async (verdict) => { try { await api(`corrections/${item.id}/${verdict}`, { method: "POST" }); load(); } catch (problem) { replace(node, el("p", { class: "error", role: "alert" }, problem.message)); } };
    const source = `/api/corrections/${item.id}/evidence`;
    const [label, said] = [named("emotion", item.label), named("emotion", item.said)];
    const pending = item.status === "pending", same = item.label === item.said;
    const what = t(same ? "feedback.as_shown" : "feedback.instead_of", { label, said });
    const node = el("article", { class: "card", "aria-label": what },
      item.kind === "face" ? el("img", { src: source, alt: t("feedback.face_alt", { label }), loading: "lazy" }) : el("div", { class: "soundbox" }, el("audio", { controls: true, src: source, preload: "none", "aria-label": what })),
      el("p", { class: "say" }, capital(what), same ? null : el("span", { class: "soft expert-only" }, ` (${percent(item.confidence)})`)),
      el("p", { class: "soft" }, t("feedback.by", { who: item.annotator || t("feedback.somebody"), when: date(item.made, { dateStyle: "medium", timeStyle: "short" }) })),
      item.comment ? el("p", { dir: "auto" }, item.comment) : null,
      el("div", { class: "row" },
        pending ? el("button", { type: "button", "data-key": `accept ${item.id}`, onclick: () => act("accept"), "aria-label": t("feedback.accept_label", { what }) }, t("feedback.accept")) : null,
        el("button", { type: "button", class: "quiet danger", "data-key": `reject ${item.id}`, onclick: () => act("reject"), "aria-label": t(pending ? "feedback.reject_label" : "feedback.delete_label", { what }) }, t(pending ? "feedback.reject" : "feedback.delete"))));
    return node;
  }

  document.addEventListener(CORRECTED, load);
  byId("delete-no").addEventListener("click", () => byId("sure-delete").close());
  byId("delete-yes").addEventListener("click", async () => {
    byId("sure-delete").close();
    try { await api("corrections", { method: "DELETE" }); } catch (problem) { byId("announce").textContent = problem.message; }
    load();
  });
  return { shown: load };
}
