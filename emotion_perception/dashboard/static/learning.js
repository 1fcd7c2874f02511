// Learning from accepted corrections: what would be learnt, start, progress, result, roll-back.
import { clock, date, number, t } from "./messages.js";
import { api, byId, detail, el, name, replace, setText, settings, swatch } from "./util.js";

const PARAMETER = { face: "visual_node expression_model", voice: "acoustic_node model" };
const POLL_MS = 1000;

/** The section of the feedback view; load() reads it anew. */
export function learning() {
  const node = el("section", { class: "learning", "aria-labelledby": "learning-title" });
  let polling = 0, kind = "", bar = null, stage = null, pressed = ""; // id of the button that was pressed last

  const attempt = (path, after = load) => async (event) => {
    const button = event.currentTarget;
    pressed = button.id;
    button.disabled = true;
    try { await api(`learning/${path}`, { method: "POST" }); await after(); } catch (problem) {
      button.disabled = false;
      const line = button.closest("article, dialog").querySelector(".error") ?? button.parentElement.insertAdjacentElement("afterend", el("p", { class: "error", role: "alert" }));
      setText(line, problem.message);
    }
  };

  async function load() {
    let state;
    try { state = await api("learning"); } catch (problem) { return replace(node, el("p", { class: "error", role: "alert" }, problem.message)); }
    const focused = pressed || (node.contains(document.activeElement) ? document.activeElement.id : "");
    pressed = "";
    replace(node,
      el("h2", { class: "part", id: "learning-title" }, t("learning.title")),
      el("p", { class: "soft" }, t("learning.lead")),
      state.installed ? null : el("p", { class: "card notice" }, t("learning.install"), " ", el("code", {}, state.install)),
      el("div", { class: "grid two" }, ...state.models.map((model) => card(model, state))));
    // A redrawn button keeps the focus; if it is gone, the other one of its model gets it.
    if (focused) [byId(focused), ...node.querySelectorAll("button:not(:disabled)")].find((button) => button && !button.disabled)?.focus();
    clearTimeout(polling);
    if (state.running) polling = setTimeout(poll, POLL_MS);
  }

  async function poll() {
    if (byId("feedback").hidden || document.hidden) { polling = setTimeout(poll, POLL_MS); return; }
    let running;
    try { ({ running } = await api("learning/running")); } catch { polling = setTimeout(poll, 5 * POLL_MS); return; }
    if (!running) {
      await load();
      setText(byId("announce"), node.querySelector(`[data-kind="${kind}"] .result strong`)?.textContent ?? "");
      return;
    }
    show(running);
    polling = setTimeout(poll, POLL_MS);
  }

  function show(running) {
    kind = running.kind;
    if (running.total) { bar.max = running.total; bar.value = running.done; } else bar.removeAttribute("value");
    setText(stage, `${running.cancelled ? t("learning.cancelling") : t(`learning.stage.${running.stage}`)} · ${t("learning.elapsed", { time: clock(running.elapsed_s) })}`);
  }

  function card(model, state) {
    const title = t(`learning.kind.${model.kind}`), labels = Object.entries(model.accepted).sort((a, b) => b[1] - a[1]);
    const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
    const accepted = sum(model.accepted), fresh = sum(model.new), most = Math.max(1, ...Object.values(model.accepted));
    const mine = state.running?.kind === model.kind ? state.running : null;
    const made = el("article", { class: "card", "data-kind": model.kind, "aria-label": title },
      el("header", {}, el("h3", {}, title), el("span", { class: "soft" }, model.version ? t("learning.version", model) : t("learning.published"))),
      el("dl", { class: "facts" }, ...[["accepted", accepted], ["new", fresh], ["held_out", model.held_out], ["pending", model.pending]].map(([key, count]) => el("div", {}, el("dt", {}, t(`learning.${key}`)), el("dd", {}, number(count))))),
      labels.length ? el("ul", { class: "bars" }, ...labels.map(([label, count]) => {
        const index = settings.emotions.indexOf(label), fill = el("i", { class: "fill", tone: index });
        fill.style.transform = `scaleX(${count / most})`;
        return el("li", {}, el("span", {}, swatch(index), name(index)), el("span", { class: "track" }, fill), el("span", { class: "n" }, model.new[label] ? t("learning.count_new", { n: count, fresh: model.new[label] }) : number(count)));
      })) : el("p", { class: "soft" }, t("learning.none")),
      note(model, state, fresh));
    if (mine) {
      bar = el("progress", { "aria-label": title });
      stage = el("p", { class: "soft" });
      made.append(el("div", { class: "row running" }, bar, el("button", { type: "button", class: "quiet", id: `cancel-${model.kind}`, onclick: attempt("cancel") }, t("learning.cancel"))), stage);
      show(mine);
    } else {
      made.append(el("div", { class: "row" },
        el("button", { type: "button", id: `learn-${model.kind}`, class: fresh ? null : "quiet", disabled: !state.installed || Boolean(model.problem) || !model.enough || Boolean(state.running), onclick: attempt(`${model.kind}/start`) }, t(fresh || !model.last ? "learning.start" : "learning.again")),
        model.previous && !state.running ? el("button", { type: "button", class: "quiet", id: `back-${model.kind}`, onclick: () => sure(model) }, t("learning.roll_back", model)) : null));
    }
    if (model.last && !mine) made.append(result(model.last));
    if (model.version) made.append(el("details", {}, el("summary", {}, t("learning.use")), el("p", { class: "soft" }, t("learning.use_text", { parameter: PARAMETER[model.kind] })), el("p", {}, el("code", { dir: "ltr" }, model.link))));
    return made;
  }

  function note(model, state, fresh) {
    if (model.problem) return el("p", { class: "soft" }, t("learning.not_ready"), " ", detail(model.problem));
    if (!model.enough) return el("p", { class: "soft" }, t("learning.too_few", { needed: state.needed, n: model.to_learn }));
    return fresh ? null : el("p", { class: "soft" }, t("learning.nothing_new"));
  }

  function result(last) {
    const rows = last.before && last.after ? Object.keys(last.before).filter((key) => last.before[key] !== null && last.after[key] !== null) : [];
    const share = (value) => number(value, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
    return el("div", { class: "result" },
      el("p", {}, el("strong", {}, t(`learning.outcome.${last.outcome.replace(" ", "_")}`, last)), last.finished ? el("span", { class: "soft" }, ` · ${date(last.finished, { dateStyle: "medium", timeStyle: "short" })}`) : null),
      last.reason ? el("p", { class: "soft", lang: "en", dir: "ltr" }, last.reason) : null,
      rows.length ? el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("learning.scores")), ...["before", "after"].map((when) => el("th", { scope: "col", class: "n" }, t(`learning.${when}`))))),
        el("tbody", {}, ...rows.map((key) => el("tr", {}, el("td", {}, t(`learning.score.${key}`)), el("td", { class: "n" }, share(last.before[key])), el("td", { class: "n" }, share(last.after[key])))))) : null);
  }

  function sure(model) {
    const dialog = el("dialog", { class: "sheet small", "aria-labelledby": "sure-back" },
      el("h2", { id: "sure-back" }, t("learning.sure", model)), el("p", {}, t("learning.sure_text", model)), el("p", { class: "error", role: "alert" }),
      el("div", { class: "row end" },
        el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("learning.keep", model)),
        el("button", { type: "button", id: "do-roll-back", onclick: attempt(`${model.kind}/roll-back`, () => { dialog.close(); return load(); }) }, t("learning.do_roll_back"))));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  return { node, load };
}
