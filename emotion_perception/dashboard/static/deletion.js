// Deleting stored conversations: one dialog that says what is deleted, and the request.
import { t } from "./messages.js";
import { api, byId, el, replace } from "./util.js";

let dialog = null;

/** Ask in words; on "yes" send DELETE to path and call done. */
export function askToDelete(title, path, done) {
  dialog ??= document.body.appendChild(el("dialog", { class: "sheet small", id: "sure-delete-conversations", "aria-labelledby": "delete-conversations-title" }));
  const problem = el("p", { class: "error", role: "alert" });
  const yes = el("button", { type: "button", class: "danger", id: "delete-conversations-yes", onclick: async () => {
    yes.disabled = true;
    try {
      const { conversations, running } = await api(path, { method: "DELETE" });
      dialog.close();
      byId("announce").textContent = `${t("delete.done", { n: conversations })} ${running ? t("delete.running") : ""}`;
      done();
    } catch (error) {
      problem.textContent = error.message;
      yes.disabled = false;
    }
  } }, t("delete.yes"));
  replace(dialog,
    el("h2", { id: "delete-conversations-title" }, title),
    el("p", {}, t("delete.text")), problem,
    el("div", { class: "row end" }, el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("dialog.keep")), yes));
  dialog.showModal();
}
