// Keeps the operator's page up to date: fetches the page again and patches only the nodes that differ, so that focus,
// scroll position and selection are kept.
"use strict";
(() => {
  const POLL_MS = 1000;
  const PARTS = ["freshness", "operator"];
  let refreshing = false;

  function patch(current, next) {
    if (current.nodeType !== next.nodeType || current.nodeName !== next.nodeName) {
      current.replaceWith(next.cloneNode(true));
    } else if (current.nodeType === Node.TEXT_NODE) {
      if (current.data !== next.data) current.data = next.data;
    } else {
      for (const { name, value } of next.attributes) {
        if (current.getAttribute(name) !== value) current.setAttribute(name, value);
      }
      for (const { name } of [...current.attributes]) {
        if (!next.hasAttribute(name)) current.removeAttribute(name);
      }
      const [children, nextChildren] = [[...current.childNodes], [...next.childNodes]];
      nextChildren.forEach((child, index) =>
        (children[index] ? patch(children[index], child) : current.append(child.cloneNode(true))));
      for (const child of children.slice(nextChildren.length)) child.remove();
    }
  }

  async function refresh() {
    const response = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const parts = PARTS.map((id) => [document.getElementById(id), page.getElementById(id)]);
    // A problem instead of the page.
    if (parts.some(([, next]) => !next)) throw new Error(`${response.status}`);
    for (const [current, next] of parts) patch(current, next);
  }

  function showStale() {
    const freshness = document.getElementById("freshness");
    const text = "unknown: this page is out of date, the server does not answer";
    freshness.dataset.state = "unknown";
    document.getElementById("behind").textContent = "";
    const state = document.getElementById("state");
    if (state.textContent !== text) state.textContent = text;
  }

  async function keepUp() {
    if (!document.hidden && !refreshing) {
      refreshing = true;
      await refresh().catch(showStale);
      refreshing = false;
    }
  }

  setInterval(keepUp, POLL_MS);
  document.addEventListener("visibilitychange", keepUp);
})();
