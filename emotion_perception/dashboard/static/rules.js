// Below the Today view: rules in plain words, what they found, and what the robot may keep.
import { date, has, number, t } from "./messages.js";
import { api, byId, el, replace, settings } from "./util.js";

const DAYS = [7, 30, 90, 365];

const measureName = (measure) => (has(`rules.measure.${measure}`) ? t(`rules.measure.${measure}`) : t("rules.measure.share", { emotion: t(`emotion.${measure}`) }));
const unitOf = (measure) => ({ wait: "s", duration: "s", satisfaction: "", conversations: "" })[measure] ?? "%";
const amount = (measure, value) => { const unit = unitOf(measure); return unit ? t(`rules.unit.${unit === "%" ? "percent" : "s"}`, { n: Math.round(value) }) : number(Math.round(value)); };
const hours = (alert) => { const from = new Date(1000 * alert.start).getHours(); return t("today.hours", { from, to: (from + 1) % 24 }); };
const inWords = (rule) => t(`rules.sentence.${rule.period}.${rule.comparison}`, { measure: measureName(rule.measure), limit: amount(rule.measure, rule.limit), n: rule.min_conversations });

/** Returns a function that shows everything anew; changed is called after a change of what is kept. */
export function rules(changed) {
  let state = null, asked = false;

  async function save(list) {
    const error = byId("rules-error");
    error.textContent = "";
    try {
      state = await api("rules", { method: "PUT", body: JSON.stringify({ rules: list }) });
      showRules();
    } catch (problem) { error.textContent = problem.message; }
  }

  function showRules() {
    const list = state.rules;
    byId("rules-error").textContent = state.problem;
    replace(byId("rules-list"), ...(list.length ? list.map((rule) => el("li", {}, el("span", {}, inWords(rule)),
      el("button", { type: "button", class: "quiet", "data-key": rule.id, "aria-label": t("rules.delete_label", { rule: inWords(rule) }), onclick: () => save(list.filter((other) => other !== rule)) }, t("rules.delete")))) : [el("li", { class: "soft" }, t("rules.none"))]));
  }

  const select = (id, options, text) => el("select", { id, "aria-label": t(`rules.${id.slice(5)}`) }, ...options.map((value) => el("option", { value }, text(value))));
  function form() {
    const input = (id, value, max) => el("input", { id, type: "number", min: id === "rule-count" ? 1 : 0, max, value, inputmode: "decimal", "aria-label": t(`rules.${id.slice(5)}`) });
    replace(byId("rules-form"), el("span", {}, t("rules.when")),
      select("rule-measure", Object.keys(state.measures), measureName), select("rule-period", state.periods, (value) => t(`rules.of_${value}`)),
      select("rule-comparison", state.comparisons, (value) => t(`rules.is_${value}`)), input("rule-limit", 50),
      el("span", {}, t("rules.with_at_least")), input("rule-count", 5, 10000), el("span", {}, t("rules.conversations")),
      el("button", { type: "submit" }, t("rules.add")));
  }
  byId("rules-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const value = (id) => byId(`rule-${id}`).value;
    save([...state.rules, { measure: value("measure"), comparison: value("comparison"), limit: Number(value("limit")), period: value("period"), min_conversations: Number(value("count")) }]);
  });

  function showAlerts(alerts) {
    byId("alerts").hidden = !alerts.length;
    replace(byId("alerts-list"), ...alerts.slice(0, 8).map((alert) => el("li", {},
      el("strong", {}, t(`rules.alert.${alert.comparison}`, { measure: measureName(alert.measure), value: amount(alert.measure, alert.value), limit: amount(alert.measure, alert.limit) })),
      el("span", { class: "soft" }, `${alert.period === "hour" ? hours(alert) : date(alert.start, { weekday: "long", day: "numeric", month: "long" })}; ${t("today.n", { n: alert.conversations })}`))));
  }

  async function choose(keep) {
    try {
      const answer = await api("storage", { method: "PUT", body: JSON.stringify({ keep_numbers: keep, retention_days: Number(byId("storage-days").value) }) });
      settings.stored = answer.stored;
      asked = false;
      changed();
    } catch (problem) { byId("storage-error").textContent = problem.message; }
  }

  async function showStorage() {
    const storage = await api("storage");
    const card = byId("storage");
    card.hidden = !storage.can_choose;
    if (!storage.can_choose) return;
    const days = el("select", { id: "storage-days" }, ...[...new Set([...DAYS, storage.retention_days])].sort((a, b) => a - b).map((n) => el("option", { value: n, selected: n === storage.retention_days }, t("storage.days", { n }))));
    const field = el("label", { class: "row", for: "storage-days" }, t("storage.retention"), days);
    card.classList.toggle("first", !storage.keep_numbers);
    byId(storage.keep_numbers ? "today-side" : "storage-first").append(card);
    replace(card, el("h2", {}, t(storage.keep_numbers ? "storage.kept" : "storage.question")), el("p", { class: "soft" }, t("storage.text")),
      el("div", { class: "row" }, field, el("button", { type: "button", id: "storage-keep", class: storage.keep_numbers ? "quiet" : null, onclick: () => choose(true) }, t(storage.keep_numbers ? "storage.change" : "storage.keep")),
        storage.keep_numbers ? el("button", { type: "button", class: "quiet danger", onclick: () => choose(false) }, t("storage.stop")) : null),
      el("p", { class: "error", id: "storage-error", role: "alert" }));
  }

  return async (shown) => {
    byId("rules").hidden = !settings.stored;
    showAlerts(shown?.alerts ?? []);
    if (asked) return;
    asked = true; // forms are not redrawn while somebody fills them in
    await showStorage();
    if (!settings.stored) return;
    state = await api("rules");
    form();
    showRules();
  };
}
