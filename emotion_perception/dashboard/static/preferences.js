// What the reader chooses for this browser: the language, and whether technical figures are shown.
import { LANGUAGES, language, remember, remembered, speak } from "./messages.js";

const root = document.documentElement;
const BACK = "language-changed"; // the focus returns to the picker after the page was loaded in another language

root.classList.toggle("expert", remembered("expert") === "1");

/** Whether technical figures are shown. The classes expert-only and plain-only follow it without redrawing. */
export const expert = () => root.classList.contains("expert");

/** Set up the menu. changed is called after the expert view was switched. */
export function preferences(changed) {
  const [menu, picker, box] = ["preferences", "language", "expert"].map((id) => document.getElementById(id));
  for (const [tag, name] of Object.entries(LANGUAGES)) {
    const option = new Option(name, tag, tag === language, tag === language);
    option.lang = tag;
    picker.append(option);
  }
  picker.addEventListener("change", () => { sessionStorage.setItem(BACK, "1"); speak(picker.value); });
  box.checked = expert();
  box.addEventListener("change", () => {
    root.classList.toggle("expert", box.checked);
    remember("expert", box.checked ? "1" : "0");
    changed();
  });
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  if (sessionStorage.getItem(BACK)) {
    sessionStorage.removeItem(BACK);
    menu.open = true;
    picker.focus();
  }
}
