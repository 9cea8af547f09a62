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
async function open(url, options) {
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
  await page.waitForSelector("#rows tr", { state: "attached" });
  return page;
}

async function close(page, name) {
  // Evaluated by the debugger: the page's policy lets no script in but its own.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const told = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(told, [], `${name}: what axe says`);
  assert.deepEqual(page.faults, [], `${name}: what must not happen`);
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
  await page.context().close();
  console.log(`ok  ${name}`);
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
  const [red, green, blue] = await page.evaluate(() =>
    getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
  assert.ok(red + green + blue < 150, "the page is dark");
  await close(page, "desk-dark");
}

async function phone() {
  const page = await open(KEY, { ...PHONE, colorScheme: "light" });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${wide} pixels too wide`);
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

try {
  for (const part of [desk, keys, phone, live, sideBySide]) await part();
} finally {
  await browser.close();
}
console.log("all pages are as they should be");
