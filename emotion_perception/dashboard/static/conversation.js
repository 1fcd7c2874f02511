// One stored conversation: its course, where it turned, the score and why.
import { arc, spark, ticks } from "./charts.js";
import { exportsOf } from "./exports.js";
import { capital, clock, date, join, language, number, percent, signed, t, withMargin } from "./messages.js";
import { api, byId, detail, el, named, replace, settings, swatch } from "./util.js";

const PICTURE_S = 6; // from a turning point to a picture that shows it

/** What a factor of the score is. */
const what = (name) => (settings.emotions.includes(name) ? t("why.what.emotion", { emotion: named("emotion", name) }) : t(`why.what.${name}`));

/** What raised and lowered the score, as a sentence. */
function explanation({ raised, lowered }) {
  const list = (factors) => join(factors.map((factor) => t("why.factor", { what: what(factor.name), n: factor.points })));
  const said = [raised.length ? t("why.raised", { list: list(raised) }) : null, lowered.length ? t("why.lowered", { list: list(lowered) }) : null].filter(Boolean);
  return [t("why.neutral"), ...(said.length ? said : [t("why.nothing")])].join(" ");
}

/** A face near a turning point; the button replaces it by the regions that supported the estimate. */
function picture(id, { stamp, label, time }) {
  const address = `/api/conversations/${encodeURIComponent(id)}/pictures/${stamp}.jpg`;
  const shown = el("img", { src: address, alt: t("why.picture", { time: clock(time), emotion: named("emotion", label) }) });
  const why = el("button", { type: "button", class: "quiet", onclick: async () => {
    why.disabled = true;
    try {
      const blob = await (await fetch(address)).blob();
      const found = (await api("try", { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } })).faces?.[0]?.explanation;
      if (found) shown.src = `data:image/png;base64,${found.picture}`;
      why.replaceWith(el("figcaption", {}, found ? t("why.regions", { emotion: named("emotion", found.emotion) }) : t("why.no_face")));
    } catch (error) { why.replaceWith(el("figcaption", { class: "error" }, error.message)); }
  } }, t("why.explain"));
  return el("figure", {}, shown, settings.try ? why : null);
}

/** Where the mood turned, from what to what, and what each sense showed then. */
function turns(id, { turns: found, pictures }) {
  if (!found.length) return el("p", { class: "soft" }, t("why.no_turn"));
  return el("ol", { class: "turns" }, ...found.map((turn) => {
    const emotion = (label) => named("emotion", label);
    const senses = Object.entries(turn.senses).map(([sense, label]) => t(`why.sense.${sense}`, { emotion: emotion(label) }));
    const near = pictures.filter((one) => Math.abs(one.time - turn.time) <= PICTURE_S).sort((a, b) => Math.abs(a.time - turn.time) - Math.abs(b.time - turn.time))[0];
    return el("li", {}, el("div", {}, el("strong", {}, t(turn.better ? "why.better" : "why.worse", { time: clock(turn.time) })),
      el("p", {}, [turn.before && turn.after ? turn.before === turn.after ? t("why.stayed", { emotion: emotion(turn.after) }) : t("why.from_to", { before: emotion(turn.before), after: emotion(turn.after) }) : null,
        senses.length ? t("why.senses", { list: join(senses) }) : null].filter(Boolean).join(" "))), near ? picture(id, near) : null);
  }));
}

const similar = (found) => el("ul", { class: "similar" }, ...found.map((one) => el("li", {},
  el("button", { type: "button", class: "name", onclick: () => open(one.id) }, date(one.start, { dateStyle: "medium", timeStyle: "short" })),
  spark(one.line), el("span", {}, ...(one.label === null ? [] : [swatch(settings.emotions.indexOf(one.label)), named("emotion", one.label)])),
  el("strong", {}, one.score === null ? "–" : number(one.score)))));

/** Show a stored conversation in its dialog. */
export async function open(id) {
  const dialog = byId("conversation");
  replace(dialog, el("p", { class: "busy" }, el("i"), t("conversations.reading")));
  if (!dialog.open) dialog.showModal();
  const close = el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("dialog.close"));
  const path = `conversations/${encodeURIComponent(id)}`;
  let all, why;
  try { [all, why] = await Promise.all([api(path), api(`${path}/why`)]); } catch (error) {
    return replace(dialog, el("p", { class: "error", role: "alert" }, error.message), el("div", { class: "row end" }, close));
  }
  const { arc: course, satisfaction } = all;
  const chart = el("div", { class: "chart" });
  const points = course.valence.map((valence, i) => {
    const at = (i + 1) * course.step;
    return valence === null ? [at, 0] : [at, 1, settings.emotions.indexOf(course.label[i]), course.confidence[i], valence, course.arousal[i]];
  });
  const factors = satisfaction.factors.filter((item) => Math.abs(item.points) >= 0.5).slice(0, 6);
  const times = Object.entries(all.seconds_by_label).filter(([, s]) => s >= 0.5).sort((a, b) => b[1] - a[1]);
  replace(dialog,
    el("div", { class: "top-row" }, el("div", {}, el("h2", { id: "conversation-name" }, all.name || t("conversations.one")),
      el("p", { class: "soft" }, `${date(all.start, { dateStyle: "long", timeStyle: "short" })}, ${clock(all.duration)}`, detail(`; ${all.ended_by}`))), close),
    all.recovered ? el("p", { class: "error" }, t("conversations.interrupted")) : null,
    el("p", { class: "row" }, satisfaction.score === null ? el("strong", {}, t("conversations.no_score")) : el("span", { class: "big" }, withMargin(satisfaction.score, satisfaction.margin)),
      el("span", { class: "soft" }, satisfaction.score === null ? t("conversations.too_little") : t("conversations.of_100", { verdict: named("verdict", satisfaction.verdict) }), detail(` ${satisfaction.reason}`))),
    satisfaction.score === null ? null : el("p", { class: "say" }, explanation(why)),
    chart, el("h3", { class: "part" }, t("why.turns")), turns(id, why),
    el("div", { class: "split" },
      el("div", {}, el("h3", {}, t("conversations.time_by_emotion")), el("table", {}, el("tbody", {}, ...times.map(([emotion, s]) => el("tr", {}, el("td", {}, swatch(settings.emotions.indexOf(emotion)), named("emotion", emotion)), el("td", { class: "n" }, clock(s)), el("td", { class: "n" }, percent(s / Math.max(1, times.reduce((sum, [, x]) => sum + x, 0))))))))),
      el("div", {}, el("h3", {}, t("conversations.contributions")), factors.length ? el("table", {}, el("tbody", {}, ...factors.map((item) => el("tr", {}, el("td", {}, language === "en" ? item.text : capital(what(item.name))), el("td", { class: "n" }, signed(item.points, 1)))))) : el("p", { class: "soft" }, t("conversations.no_factor")))),
    el("p", { class: "soft" }, t("conversations.shape", { shape: named("shape", course.shape.text), share: percent(all.coverage.any) }), detail(` ${course.shape.reason}`)),
    ...(why.similar.length ? [el("h3", { class: "part" }, t("why.similar")), similar(why.similar)] : []),
    el("div", { class: "row end" }, exportsOf("conversation", id, t("report.this"))));
  arc(chart, { points, from: 0, to: all.duration, step: course.step, tick: ticks, marks: why.turns.map((turn) => turn.time), label: t("arc.over", { time: clock(all.duration) }) });
}
