// Draws the timeline of one key, or of several side by side, with uPlot, and keeps the numbers up to date. Sends requests
// to this host only. Without this script the page has everything but the timeline.
"use strict";
(() => {
  const main = document.getElementById("stats");
  const { counter, unit } = main.dataset;
  const keys = JSON.parse(main.dataset.keys);
  const kept = main.dataset.periods.split(" ").filter(Boolean);

  const POLL_MS = 2000;
  // An answer of a cache that is older than this is called out of date.
  const OLD_S = 30;
  const NAMES = { minute: "Minute", quarter: "Quarter hour", hour: "Hour", day: "Day", month: "Month", year: "Year" };
  const TIME = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const FORMATS = {
    minute: TIME,
    quarter: TIME,
    hour: TIME,
    day: { weekday: "short", day: "numeric", month: "short", year: "numeric" },
    month: { month: "long", year: "numeric" },
    year: { year: "numeric" },
  };
  const MEANINGS = {
    live: "live",
    batch: "in batch: what all events added up to, at the time of its last run",
    lagging: "lagging: events wait to be counted",
    uncertain: "uncertain: may be wrong until it is restored",
    restoring: "restoring: being corrected, new events wait",
    unknown: "unknown: it is not known how fresh this is",
    away: "out of date: the server does not answer",
  };
  const HALF_S = { minute: 30, quarter: 450, hour: 1800, day: 43200, month: 15 * 86400, year: 183 * 86400 };
  // Lines are told apart by these, and by the number at their end, and not by colour alone; stats.css has the same.
  const DASHES = [[], [10, 5], [2, 4], [10, 4, 2, 4], [18, 6], [5, 5], [18, 4, 2, 4], [2, 8]];
  const number = new Intl.NumberFormat(navigator.languages);
  // There is room for six digits beside the timeline.
  const compact = new Intl.NumberFormat(navigator.languages, { notation: "compact", maximumFractionDigits: 2 });
  const tick = (count) => (Math.abs(count) < 1e6 ? number : compact).format(count);
  const change = new Intl.NumberFormat(navigator.languages, { style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" });
  const chart = document.getElementById("chart");
  const point = document.getElementById("point");
  const rows = document.getElementById("rows");
  const freshness = document.getElementById("freshness");
  const asOf = document.getElementById("read-at");
  const buttons = [...document.querySelectorAll("[data-step]")];

  for (const element of document.querySelectorAll("[data-count]")) {
    const digits = element.textContent.replace(/[^\d-]/g, "");
    if (digits) element.textContent = number.format(BigInt(digits));
  }
  if (keys.length === 0) return;

  const shown = new URLSearchParams(location.search);
  const signature = shown.get("signature");
  // A signed link opens the counts of its key, too, as a token would.
  const headers = signature ? { authorization: `Bearer ${signature}` } : {};
  let zone = [shown.get("time_zone"), Intl.DateTimeFormat().resolvedOptions().timeZone].find(fits) ?? "UTC";
  let step = kept.includes(shown.get("step")) ? shown.get("step") : kept.includes("day") ? "day" : kept[0];
  // The end of the span, if it is not the present.
  let end = localOf(shown.get("to"));
  // What is drawn, as numbers; and the same starts and counts exactly, as they are written.
  let plot, data, starts, counts, layers, at = null;

  // Whether the periods of a zone can be added up from what is kept: else, and if the server has no rules for it, times are
  // UTC.
  function fits(name) {
    if (!name || !isZone(name)) return false;
    return kept.includes("quarter") || (kept.includes("hour") && offsetMs(name, Date.now()) % 36e5 === 0);
  }

  const span = () => spanOf(step, end, Date.now(), zone);

  // One request for all that is shown, its parameters in the order in which the server names them. A link to a key opens
  // the addresses below it; browsers resolve the keys "." and "..", so these are parameters.
  function address() {
    const isBelow = keys.length === 1 && ![".", ".."].includes(keys[0]);
    const below = `/v1/counters/${encodeURIComponent(counter)}/keys/${encodeURIComponent(keys[0])}/query`;
    const names = isBelow ? [] : [["counter", counter], ...keys.map((key) => ["key", key])];
    // A counter that is kept for all time alone has no timeline.
    if (chart) {
      const { from, to, isLive } = span();
      names.push(["select", "series"], ["select", "totals"], ["granularity", step], ["from", parameter(step, from, zone)]);
      if (!isLive) names.push(["to", parameter(step, to, zone)]);
    } else {
      names.push(["select", "totals"]);
    }
    names.push(["time_zone", zone]);
    return `${isBelow ? below : "/v1/query"}?${names.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
  }

  /** The body, and how old and how fresh the headers say it is: a 304 brings these up to date, and not the body. */
  async function fetchJson(path) {
    const response = await request(path, { cache: "no-cache", headers });
    const header = response.headers.get("stitch-freshness") ?? "unknown";
    const [state, behind] = [header.split(";")[0], header.match(/behind_events=(\d+)/)?.[1]];
    const ageS = Number(response.headers.get("age")) || 0;
    return { ...parseExact(await response.text()), state, behind: behind && BigInt(behind), ageS };
  }

  // Counts have 64 bits, and numbers of this language 53: a number with many digits, outside of a text, becomes a text
  // before it is parsed, and then a BigInt if it is a count.
  function parseExact(text) {
    const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}/g, (part) => (part.startsWith('"') ? part : `"${part}"`));
    return JSON.parse(quoted, (name, value) =>
      (typeof value === "string" && ["count", "total", "count_before"].includes(name) ? BigInt(value)
        : name === "counts" ? value.map((count) => (typeof count === "string" ? BigInt(count) : count)) : value));
  }

  // Local time as if it were UTC, so that the axis shows it wherever the browser is.
  const asUtc = (start) => Date.parse(`${start.slice(0, 19)}Z`) / 1000;

  const dateText = (seconds, format) =>
    new Intl.DateTimeFormat(navigator.languages, { ...format, timeZone: "UTC" }).format(new Date(seconds * 1000));
  const timeText = (seconds) => dateText(seconds, FORMATS[step]);

  /** Whether the step at `index` is not over yet. Of two that clocks show alike only the last can be. */
  function isUnfinished(index) {
    const now = Date.now();
    return index === data[0].length - 1 && stepStart(step, data[0][index] * 1000, 1) > now + offsetMs(zone, now);
  }

  // The axis has room for a few letters per label.
  const label = (seconds) => {
    const date = new Date(seconds * 1000);
    if (step === "year") return dateText(seconds, { year: "numeric" });
    if (step === "month") return date.getUTCMonth() === 0 ? dateText(seconds, { year: "numeric" }) : dateText(seconds, { month: "short" });
    const midnight = date.getUTCHours() === 0 && date.getUTCMinutes() === 0;
    return dateText(seconds, step === "day" || midnight ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" });
  };

  // Where the points of a step come from: said where the namespace has both layers, and by a word.
  const layerText = (index) => {
    const of = new Set(layers.map((layers) => layers[index]).filter(Boolean));
    return of.size === 0 ? "" : of.size > 1 ? ", batch and real time" : of.has("batch") ? ", batch" : ", real time";
  };

  const pointText = (index) => {
    const texts = keys.map((key, n) =>
      keys.length === 1 ? `${number.format(counts[0][index])} ${unit}` : `${isolated(key)} ${number.format(counts[n][index])}`);
    const soFar = isUnfinished(index) ? " (so far)" : "";
    return `${timeText(data[0][index])}${soFar}${layerText(index)}: ${texts.join(", ")}`;
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

  /** Shades the step that is not over yet. */
  function shade(u) {
    const last = u.data[0].at(-1);
    if (last === undefined || !isUnfinished(u.data[0].length - 1)) return;
    const left = Math.max(u.bbox.left, u.valToPos(last - HALF_S[step], "x", true));
    u.ctx.save();
    u.ctx.fillStyle = colour("--shade");
    u.ctx.fillRect(left, u.bbox.top, u.bbox.left + u.bbox.width - left, u.bbox.height);
    u.ctx.restore();
  }

  /** Draws a dashed line where batch ends and real time begins. */
  function divide(u) {
    const first = layers[0].indexOf("realtime");
    if (first < 1 || layers[0][first - 1] !== "batch") return;
    const x = u.valToPos((u.data[0][first - 1] + u.data[0][first]) / 2, "x", true);
    u.ctx.save();
    u.ctx.strokeStyle = colour("--quiet");
    u.ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
    u.ctx.restore();
  }

  /** Writes the number of each line at its end. */
  function mark(u) {
    if (keys.length === 1 || u.data[0].length === 0) return;
    u.ctx.save();
    u.ctx.font = `600 ${12 * devicePixelRatio}px system-ui`;
    u.ctx.textBaseline = "bottom";
    keys.forEach((_, n) => {
      u.ctx.fillStyle = colour(`--series-${n + 1}`);
      const [x, y] = [u.valToPos(u.data[0].at(-1), "x", true), u.valToPos(u.data[n + 1].at(-1), "y", true)];
      // Lines that end close together have their numbers side by side.
      u.ctx.fillText(String(n + 1), x + (2 + 9 * n) * devicePixelRatio * 0.5, y);
    });
    u.ctx.restore();
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
      axes: [{ ...axis, values: (_, ticks) => ticks.map(label) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(tick) }],
      series: [{}, ...keys.map((key, n) => {
        const stroke = colour(`--series-${n + 1}`);
        return keys.length === 1
          ? { label: key, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } }
          : { label: key, stroke, width: 2, dash: DASHES[n], points: { show: false } };
      })],
      hooks: {
        setCursor: [(u) => { if (u.cursor.idx != null) select(u.cursor.idx); }],
        drawClear: [shade],
        draw: [divide, mark],
      },
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
      head.textContent = timeText(start) + (isUnfinished(index) ? " (so far)" : "") + layerText(index);
      row.append(head, ...keys.map((_, n) => {
        const cell = document.createElement("td");
        cell.textContent = number.format(counts[n][index]);
        return cell;
      }));
      return row;
    }).reverse());
    document.getElementById("step-name").textContent = NAMES[step];
  }

  function showSeries(series, parts) {
    const seconds = series.starts.map(asUtc);
    const exact = parts.map((part) => part.counts);
    const from = parts.map((part) => part.layers ?? []);
    if (data && `${[series.starts, exact, from]}` === `${[starts, counts, layers]}`) return;
    const sameSpan = plot && data && data[0].length === seconds.length && data[0][0] === seconds[0];
    data = [seconds, ...exact.map((counts) => counts.map(Number))];
    starts = series.starts;
    counts = exact;
    layers = from;
    chart.setAttribute("aria-valuemax", seconds.length - 1);
    document.getElementById("unfinished").hidden = !isUnfinished(seconds.length - 1);
    if (sameSpan) plot.setData(data); else draw();
    fillTable();
    moveTo(sameSpan && at !== null ? at : seconds.length - 1);
  }

  function showTotals(parts) {
    parts.forEach((part, n) => {
      const set = (name, text) => {
        const element = document.querySelector(`[data-key="${n}"][data-count="${name}"], [data-key="${n}"][data-text="${name}"]`);
        if (element && text != null && element.textContent !== text) element.textContent = text;
      };
      const count = (name, count) => set(name, count == null ? null : number.format(count));
      count("total", part.total);
      for (const [name, period] of Object.entries(part.periods)) {
        count(name, period.count);
        count(`${name}-before`, period.before.count);
        set(`${name}-before-layer`, period.before.layer === "batch" ? " (batch)" : "");
        const soFar = period.so_far;
        const comparison = document.querySelector(`[data-key="${n}"][data-so-far="${name}"]`);
        if (comparison) comparison.hidden = !soFar;
        if (!comparison || !soFar) continue;
        count(`${name}-so-far`, soFar.count);
        count(`${name}-so-far-before`, soFar.count_before);
        const until = name === "day" ? { hour: "2-digit", minute: "2-digit" } : { weekday: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
        set(`${name}-until`, dateText(asUtc(soFar.until), until));
        set(`${name}-change`, changeText(Number(soFar.count), Number(soFar.count_before)));
      }
    });
  }

  /** Which part of the page is from batch, and as of when. */
  function showLayers(batch, state) {
    const line = document.getElementById("layers");
    line.hidden = !batch;
    if (!batch) return;
    const time = new Intl.DateTimeFormat(navigator.languages, { dateStyle: "medium", timeStyle: "short" }).format(Date.parse(batch.as_of));
    const text = `Periods that ended are from batch, as of ${time}; the others are counted in real time. Each says which.`;
    const pure = `Counted in batch, as of ${time}.`;
    const shown = state === "batch" ? pure : text;
    if (line.textContent !== shown) line.textContent = shown;
  }

  const changeText = (count, before) => (before > 0 ? ` (${change.format(count / before - 1)})` : "");

  function showFreshness(state, behind, readAt) {
    const text = MEANINGS[state] ?? state;
    freshness.dataset.state = state === "away" ? "unknown" : state;
    // Screen readers announce every write, so it is written only if it differs.
    const element = document.getElementById("state");
    if (element.textContent !== text) element.textContent = text;
    document.getElementById("behind").textContent = behind == null ? "" : ` · ${number.format(behind)} events behind`;
    if (readAt === undefined) return;
    asOf.dateTime = new Date(readAt).toISOString();
    const isToday = new Date(readAt).toDateString() === new Date().toDateString();
    const format = isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" };
    asOf.textContent = new Intl.DateTimeFormat(navigator.languages, format).format(readAt);
  }

  async function refresh() {
    const [requested, asked] = [`${step} ${end}`, zone];
    try {
      const answer = await fetchJson(address());
      const failed = answer.parts.find(({ problem }) => problem);
      if (failed) throw new Error(failed.problem.title);
      // Another step or span may have been chosen, or another zone be needed, in the meantime.
      if (requested === `${step} ${end}` && asked === zone && answer.series) showSeries(answer.series, answer.parts);
      showTotals(answer.parts);
      showFreshness(answer.ageS > OLD_S ? "away" : answer.state, answer.behind, Date.now() - 1000 * answer.ageS);
      showLayers(answer.freshness.batch, answer.state);
    } catch (error) {
      if (error.response?.status !== 400 || asked === "UTC") throw error;
      zone = "UTC";
      showLinks();
      await refresh();
    }
  }

  // The numbers stay, and say how old they are.
  const showAway = () => showFreshness("away", null);

  /** The address of this page with what is shown: of the span itself, or of what is present whenever it is opened. */
  function link(fixed) {
    const url = new URL(location.href);
    const { to } = span();
    url.searchParams.set("step", step);
    for (const name of ["to", "time_zone"]) url.searchParams.delete(name);
    if (fixed) {
      url.searchParams.set("to", new Date(to).toISOString().slice(0, 19));
      url.searchParams.set("time_zone", zone);
    }
    return url.href;
  }

  /** Writes what is shown, and in which zone, into the address of this page and its links. */
  function showLinks() {
    if (!chart) return;
    const { isLive } = span();
    document.getElementById("later").disabled = isLive;
    document.getElementById("offset").textContent = zone;
    history.replaceState(null, "", link(!isLive));
    document.getElementById("permalink").href = link(true);
  }

  function choose(name, newEnd) {
    step = name;
    end = newEnd;
    if (span().isLive) end = null;
    at = null;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.step === step));
    showLinks();
    refresh().catch(showAway);
  }

  /** What is drawn as CSV, with exact counts. */
  function csv() {
    const isLayered = layers.some((layers) => layers.length > 0);
    const head = ["start", ...keys, ...(isLayered ? ["layer"] : [])].map(csvCell);
    const lines = starts.map((start, index) =>
      [start, ...keys.map((_, n) => counts[n][index]), ...(isLayered ? [csvCell(layerText(index).slice(2))] : [])]);
    return [head, ...lines].map((line) => `${line.join(",")}\r\n`).join("");
  }

  if (!chart) {
    poll(POLL_MS, refresh, showAway);
    return;
  }
  document.getElementById("csv").addEventListener("click", () => {
    if (!data) return;
    const file = document.createElement("a");
    file.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    file.download = fileName(`${counter}-${keys.length === 1 ? keys[0] : "keys"}-${step}.csv`);
    file.click();
    URL.revokeObjectURL(file.href);
  });
  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.step, end));
  document.getElementById("earlier").addEventListener("click", () => choose(step, span().from));
  document.getElementById("later").addEventListener("click", () => choose(step, stepStart(step, span().to, STEPS[step])));
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
  document.getElementById("actions").hidden = false;
  choose(step, end);
  poll(POLL_MS, refresh, showAway);
})();
