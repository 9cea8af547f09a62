// How pages keep up with the server: without all of them asking at once, and without insisting while it is away.
"use strict";

/** The longest pause while the server does not answer, but for what it asks for itself. */
const PAUSE_MAX_MS = 30_000;
const ANSWER_MAX_MS = 15_000;

/** Requests `path`; fails for everything but an answer, with the pause that the server asks for. */
async function request(path, options) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MAX_MS), ...options });
  if (response.ok) return response;
  const error = Object.assign(new Error(`${response.status}`), { response });
  error.pauseMs = 1000 * (Number(response.headers.get("retry-after")) || 0);
  throw error;
}

/** The pause after `failures` failures in a row, the last of which asked for `askedMs`; `random` is of 0 to 1. */
function pauseMs(everyMs, failures, askedMs, random) {
  // The first failures may be a moment's: many pages that saw the same one come back at different times.
  const backoff = Math.min(PAUSE_MAX_MS, everyMs * 2 ** Math.min(failures, 16));
  return Math.max(backoff * (0.75 + random / 2), askedMs * (1 + random / 4));
}

/** Repeats `work` about every `everyMs` while the page can be seen; `failed` is called when it fails. */
function poll(everyMs, work, failed) {
  let failures = 0;
  let asked = 0;
  let timer;
  async function once() {
    clearTimeout(timer);
    timer = undefined;
    if (!document.hidden) {
      try {
        await work();
        failures = 0;
        asked = 0;
      } catch (error) {
        failures += 1;
        asked = error.pauseMs ?? 0;
        failed(error);
      }
    }
    timer = setTimeout(once, pauseMs(everyMs, failures, asked, Math.random()));
  }
  document.addEventListener("visibilitychange", () => {
    // What was hidden for long is out of date. While a request is in flight, there is no timer.
    if (!document.hidden && failures === 0 && timer !== undefined) once();
  });
  timer = setTimeout(once, pauseMs(everyMs, 0, 0, Math.random()));
}
