// Keeps the operator's page up to date: fetches the page again and patches only the nodes that differ, so that focus,
// scroll position and selection are kept.
"use strict";
(() => {
  const POLL_MS = 1000;
  const PARTS = ["freshness", "operator"];

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

  async function show(response) {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const parts = PARTS.map((id) => [document.getElementById(id), page.getElementById(id)]);
    // A problem instead of the page.
    if (parts.some(([, next]) => !next)) throw new Error(`${response.status}`);
    for (const [current, next] of parts) patch(current, next);
  }

  async function refresh() {
    try {
      await show(await request(location.href, { cache: "no-store" }));
    } catch (error) {
      // With ZooKeeper away the page says so itself, with 503.
      if (error.response) await show(error.response);
      error.isShown = Boolean(error.response);
      throw error;
    }
  }

  function showStale(error) {
    if (error.isShown) return;
    const freshness = document.getElementById("freshness");
    const text = "unknown: this page is out of date, the server does not answer";
    freshness.dataset.state = "unknown";
    document.getElementById("behind").textContent = "";
    const state = document.getElementById("state");
    if (state.textContent !== text) state.textContent = text;
  }

  poll(POLL_MS, refresh, showStale);
})();
