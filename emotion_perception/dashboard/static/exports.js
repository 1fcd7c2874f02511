// Links to the reports of a conversation, a day or a week.
import { t } from "./messages.js";
import { el, settings } from "./util.js";

const FORMATS = [["pdf", "PDF"], ["html", "HTML"], ["csv", "CSV"]];

let withPictures = false; // in HTML and PDF; needs consent to store them
export const includePictures = (on) => { withPictures = on; };

export function exportsOf(kind, id, what) {
  const query = (ending) => settings.pictures && withPictures && ending !== "csv" ? "?pictures=1" : "";
  return el("span", { class: "row", role: "group", "aria-label": t("report.of", { what }) },
    ...FORMATS.map(([ending, text]) => el("a", { href: `/api/reports/${kind}/${encodeURIComponent(id)}.${ending}${query(ending)}`, target: ending === "html" ? "_blank" : null, rel: "noopener", "aria-label": t("report.format_of", { format: text, what }) }, text)));
}
