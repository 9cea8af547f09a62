// Draws the timeline of one key, or of several side by side, with uPlot, and keeps the numbers up to date. Sends requests
// to this host only. Without this script the page has everything but the timeline.
"use strict";
(() => {
  const main = document.getElementById("stats");
  const { counter, unit } = main.dataset;
  const keys = JSON.parse(main.dataset.keys);
  const kept = main.dataset.periods.split(" ").filter(Boolean);
  if (keys.length === 0) return;

  const POLL_MS = 2000;
  const ALIGN_MS = 36e5;
  // The number of steps shown, and the longest length of one.
  const STEPS = { hour: 48, day: 30, month: 24, year: 10 };
  const LENGTH_MS = { hour: 36e5, day: 864e5, month: 31 * 864e5, year: 366 * 864e5 };
  const NAMES = { hour: "Hour", day: "Day", month: "Month", year: "Year" };
  const FORMATS = {
    hour: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false },
    day: { weekday: "short", day: "numeric", month: "short", year: "numeric" },
    month: { month: "long", year: "numeric" },
    year: { year: "numeric" },
  };
  const MEANINGS = {
    lagging: "lagging: events wait to be counted",
    uncertain: "uncertain: may be wrong until it is restored",
    restoring: "restoring: being corrected, new events wait",
    unknown: "unknown: it is not known how fresh this is",
  };
  const HALF_S = { hour: 1800, day: 43200, month: 15 * 86400, year: 183 * 86400 };
  const number = new Intl.NumberFormat("en");
  const chart = document.getElementById("chart");
  const point = document.getElementById("point");
  const rows = document.getElementById("rows");
  const freshness = document.getElementById("freshness");
  const buttons = [...document.querySelectorAll("[data-step]")];

  let zone = localZone();
  let step = kept.includes("day") ? "day" : kept[0];
  // What is drawn, as numbers; and the same counts exactly, as they are written.
  let plot, data, counts, at = null;

  // The browser's zone, if its periods can be added up from what is kept: else, and if the server has no rules for it, UTC.
  function localZone() {
    const fits = kept.includes("quarter") || (kept.includes("hour") && new Date().getTimezoneOffset() % 60 === 0);
    return (fits && Intl.DateTimeFormat().resolvedOptions().timeZone) || "UTC";
  }

  // One request for all that is shown, its parameters in the order in which the server names them. A link to a key opens
  // the addresses below it; browsers resolve the keys "." and "..", so these are parameters.
  function address(from) {
    const isBelow = keys.length === 1 && ![".", ".."].includes(keys[0]);
    const below = `/v1/counters/${encodeURIComponent(counter)}/keys/${encodeURIComponent(keys[0])}/query`;
    const names = isBelow ? [] : [["counter", counter], ...keys.map((key) => ["key", key])];
    if (from) names.push(["select", "series"]);
    names.push(["select", "totals"]);
    if (from) names.push(["granularity", step], ["from", from]);
    names.push(["time_zone", zone]);
    return `${isBelow ? below : "/v1/query"}?${names.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
  }

  // A signed link opens the counts of its key, too, as a token would.
  const signature = new URLSearchParams(location.search).get("signature");
  const headers = signature ? { authorization: `Bearer ${signature}` } : {};

  async function fetchJson(path) {
    const response = await fetch(path, { cache: "no-cache", headers });
    if (!response.ok) throw new Error(`${response.status}`, { cause: response.status });
    return parseExact(await response.text());
  }

  // Counts have 64 bits, and numbers of this language 53: a number with many digits, outside of a text, becomes a text
  // before it is parsed, and then a BigInt if it is a count.
  function parseExact(text) {
    const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}/g, (part) => (part.startsWith('"') ? part : `"${part}"`));
    return JSON.parse(quoted, (name, value) =>
      (typeof value === "string" && ["count", "total"].includes(name) ? BigInt(value)
        : name === "counts" ? value.map((count) => (typeof count === "string" ? BigInt(count) : count)) : value));
  }

  // Local time as if it were UTC, so that the axis shows it wherever the browser is.
  const asUtc = (start) => Date.parse(`${start.slice(0, 19)}Z`) / 1000;

  const timeText = (seconds) =>
    new Intl.DateTimeFormat("en-GB", { ...FORMATS[step], timeZone: "UTC" }).format(new Date(seconds * 1000));

  // The axis has room for a few letters per label.
  const label = (seconds) => {
    const date = new Date(seconds * 1000);
    const as = (format) => new Intl.DateTimeFormat("en-GB", { ...format, timeZone: "UTC" }).format(date);
    if (step === "year") return as({ year: "numeric" });
    if (step === "month") return date.getUTCMonth() === 0 ? as({ year: "numeric" }) : as({ month: "short" });
    const midnight = date.getUTCHours() === 0;
    return step === "day" || midnight ? as({ day: "numeric", month: "short" }) : as({ hour: "2-digit", minute: "2-digit" });
  };

  const pointText = (index) => {
    const texts = keys.map((key, n) =>
      keys.length === 1 ? `${number.format(counts[0][index])} ${unit}` : `${key} ${number.format(counts[n][index])}`);
    return `${timeText(data[0][index])}: ${texts.join(", ")}`;
  };

  function select(index) {
    at = index;
    point.textContent = pointText(index);
    chart.setAttribute("aria-valuenow", index);
    chart.setAttribute("aria-valuetext", pointText(index));
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function draw() {
    plot?.destroy();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const bars = uPlot.paths.bars({ size: [0.7, 40] });
    plot = new uPlot({
      width: chart.clientWidth,
      height: chart.clientWidth < 480 ? 220 : 300,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      // Half a step of margin, so that the first and the last bar are whole.
      scales: { x: { range: (_, low, high) => [low - HALF_S[step], high + HALF_S[step]] }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map(label) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => number.format(tick)) }],
      series: [{}, ...keys.map((key, n) => {
        const stroke = colour(`--series-${n + 1}`);
        return keys.length === 1
          ? { label: key, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } }
          : { label: key, stroke, width: 2, points: { show: false } };
      })],
      hooks: { setCursor: [(u) => { if (u.cursor.idx != null) select(u.cursor.idx); }] },
    }, data, chart);
    // Screen readers get the slider around it instead.
    plot.root.setAttribute("aria-hidden", "true");
  }

  function moveTo(index) {
    if (!data || data[0].length === 0) return;
    const last = data[0].length - 1;
    select(Math.max(0, Math.min(last, index)));
    plot.setCursor({ left: plot.valToPos(data[0][at], "x"), top: 0 }, false);
  }

  function fillTable() {
    rows.replaceChildren(...data[0].map((start, index) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = timeText(start);
      row.append(head, ...keys.map((_, n) => {
        const cell = document.createElement("td");
        cell.textContent = number.format(counts[n][index]);
        return cell;
      }));
      return row;
    }).reverse());
    document.getElementById("step-name").textContent = NAMES[step];
  }

  function showSeries({ starts }, parts) {
    const seconds = starts.map(asUtc);
    const exact = parts.map((part) => part.counts);
    if (data && `${[seconds, exact]}` === `${[data[0], counts]}`) return;
    const sameSpan = plot && data && data[0].length === seconds.length && data[0][0] === seconds[0];
    data = [seconds, ...exact.map((counts) => counts.map(Number))];
    counts = exact;
    chart.setAttribute("aria-valuemax", seconds.length - 1);
    if (sameSpan) plot.setData(data); else draw();
    fillTable();
    moveTo(sameSpan && at !== null ? at : seconds.length - 1);
  }

  function showTotals(parts) {
    parts.forEach((part, n) => {
      const set = (name, count) => {
        const element = document.querySelector(`[data-key="${n}"][data-count="${name}"]`);
        if (element && count != null) element.textContent = number.format(count);
      };
      set("total", part.total);
      for (const [name, period] of Object.entries(part.periods)) {
        set(name, period.count);
        set(`${name}-before`, period.before.count);
      }
    });
  }

  function showFreshness(state, behind) {
    const text = MEANINGS[state] ?? state;
    freshness.dataset.state = state;
    // Screen readers announce every write, so it is written only if it differs.
    const element = document.getElementById("state");
    if (element.textContent !== text) element.textContent = text;
    document.getElementById("behind").textContent = behind == null ? "" : ` · ${number.format(behind)} events behind`;
  }

  async function fetchAll() {
    const length = LENGTH_MS[step];
    // The beginning of a period at the least, so that the address remains while nothing can change.
    const from = length && Math.floor((Date.now() - (STEPS[step] - 1) * length) / ALIGN_MS) * ALIGN_MS;
    return fetchJson(address(length && `${new Date(from).toISOString().slice(0, 19)}Z`));
  }

  async function refresh() {
    const requested = step;
    try {
      const answer = await fetchAll();
      const failed = answer.parts.find(({ problem }) => problem);
      if (failed) throw new Error(failed.problem.title);
      // Another step may have been chosen in the meantime.
      if (requested === step && answer.series) showSeries(answer.series, answer.parts);
      showTotals(answer.parts);
      showFreshness(answer.freshness.state, answer.freshness.behind_events);
      document.getElementById("offset").textContent = zone;
    } catch (error) {
      if (error.cause === 400 && zone !== "UTC") {
        zone = "UTC";
        await refresh();
        return;
      }
      showFreshness("unknown", null);
    }
  }

  async function keepUp() {
    if (!document.hidden) await refresh();
    setTimeout(keepUp, POLL_MS);
  }

  function choose(name) {
    step = name;
    at = null;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.step === step));
    refresh();
  }

  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.step));
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: -7, PageDown: 7 }[event.key];
    const to = { Home: 0, End: Infinity }[event.key] ?? (by === undefined ? undefined : (at ?? 0) + by);
    if (to === undefined) return;
    event.preventDefault();
    moveTo(to);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data) { draw(); moveTo(at ?? 0); } });
  new ResizeObserver(() => {
    if (plot && chart.clientWidth !== plot.width) { draw(); moveTo(at ?? 0); }
  }).observe(chart);
  choose(step);
  setTimeout(keepUp, POLL_MS);
})();
