// The token may follow the # of a link or QR code: browsers never send that part of an address.
const token = document.getElementById("token");
if (location.search === "?wrong") {
  document.getElementById("wrong").textContent = "That is not the token.";
  token.setAttribute("aria-invalid", "true");
} else if (location.hash.length > 1 && location.hash[1] !== "/") { // "#/live" is a view; a redirect keeps it
  token.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", "/login");
  token.form.submit();
}
