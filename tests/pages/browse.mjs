// The pages in a real Chromium: mouse, keyboard, phone, dark mode, live numbers, accessibility.
// Usage: node browse.mjs ADDRESS FOLDER; exits with 0 if every check passes. Screenshots go into FOLDER.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.STITCH_BROWSER_TOOLS, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [address, folder] = process.argv.slice(2);
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

async function close(page, name) {
  await inspect(page, name);
  await page.context().close();
  console.log(`ok  ${name}`);
}

async function inspect(page, name) {
  // Evaluated by the debugger: the page's policy allows no scripts but its own.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], `${name}: violations found by axe`);
  assert.deepEqual(page.faults, [], `${name}: faults`);
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
  assert.match(pointed, /^\w+ \d{4}: [\d,]+ plays$/);
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
  await close(page, "side-by-side");
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

try {
  const parts = [desktop, keyboard, phone, live, exact, sideBySide, operator, operatorDarkAndPhone];
  for (const part of parts) await part();
} finally {
  await browser.close();
}
console.log("all pages passed");
