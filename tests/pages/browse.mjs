// The pages in a real Chromium: mouse, keyboard, phone, dark mode, live numbers, accessibility.
// Usage: node browse.mjs ADDRESS FOLDER LINK; exits with 0 if every check passes. Screenshots go into FOLDER. LINK is a signed
// one to the page of a key, on a server that has tokens.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.STITCH_BROWSER_TOOLS, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [address, folder, signedLink] = process.argv.slice(2);
const origin = `http://${address}`;
const KEY = `${origin}/stats/plays/track-1`;
const BYTES_MAX = 150_000;
const DESK = { viewport: { width: 1200, height: 900 } };
const PHONE = { viewport: { width: 375, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

const browser = await chromium.launch({
  executablePath: process.env.STITCH_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

/** Opens a page that records its faults: errors, failed responses, requests to other hosts. */
async function open(url, options, ready = "#rows tr") {
  const context = await browser.newContext({ timezoneId: "Europe/Berlin", locale: "en-GB", ...options });
  const page = await context.newPage();
  page.faults = [];
  page.bytes = 0;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.faults.push(`script: ${error}`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) page.faults.push(`other host: ${request.url()}`);
  });
  page.on("response", async (response) => {
    if (response.status() >= 400) page.faults.push(`${response.status()}: ${response.url()}`);
    if (new URL(response.url()).pathname.startsWith("/v1/")) return;
    page.bytes += (await response.body().catch(() => Buffer.alloc(0))).length;
  });
  await page.goto(url);
  await page.waitForSelector(ready, { state: "attached" });
  return page;
}

/** What the page asked for below /v1, as the network had it: a cache's answer after 304 has the status 304 here. */
async function observed(page) {
  const network = await page.context().newCDPSession(page);
  const seen = new Map();
  network.on("Network.requestWillBeSent", ({ requestId, request, timestamp }) => {
    if (!new URL(request.url).pathname.startsWith("/v1/")) return;
    seen.set(requestId, { address: request.url, status: null, sentS: timestamp });
  });
  network.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode, headers }) => {
    const tag = Object.entries(headers).find(([name]) => name.toLowerCase() === "etag")?.[1];
    if (seen.has(requestId)) Object.assign(seen.get(requestId), { status: statusCode, tag });
  });
  await network.send("Network.enable");
  return seen;
}

/** Fails unless each poll is one request: the shortest pause between two of them is 1.5 s. */
function areOnePerPoll(polls) {
  const sent = polls.map(({ sentS }) => sentS);
  const pauses = sent.slice(1).map((time, before) => time - sent[before]);
  assert.ok(pauses.every((pause) => pause > 1.4), `requests ${pauses.map((pause) => pause.toFixed(2))} s apart`);
}

async function close(page, name) {
  await inspect(page, name);
  await page.context().close();
  console.log(`ok  ${name}`);
}

async function inspect(page, name) {
  await isAccessible(page, name);
  assert.deepEqual(page.faults, [], `${name}: faults`);
}

/** Has axe look at the page, and saves a picture for people. */
async function isAccessible(page, name) {
  // Evaluated by the debugger: the page's policy allows no scripts but its own.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], `${name}: violations found by axe`);
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}

const text = (page, selector) => page.locator(selector).first().innerText();
const count = async (page, selector) => Number((await text(page, selector)).replaceAll(",", ""));

/** Waits until the timeline shows steps of this length: its heading changes with its rows. */
const untilStep = (page, name) =>
  page.waitForFunction((name) => document.getElementById("step-name").textContent === name, name);

async function desktop() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const steps = { Hour: 48, Day: 30, Month: 24, Year: 10 };
  for (const [step, rows] of Object.entries(steps)) {
    const button = page.locator(`[data-step=${step.toLowerCase()}]`);
    await button.click();
    await untilStep(page, step);
    assert.equal(await button.getAttribute("aria-pressed"), "true");
    assert.equal(await page.locator('[aria-pressed="true"]').count(), 1);
    const shown = await page.locator("#rows tr").count();
    assert.ok(shown >= rows - 1 && shown <= rows + 2, `${shown} rows of a ${step}`);
  }
  await page.locator("summary").click();
  await page.locator("[data-step=month]").click();
  await untilStep(page, "Month");
  // With the mouse.
  const box = await page.locator("#chart .u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + box.height / 2);
  const pointed = await text(page, "#point");
  await page.mouse.move(box.x + box.width * 0.75, box.y + box.height / 2);
  assert.notEqual(await text(page, "#point"), pointed);
  assert.match(pointed, /^\w+ \d{4}, batch: [\d,]+ plays$/);
  assert.ok(page.bytes < BYTES_MAX, `${page.bytes} bytes`);
  await close(page, "desk-light");
}

async function keyboard() {
  const page = await open(KEY, { ...DESK, colorScheme: "dark" });
  const focused = () => page.evaluate(() => document.activeElement.id);
  for (let tabs = 0; (await focused()) !== "chart"; tabs += 1) {
    assert.ok(tabs < 20, "the timeline cannot be reached by the tab key");
    await page.keyboard.press("Tab");
  }
  const spoken = () => page.locator("#chart").getAttribute("aria-valuetext");
  const latest = await page.locator("#rows th").first().textContent();
  await page.keyboard.press("End");
  const last = await spoken();
  assert.ok(last.startsWith(latest), `${last} is not ${latest}`);
  await page.keyboard.press("ArrowLeft");
  const before = await spoken();
  assert.notEqual(before, last);
  await page.keyboard.press("ArrowRight");
  assert.equal((await spoken()).split(":")[0], last.split(":")[0]);
  await page.keyboard.press("Home");
  assert.equal(await page.locator("#chart").getAttribute("aria-valuenow"), "0");
  assert.equal(await text(page, "#point"), await spoken());
  // A step can be chosen without a mouse as well.
  await page.locator("[data-step=hour]").focus();
  await page.keyboard.press("Enter");
  await untilStep(page, "Hour");
  await isDark(page);
  await close(page, "desk-dark");
}

async function isDark(page) {
  const [red, green, blue] = await page.evaluate(() =>
    getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
  assert.ok(red + green + blue < 150, "the page is dark");
}

async function fits(page) {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(excess <= 0, `${excess} pixels too wide`);
}

async function phone() {
  const page = await open(KEY, { ...PHONE, colorScheme: "light" });
  await fits(page);
  await page.locator("[data-step=year]").tap();
  await untilStep(page, "Year");
  await close(page, "phone");
}

async function live() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const before = await count(page, "[data-count=total]");
  await page.waitForFunction(
    (least) => Number(document.querySelector("[data-count=total]").textContent.replaceAll(",", "")) > least,
    before, { timeout: 30_000 });
  assert.equal(await page.locator("#freshness").getAttribute("data-state"), "live");
  await close(page, "live");
}

/** Counts have 64 bits, and a script's numbers 53: after each poll they are the same as in the HTML. */
async function exact() {
  const page = await open(`${origin}/stats/revenue/large`, { ...DESK, colorScheme: "light" });
  await page.waitForFunction(() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/query?")).length > 1);
  const expected = "9,007,199,254,740,993";
  for (const selector of ["[data-count=total]", "[data-count=month]"]) assert.equal(await text(page, selector), expected);
  await page.locator("summary").click();
  assert.equal(await text(page, "#rows td"), expected);
  await page.locator("#chart").focus();
  await page.keyboard.press("End");
  assert.ok((await text(page, "#point")).includes(`: ${expected} `), await text(page, "#point"));
  await close(page, "exact");
}

async function sideBySide() {
  const page = await open(`${origin}/stats/plays?key=track-1&key=track-2`, { ...DESK, colorScheme: "dark" });
  await page.getByLabel("Another key").fill("track-3");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/key=track-3/);
  await page.waitForSelector("#rows tr", { state: "attached" });
  assert.equal(await page.locator("tbody a").count(), 3);
  assert.equal(await page.locator("#rows tr").first().locator("td").count(), 3);
  // Without colour: by its dashes, and by its number.
  const drawn = await page.locator("svg.swatch").evaluateAll((all) =>
    all.map((one) => [getComputedStyle(one.querySelector("line")).strokeDasharray, one.querySelector("text").textContent]));
  assert.equal(drawn.length, 3);
  // However many keys are shown.
  const seen = await observed(page);
  while (seen.size < 4) await page.waitForTimeout(200);
  areOnePerPoll([...seen.values()]);
  for (const { address } of seen.values()) assert.equal(new URL(address).pathname, "/v1/query");
  for (const by of [0, 1]) assert.equal(new Set(drawn.map((one) => one[by])).size, 3, JSON.stringify(drawn));
  await close(page, "side-by-side");
}

/** While nothing changes, addresses stay the same, and answers are 304: a CDN and the browser have the rest. */
async function unchanged() {
  const page = await open(`${origin}/stats/revenue/large`, { ...DESK, colorScheme: "light" });
  const seen = await observed(page);
  const polls = () => [...seen.values()].filter(({ status }) => status !== null);
  const end = Date.now() + 60_000;
  while (polls().length < 20 && Date.now() < end) await page.waitForTimeout(200);
  const all = polls();
  const kept = all.filter(({ status }) => status === 304).length;
  const addresses = new Set(all.map(({ address }) => address));
  // On a busy machine the freshness itself changes for a moment, and so does the tag.
  const unchanged = all.slice(1).filter(({ tag }, before) => tag === all[before].tag);
  console.log(`polls: ${all.length}, of which 304: ${kept}, unchanged: ${unchanged.length}; addresses: ${addresses.size}`);
  assert.ok(all.length >= 20 && unchanged.length >= 10, `${all.length} polls, ${unchanged.length} unchanged`);
  const sent = unchanged.filter(({ status }) => status !== 304);
  assert.deepEqual(sent, [], "what the browser has is not sent again");
  const share = unchanged.filter(({ status }) => status === 304).length / unchanged.length;
  assert.ok(share > 0.9, `${share} of the polls while nothing changed are 304`);
  areOnePerPoll(all);
  // A day may begin meanwhile.
  assert.ok(addresses.size <= 2, [...addresses].join(" "));
  await close(page, "unchanged");
}

/** With Cassandra away the numbers stay, say how old they are, and the server is not asked before it wants to be. */
async function away() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const answers = [];
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (pathname.startsWith("/v1/")) answers.push({ time: Date.now(), status: response.status(), headers: response.headers() });
  });
  const untilAway = (isAway) => page.waitForFunction(
    (isAway) => document.getElementById("state").textContent.startsWith("out of date") === isAway, isAway, { timeout: 60_000 });
  while (answers.length === 0) await page.waitForTimeout(100);
  // A cache may go on with this while there are only errors.
  assert.match(answers[0].headers["cache-control"], /^public, max-age=\d+, stale-while-revalidate=\d+, stale-if-error=[1-9]\d*$/);
  ask("cut off Cassandra");
  await untilAway(true);
  const kept = await text(page, "[data-count=total]");
  const since = await page.locator("#read-at").getAttribute("datetime");
  const failed = () => answers.filter(({ status }) => status === 503);
  assert.equal(await page.locator("#freshness").getAttribute("data-state"), "unknown");
  while (failed().length < 2) await page.waitForTimeout(200);
  for (const { headers } of failed()) {
    assert.ok(Number(headers["retry-after"]) >= 1, headers["retry-after"]);
    assert.equal(headers["cache-control"], "no-store");
  }
  // No answer in between: what is shown is as old as it says.
  assert.ok(answers.slice(answers.indexOf(failed()[0])).every(({ status }) => status === 503));
  assert.equal(await text(page, "[data-count=total]"), kept);
  assert.equal(await page.locator("#read-at").getAttribute("datetime"), since);
  const age = Date.now() - Date.parse(since);
  assert.ok(age > 0 && age < 90_000, `as of ${age} ms ago`);
  const pauses = failed().slice(1).map(({ time }, index) => time - failed()[index].time);
  assert.ok(pauses.every((pause) => pause >= 2900), `${pauses} ms`);
  // A page that is opened now has no numbers, and says why.
  const other = await page.context().newPage();
  const answer = await other.goto(KEY);
  assert.equal(answer.status(), 503);
  assert.ok(Number(answer.headers()["retry-after"]) >= 1);
  await isAccessible(other, "away-opened");
  await other.close();
  page.faults.length = 0;
  await inspect(page, "away");
  // And back.
  ask("let Cassandra answer");
  await untilAway(false);
  assert.ok(Date.parse(await page.locator("#read-at").getAttribute("datetime")) > Date.parse(since));
  page.faults.length = 0;
  await page.context().close();
  console.log("ok  away");
}

/** A cache between may answer with what it has: the page says so once that is old. */
async function aged() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const says = (isOld) => page.waitForFunction(
    (isOld) => document.getElementById("state").textContent.startsWith("out of date") === isOld, isOld, { timeout: 30_000 });
  let ageS = 20;
  let answered = 0;
  await page.route("**/query?*", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), age: String(ageS) } });
    answered += 1;
  });
  while (answered < 2) await page.waitForTimeout(100);
  await says(false);
  ageS = 45;
  await says(true);
  const age = Date.now() - Date.parse(await page.locator("#read-at").getAttribute("datetime"));
  assert.ok(age >= 44_000 && age < 90_000, `as of ${age} ms ago`);
  ageS = 0;
  await says(false);
  await page.unrouteAll({ behavior: "wait" });
  await page.context().close();
  console.log("ok  aged");
}

/** The decisions of the scripts, on their own. */
async function decisions() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const pauses = await page.evaluate(() => [
    pauseMs(2000, 0, 0, 0), pauseMs(2000, 0, 0, 1), pauseMs(2000, 1, 0, 0.5), pauseMs(2000, 9, 0, 0.5), pauseMs(2000, 1, 90_000, 0),
  ]);
  assert.deepEqual(pauses, [1500, 2500, 4000, 30_000, 90_000]);
  // The pause that the server asks for is that of its header.
  await page.route("**/v1/busy", (route) => route.fulfill({ status: 503, headers: { "retry-after": "4" }, body: "" }));
  assert.equal(await page.evaluate(() => request("/v1/busy").catch((error) => error.pauseMs)), 4000);
  const span = (...given) => page.evaluate((given) => {
    const { from, to, isLive } = spanOf(...given);
    return [parameter(given[0], from, given[3]), parameter(given[0], to, given[3]), isLive];
  }, given);
  const now = Date.parse("2026-03-01T23:30:00Z");
  // A month is not thirty days, and a day is that of the place.
  assert.deepEqual(await span("month", null, now, "UTC"), ["2024-04-01", "2026-04-01", true]);
  assert.deepEqual(await span("day", null, now, "Europe/Berlin"), ["2026-02-01", "2026-03-03", true]);
  assert.deepEqual(await span("hour", null, now, "America/New_York"), ["2026-02-28T00:00:00Z", "2026-03-02T00:00:00Z", true]);
  assert.deepEqual(await span("hour", null, now, "Asia/Kolkata"), ["2026-02-28T00:30:00Z", "2026-03-02T00:30:00Z", true]);
  assert.deepEqual(await span("year", Date.parse("2020-06-01T00:00:00Z"), now, "UTC"), ["2010-01-01", "2020-01-01", false]);
  assert.deepEqual((await span("day", now + 864e8, now, "UTC"))[2], true);
  // Clocks skip the hour at two, or show it twice: then its first moment is meant.
  const hour = (local) => page.evaluate((local) => parameter("hour", Date.parse(local), "Europe/Berlin"), local);
  assert.equal(await hour("2026-03-29T02:00:00Z"), "2026-03-29T01:00:00Z");
  assert.equal(await hour("2026-03-29T03:00:00Z"), "2026-03-29T01:00:00Z");
  assert.equal(await hour("2026-10-25T02:00:00Z"), "2026-10-25T00:00:00Z");
  assert.equal(await hour("2026-10-25T03:00:00Z"), "2026-10-25T02:00:00Z");
  assert.deepEqual(await page.evaluate(() => [isZone("Europe/Berlin"), isZone("Europe/Nowhere")]), [true, false]);
  // A key turns nothing behind it, whichever marks it has.
  const isolations = await page.evaluate(() => ["a\u202eb", "a\u2069\u202eb", "\u2067a\u2066"].map(isolated));
  assert.deepEqual(isolations, ["\u2068a\u202eb\u2069", "\u2068a\u202eb\u2069", "\u2068a\u2069"]);
  assert.equal(await page.evaluate(() => fileName("plays-a\u202egpj.exe-day.csv")), "plays-agpj.exe-day.csv");
  // No cell is a formula, and none is several of which one is.
  const cells = await page.evaluate(() =>
    ["=1", "\uff1d1", "\t=1", "a;=1", "a\r\n-1", "a\t@b", "a;\"=1", "a=1-2;b", "track-1", ""].map(csvCell));
  assert.deepEqual(cells, [
    `"'=1"`, `"'\uff1d1"`, `"'\t'=1"`, `"a;'=1"`, `"a\r\n'-1"`, `"a\t'@b"`, `"a;'""=1"`, `"a=1-2;b"`, `"track-1"`, `""`,
  ]);
  await page.context().close();
  console.log("ok  decisions");
}

/** A link to a span shows the same steps again; what is shown can be taken along as CSV. */
async function spans() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const heads = (page) => page.locator("#rows th").allTextContents();
  const live = await heads(page);
  assert.ok(live[0].endsWith("(so far), real time") && !live[1].includes("so far"), live[0]);
  assert.ok(await page.locator("#unfinished").isVisible());
  assert.ok(await page.locator("#later").isDisabled());
  await page.locator("#earlier").click();
  await page.waitForFunction((first) => document.querySelector("#rows th").textContent !== first, live[0]);
  const earlier = await heads(page);
  assert.equal(earlier.length, 30);
  assert.ok(!earlier[0].includes("so far") && !live.includes(earlier[0]));
  assert.ok(!(await page.locator("#unfinished").isVisible()));
  const link = await page.locator("#permalink").getAttribute("href");
  for (const part of ["step=day", "to=", "time_zone=Europe%2FBerlin"]) assert.ok(link.includes(part), link);
  assert.equal(page.url(), link);
  // In another place of the world.
  const other = await open(link, { ...DESK, colorScheme: "dark", timezoneId: "America/New_York" });
  assert.deepEqual(await heads(other), earlier);
  const [download] = await Promise.all([other.waitForEvent("download"), other.locator("#csv").click()]);
  assert.equal(download.suggestedFilename(), "plays-track-1-day.csv");
  const lines = readFileSync(await download.path(), "utf8").split("\r\n");
  assert.equal(lines[0], '"start","track-1","layer"');
  assert.equal(lines.length, 32);
  assert.match(lines[1], /^\d{4}-\d\d-\d\dT00:00:00\+0[12]:00,\d+,"batch"$/);
  const shownLast = (await other.locator("#rows td").first().textContent()).replaceAll(",", "");
  assert.equal(lines[30].split(",")[1], shownLast);
  await close(other, "span-dark");
  await page.locator("#later").click();
  await page.waitForFunction((first) => document.querySelector("#rows th").textContent === first, live[0]);
  assert.ok(!page.url().includes("to="), page.url());
  await page.context().close();
  console.log("ok  spans");
}

/** Minutes and quarters of an hour, by clocks that are half an hour off. */
async function shortSteps() {
  const page = await open(`${origin}/stats/listens/track-1`, { ...DESK, colorScheme: "light", timezoneId: "Asia/Kolkata" });
  // Browsers have an older name for the same zone.
  assert.match(await text(page, "#offset"), /^Asia\/(Kolkata|Calcutta)$/);
  for (const [step, name, rows, minutes] of [["quarter", "Quarter hour", 48, 15], ["minute", "Minute", 60, 1]]) {
    await page.locator(`[data-step=${step}]`).click();
    await untilStep(page, name);
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#csv").click()]);
    const lines = readFileSync(await download.path(), "utf8").trimEnd().split("\r\n").slice(1);
    assert.ok(Math.abs(lines.length - rows) <= 1, `${lines.length} rows of a ${step}`);
    const starts = lines.map((line) => line.split(",")[0]);
    for (const start of starts) assert.match(start, /^\d{4}-\d\d-\d\dT\d\d:\d\d:00\+05:30$/);
    for (const [index, start] of starts.slice(1).entries()) {
      assert.equal(Date.parse(start) - Date.parse(starts[index]), minutes * 60_000, start);
    }
    assert.ok(Date.parse(starts.at(-1)) <= Date.now() && Date.now() - Date.parse(starts.at(-1)) < (minutes + 1) * 60_000);
    assert.ok((await page.locator("#rows th").first().textContent()).endsWith("(so far), real time"));
  }
  await page.locator("[data-step=day]").click();
  await untilStep(page, "Day");
  await close(page, "steps-short");
  const phone = await open(`${origin}/stats/listens/track-1`, { ...PHONE, colorScheme: "dark" });
  await fits(phone);
  await close(phone, "steps-short-phone");
}

/** Numbers and dates are written as the browser's language has them. */
async function languages() {
  for (const [locale, timezoneId] of [["de-DE", "Europe/Berlin"], ["hi-IN", "Asia/Kolkata"], ["ar-EG", "Africa/Cairo"]]) {
    const page = await open(`${origin}/stats/revenue/large`, { ...PHONE, colorScheme: "light", locale, timezoneId });
    const expected = await page.evaluate((locale) => new Intl.NumberFormat(locale).format(9007199254740993n), locale);
    assert.equal(await text(page, "[data-count=total]"), expected);
    await page.waitForFunction(() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/query?")).length > 1);
    assert.equal(await text(page, "[data-count=total]"), expected);
    await page.locator("summary").click();
    assert.equal(await text(page, "#rows td"), expected);
    const month = await page.evaluate((locale) =>
      new Intl.DateTimeFormat(locale, { month: "long", year: "numeric", timeZone: "UTC" }).format(Date.now()), locale);
    assert.ok((await page.locator("#rows th").first().textContent()).startsWith(month), month);
    await fits(page);
    await close(page, `language-${locale.slice(0, 2)}`);
  }
}

/** From the address of the server to the page of a key, without a word of the manual. */
async function wayIn() {
  const page = await open(`${origin}/`, { ...PHONE, colorScheme: "light" }, "form");
  assert.equal(new URL(page.url()).pathname, "/stats");
  await fits(page);
  await inspect(page, "way-in");
  await page.locator("select").selectOption("plays");
  await page.locator("input[name=key]").fill("no such key");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForSelector("#rows tr", { state: "attached" });
  assert.equal(new URL(page.url()).pathname, "/stats/plays/no%20such%20key");
  assert.ok((await text(page, "main")).includes("Nothing is counted for this key"));
  await close(page, "nothing-counted");
  const missing = await open(`${origin}/stats/nothing/a`, { ...DESK, colorScheme: "dark" }, "main");
  assert.equal(await text(missing, "h1"), "Unknown counter");
  missing.faults.length = 0;
  await close(missing, "problem-dark");
}

/** With tokens, a signed link opens one page and what its script asks for, and nothing else. */
async function signed() {
  const server = new URL(signedLink).origin;
  const context = await browser.newContext({ ...DESK, timezoneId: "Europe/Berlin", locale: "en-GB" });
  const page = await context.newPage();
  const refused = [];
  page.on("response", (response) => { if (response.status() >= 400) refused.push(response.url()); });
  await page.goto(signedLink);
  await page.waitForSelector("#rows tr", { state: "attached" });
  await page.locator("[data-step=month]").click();
  await untilStep(page, "Month");
  assert.ok(page.url().includes("signature="), "a copied address is still a link");
  assert.deepEqual(refused, []);
  await isAccessible(page, "signed-link");
  for (const other of ["/stats/plays/track-2", "/stats", "/operator", "/v1/counters", "/metrics", "/v1/counters/plays/keys/track-1"]) {
    assert.equal((await page.goto(server + other)).status(), 401, other);
  }
  await page.goto(`${server}/operator`);
  await page.getByLabel("Token").fill("reader-0123456789abcdef");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForSelector("text=opens read, and this address needs operate");
  await isAccessible(page, "forbidden");
  assert.equal((await page.goto(`${server}/stats/plays/track-2`)).status(), 200);
  await page.waitForSelector("#rows tr", { state: "attached" });
  await context.close();
  console.log("ok  signed");
}

/** Each step says its layer, and what is loaded while a page is open is seen without loading the page again. */
async function layers() {
  const published = async () => (await (await fetch(`${origin}/v1/freshness`)).json()).freshness.batch;
  const address = `${origin}/stats/listens/track-1?step=minute`;
  const plain = await open(address, { ...DESK, javaScriptEnabled: false }, "#layers");
  const first = await published();
  assert.ok((await text(plain, "#layers")).includes(`are from batch, as of ${first.as_of};`));
  assert.deepEqual(plain.faults, []);
  await plain.context().close();

  const page = await open(address, { ...DESK, colorScheme: "dark" });
  const spoken = (time) => page.evaluate((time) =>
    new Intl.DateTimeFormat(navigator.languages, { dateStyle: "medium", timeStyle: "short" }).format(Date.parse(time)), time);
  const says = async (time) => page.waitForFunction(
    (part) => document.getElementById("layers").textContent.includes(part), `as of ${await spoken(time)};`, { timeout: 30_000 });
  await says(first.as_of);
  assert.equal((await text(page, "[data-text=day-before-layer]")).trim(), "(batch)");
  // A minute that is over since the first load is counted in real time, and those before it were in batch.
  const minute = await page.waitForFunction(() => {
    const heads = [...document.querySelectorAll("#rows th")].map((head) => head.textContent);
    const over = heads[1]?.split(", real time");
    return over?.length === 2 && heads.at(-1).endsWith(", batch") && over[0];
  }, null, { timeout: 70_000 });
  const over = await minute.jsonValue();
  const layerOf = (over) => [...document.querySelectorAll("#rows th")].map((head) => head.textContent)
    .find((head) => head.startsWith(over))?.slice(over.length);
  assert.equal(await page.evaluate(layerOf, over), ", real time");
  ask("load batch counts");
  await page.waitForFunction((over) => [...document.querySelectorAll("#rows th")]
    .some((head) => head.textContent === `${over}, batch`), over, { timeout: 60_000 });
  const second = await published();
  assert.notEqual(second.generation, first.generation);
  assert.ok(Date.parse(second.as_of) > Date.parse(first.as_of), `${first.as_of} ${second.as_of}`);
  await says(second.as_of);
  assert.ok((await page.locator("#rows th").first().textContent()).endsWith("(so far), real time"));
  // By the keyboard, too.
  await page.locator("#chart").focus();
  await page.keyboard.press("Home");
  assert.match(await page.locator("#chart").getAttribute("aria-valuetext"), /, batch: /);
  await page.keyboard.press("End");
  assert.match(await page.locator("#chart").getAttribute("aria-valuetext"), /\(so far\), real time: /);
  await close(page, "layers");
}

const MAP = "#operator .map li";
const ranges = (page, kind) => page.locator(`.legend .${kind}`).getAttribute("data-ranges").then(Number);
const untilRanges = (page, kind, number) =>
  page.waitForFunction(
    ([kind, number]) => document.querySelector(`.legend .${kind}`).dataset.ranges === String(number),
    [kind, number], { timeout: 30_000 });

/** Has the test that started this script do something for the page to show. */
const ask = (action) => console.log(`please ${action}`);

async function operator() {
  const page = await open(`${origin}/operator`, { ...DESK, colorScheme: "light" }, MAP);
  assert.ok(page.bytes < BYTES_MAX, `${page.bytes} bytes`);
  const fields = await page.locator(MAP).evaluateAll((all) =>
    all.map((one) => [one.textContent, getComputedStyle(one, "::before").content]));
  assert.equal(fields.length, 16);
  for (const [index, [words, sign]] of fields.entries()) {
    assert.match(words, new RegExp(`^${index} [a-z ]+$`));
    assert.ok(sign !== "none" && sign.length > 2, `${words} has the sign ${sign}`);
  }
  const kinds = ["counting", "idle", "lagging", "uncertain", "locked", "restoring", "unknown"];
  const numbers = await Promise.all(kinds.map((kind) => ranges(page, kind)));
  assert.equal(numbers.reduce((sum, number) => sum + number), 16, `${numbers}`);
  // The map can be reached by the keyboard; refreshing the page keeps focus and scroll position.
  const focused = () => page.evaluate(() => document.activeElement.className);
  for (let tabs = 0; (await focused()) !== "field"; tabs += 1) {
    assert.ok(tabs < 20, "the map cannot be reached by the tab key");
    await page.keyboard.press("Tab");
  }
  await page.evaluate(() => {
    globalThis.kept = document.activeElement;
    globalThis.scrollTo(0, 120);
  });
  const scrolled = await page.evaluate(() => globalThis.scrollY);
  assert.ok(scrolled > 0, "the page is long enough to be scrolled");
  ask("lock a range");
  await untilRanges(page, "locked", 1);
  assert.equal(await page.locator(`${MAP}.locked`).count(), 1);
  const range = await page.locator(`${MAP}.locked`).evaluate((one) => one.firstChild.data);
  assert.match(await text(page, "[aria-label='Exclusive locks'] tbody"), new RegExp(`^${range}\\s`));
  await inspect(page, "operator-locked");
  ask("release it");
  await untilRanges(page, "locked", 0);
  const keepsFocus = () => page.evaluate(() => document.activeElement === globalThis.kept && globalThis.kept.isConnected);
  assert.ok(await keepsFocus(), "the focus is kept");
  assert.equal(await page.evaluate(() => globalThis.scrollY), scrolled);
  await close(page, "operator");
}

async function operatorDarkAndPhone() {
  const desktop = await open(`${origin}/operator`, { ...DESK, colorScheme: "dark" }, MAP);
  await isDark(desktop);
  await close(desktop, "operator-dark");
  const phone = await open(`${origin}/operator`, { ...PHONE, colorScheme: "light" }, MAP);
  await fits(phone);
  // Offsets rise while events flow.
  const offset = "[aria-label=Partitions] td";
  const before = await text(phone, offset);
  await phone.waitForFunction(
    ([selector, before]) => document.querySelector(selector).innerText !== before, [offset, before], { timeout: 30_000 });
  await close(phone, "operator-phone");
}

/** An operator signs in, holds restorations and lifts the hold again, by the form. */
async function commands() {
  const server = new URL(signedLink).origin;
  const context = await browser.newContext({ ...DESK, timezoneId: "Europe/Berlin", locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(`${server}/operator`);
  await page.getByLabel("Token").fill("operator-0123456789abcdef");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForSelector(MAP, { state: "attached" });
  const command = page.getByLabel("Command");
  const give = page.getByRole("button", { name: "Give the command" });
  const options = await command.locator("option").evaluateAll((all) =>
    all.filter((one) => one.value && !one.disabled).map((one) => one.value));
  assert.deepEqual(options, ["hold-until"], "nothing runs and nothing is held");
  // What was typed is still there when the page has been brought up to date.
  await command.selectOption("hold-until");
  await page.getByLabel("Why").fill("a <new> node");
  await page.getByLabel("For hold-until").fill("2999-01-31T06:00:00Z");
  for (const _ of [1, 2]) await page.waitForResponse((response) => response.url() === `${server}/operator`);
  assert.equal(await command.inputValue(), "hold-until");
  await isAccessible(page, "operator-command");
  await give.click();
  await page.waitForFunction(() => document.body.innerText.includes("a <new> node"));
  assert.match(await text(page, "#operator"), /2999-01-31.*token ops@.*a <new> node/);
  // A time that is none is named, and changes nothing.
  await command.selectOption("hold-until");
  await page.getByLabel("For hold-until").fill("tomorrow");
  await Promise.all([page.waitForURL(`${server}/operator/control`), give.click()]);
  assert.match(await text(page, "main"), /"tomorrow" is not a time/);
  await page.goto(`${server}/operator`);
  await command.selectOption("resume");
  await give.click();
  await page.waitForFunction(() => !document.body.innerText.includes("a <new> node"));
  // A page that is out of date offers an abort: it asks again, and finds that nothing runs.
  await command.locator("option[value=abort]").evaluate((option) => option.removeAttribute("disabled"));
  await command.selectOption("abort");
  await give.click();
  await page.getByRole("heading", { name: "Abort this restoration?" }).waitFor();
  await isAccessible(page, "operator-abort");
  const refused = page.waitForResponse(`${server}/operator/control`);
  await page.getByRole("button", { name: "Abort it" }).click();
  assert.equal((await refused).status(), 409);
  // Chromium does not always close a page that is about to show another document.
  await page.getByRole("heading", { name: "Abort this restoration?" }).waitFor({ state: "detached" });
  await page.waitForLoadState("networkidle");
  await context.close();
  console.log("ok  commands");
}

/** The longest waits up to a minute for polls. A call of the browser without a timeout must not hold up everything. */
const PART_MS_MAX = 90_000;

/** Fails if a part does not end. What it waited for is the last call without an answer in the log of `DEBUG=pw:api`. */
async function bounded(part) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`"${part.name}" still runs after ${PART_MS_MAX / 1000} s`)), PART_MS_MAX);
  });
  try {
    await Promise.race([part(), late]);
  } finally {
    clearTimeout(timer);
  }
}

const parts = [
  desktop, keyboard, phone, live, exact, sideBySide, decisions, unchanged, aged, away, spans, shortSteps, languages, wayIn, signed, layers,
  operator, operatorDarkAndPhone, commands,
];
let code = 0;
try {
  for (const part of parts) await bounded(part);
  console.log("all pages passed");
} catch (error) {
  console.log(error.stack);
  code = 1;
}
// Said before the browser is closed, which is killed if it has not ended by itself after 30 s. A process that it leaves behind
// may hold the pipe to it, and node waits for open pipes.
await browser.close();
process.exit(code);
