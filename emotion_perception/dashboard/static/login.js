// The token may follow the # of a link or QR code: browsers never send that part of an address.
import { t } from "./messages.js";

document.title = t("login.title");
const token = document.getElementById("token");
if (location.search === "?wrong") {
  document.getElementById("wrong").textContent = t("login.wrong");
  token.setAttribute("aria-invalid", "true");
  token.setAttribute("aria-describedby", "wrong");
} else if (location.hash.length > 1 && location.hash[1] !== "/") { // "#/live" is a view; a redirect keeps it
  token.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", "/login");
  token.form.submit();
}
