// The pages in a real Chromium: clicks, keys, a phone, the dark, numbers that move, what a screen reader is told.
// Usage: node browse.mjs ADDRESS FOLDER; ends with 0 if everything is as it should be. Screenshots go into FOLDER.
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

/** A page of its own that notes everything that must not happen. */
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
    if (new URL(request.url()).origin !== origin) page.faults.push(`elsewhere: ${request.url()}`);
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
  await look(page, name);
  await page.context().close();
  console.log(`ok  ${name}`);
}

async function look(page, name) {
  // Evaluated by the debugger: the page's policy lets no script in but its own.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const told = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(told, [], `${name}: what axe says`);
  assert.deepEqual(page.faults, [], `${name}: what must not happen`);
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}

const text = (page, selector) => page.locator(selector).first().innerText();
const count = async (page, selector) => Number((await text(page, selector)).replaceAll(",", ""));

/** Until the timeline shows steps of this length: its heading changes with its rows. */
const shows = (page, name) =>
  page.waitForFunction((name) => document.getElementById("step-name").textContent === name, name);

async function desk() {
  const page = await open(KEY, { ...DESK, colorScheme: "light" });
  const steps = { Hour: 48, Day: 30, Month: 24, Year: 10 };
  for (const [step, rows] of Object.entries(steps)) {
    const button = page.locator(`[data-step=${step.toLowerCase()}]`);
    await button.click();
    await shows(page, step);
    assert.equal(await button.getAttribute("aria-pressed"), "true");
    assert.equal(await page.locator('[aria-pressed="true"]').count(), 1);
    const shown = await page.locator("#rows tr").count();
    assert.ok(shown >= rows - 1 && shown <= rows + 2, `${shown} rows of a ${step}`);
  }
  await page.locator("summary").click();
  await page.locator("[data-step=month]").click();
  await shows(page, "Month");
  // By pointing.
  const box = await page.locator("#chart .u-over").boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + box.height / 2);
  const pointed = await text(page, "#point");
  await page.mouse.move(box.x + box.width * 0.75, box.y + box.height / 2);
  assert.notEqual(await text(page, "#point"), pointed);
  assert.match(pointed, /^\w+ \d{4}: [\d,]+ plays$/);
  assert.ok(page.bytes < BYTES_MAX, `${page.bytes} bytes`);
  await close(page, "desk-light");
}

async function keys() {
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
  // A step is chosen without a mouse, too.
  await page.locator("[data-step=hour]").focus();
  await page.keyboard.press("Enter");
  await shows(page, "Hour");
  await dark(page);
  await close(page, "desk-dark");
}

async function dark(page) {
  const [red, green, blue] = await page.evaluate(() =>
    getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
  assert.ok(red + green + blue < 150, "the page is dark");
}

async function narrow(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${wide} pixels too wide`);
}

async function phone() {
  const page = await open(KEY, { ...PHONE, colorScheme: "light" });
  await narrow(page);
  await page.locator("[data-step=year]").tap();
  await shows(page, "Year");
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
const until = (page, kind, number) =>
  page.waitForFunction(
    ([kind, number]) => document.querySelector(`.legend .${kind}`).dataset.ranges === String(number),
    [kind, number], { timeout: 30_000 });

/** Whoever started this script does what it says here, so that the page has something to show. */
const ask = (what) => console.log(`please ${what}`);

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
  const kinds = ["counting", "idle", "lagging", "unproved", "locked", "restoring", "unknown"];
  const numbers = await Promise.all(kinds.map((kind) => ranges(page, kind)));
  assert.equal(numbers.reduce((sum, number) => sum + number), 16, `${numbers}`);
  // Without a mouse: to the map, and on; what is shown anew meanwhile takes neither focus nor place away.
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
  await until(page, "locked", 1);
  assert.equal(await page.locator(`${MAP}.locked`).count(), 1);
  const range = await page.locator(`${MAP}.locked`).evaluate((one) => one.firstChild.data);
  assert.match(await text(page, "[aria-label='Exclusive locks'] tbody"), new RegExp(`^${range}\\s`));
  await look(page, "operator-locked");
  ask("give it back");
  await until(page, "locked", 0);
  const still = () => page.evaluate(() => document.activeElement === globalThis.kept && globalThis.kept.isConnected);
  assert.ok(await still(), "the focus is where it was");
  assert.equal(await page.evaluate(() => globalThis.scrollY), scrolled);
  await close(page, "operator");
}

async function operatorElsewhere() {
  const desk = await open(`${origin}/operator`, { ...DESK, colorScheme: "dark" }, MAP);
  await dark(desk);
  await close(desk, "operator-dark");
  const hand = await open(`${origin}/operator`, { ...PHONE, colorScheme: "light" }, MAP);
  await narrow(hand);
  // Offsets rise while events flow.
  const offset = "[aria-label=Partitions] td";
  const before = await text(hand, offset);
  await hand.waitForFunction(
    ([place, before]) => document.querySelector(place).innerText !== before, [offset, before], { timeout: 30_000 });
  await close(hand, "operator-phone");
}

try {
  for (const part of [desk, keys, phone, live, sideBySide, operator, operatorElsewhere]) await part();
} finally {
  await browser.close();
}
console.log("all pages are as they should be");
