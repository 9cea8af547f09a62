// Keeps the operator's page up to date: asks for the page itself, and takes over what differs. What does not differ is
// left alone, so focus, scroll and selection stay where they are.
"use strict";
(() => {
  const POLL_MS = 1000;
  const PARTS = ["freshness", "operator"];
  let under_way = false;

  function takeOver(here, next) {
    if (here.nodeType !== next.nodeType || here.nodeName !== next.nodeName) {
      here.replaceWith(next.cloneNode(true));
    } else if (here.nodeType === Node.TEXT_NODE) {
      if (here.data !== next.data) here.data = next.data;
    } else {
      for (const { name, value } of next.attributes) {
        if (here.getAttribute(name) !== value) here.setAttribute(name, value);
      }
      for (const { name } of [...here.attributes]) {
        if (!next.hasAttribute(name)) here.removeAttribute(name);
      }
      const [ours, theirs] = [[...here.childNodes], [...next.childNodes]];
      theirs.forEach((child, index) => (ours[index] ? takeOver(ours[index], child) : here.append(child.cloneNode(true))));
      for (const child of ours.slice(theirs.length)) child.remove();
    }
  }

  async function refresh() {
    const response = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const parts = PARTS.map((id) => [document.getElementById(id), page.getElementById(id)]);
    // A problem, and not this page.
    if (parts.some(([, next]) => !next)) throw new Error(`${response.status}`);
    for (const [here, next] of parts) takeOver(here, next);
  }

  function stale() {
    const freshness = document.getElementById("freshness");
    const word = "unknown: this page is not up to date, the server does not answer";
    freshness.dataset.state = "unknown";
    document.getElementById("behind").textContent = "";
    const place = document.getElementById("stands");
    if (place.textContent !== word) place.textContent = word;
  }

  async function keepUp() {
    if (!document.hidden && !under_way) {
      under_way = true;
      await refresh().catch(stale);
      under_way = false;
    }
  }

  setInterval(keepUp, POLL_MS);
  document.addEventListener("visibilitychange", keepUp);
})();
