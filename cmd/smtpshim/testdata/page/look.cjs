// Helpers of the tests that look at the page in Chromium. Each is run with the
// arguments CHROMIUM PAGE HOST:PORT, where the last is a route, and what it needs besides.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const net = require("node:net");
const { chromium } = require("playwright-core");

const [program, url, route, ...rest] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [host, port] = route.split(":");

// talk says commands one after the other, each when the last was answered.
function talk(...commands) {
  return new Promise((resolve, reject) => {
    const conn = net.connect(Number(port), host);
    let heard = "";
    conn.setEncoding("latin1").on("data", data => {
      heard += data;
      if (!/^\d\d\d( .*)?\r\n$/m.test(heard)) return;
      heard = "";
      commands.length ? conn.write(commands.shift() + "\r\n", "latin1") : conn.end();
    });
    conn.on("close", resolve).on("error", reject);
  });
}

// look opens the page; nothing on it may fail, or ask somebody else.
async function look(browser, options, path = "") {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(120000); // a machine may be busy
  const page = await context.newPage();
  const wrong = [];
  page.on("console", m => m.type() === "error" && wrong.push(m.text()));
  page.on("pageerror", e => wrong.push(e.message));
  page.on("dialog", d => { wrong.push("a script of a peer ran"); d.dismiss(); });
  page.on("request", r => r.url().startsWith(url) || wrong.push(r.url()));
  await page.goto(url + path);
  return { page, close: async () => { await context.close(); assert.deepStrictEqual(wrong, []); } };
}

// progress says what comes next, for whoever reads why a test took too long.
const progress = what => console.error(`${Math.round(performance.now() / 1000)}s ${what}`);

const sessions = page => page.locator("#sessions > li").count();
const live = page => page.waitForFunction(() => document.querySelector("#live").textContent === "live");

// isForEverybody wants a page that is no wider than the screen, has nothing too small for
// a finger, and does not move; in part, axe finds nothing wrong.
async function isForEverybody(browser, path, width, colorScheme, part = "html") {
  const { page, close } = await look(browser, { viewport: { width, height: 844 }, colorScheme, reducedMotion: "reduce", bypassCSP: true }, path);
  const what = `${path} ${width} ${colorScheme}`;
  progress(what);
  await page.evaluate(() => document.querySelectorAll("details").forEach(d => { d.open = true; }));
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(part => axe.run(part), part);
  const found = violations.map(v => v.id + ": " + v.nodes.map(n => n.html).join("; "));
  assert.deepStrictEqual(found, [], what);
  assert.ok(passes.length > (part === "html" ? 10 : 0), `${what}: axe looked at nothing`);
  const wide = await page.evaluate(() => [...document.querySelectorAll("body *")].filter(
    e => e.getBoundingClientRect().right > innerWidth && !e.closest(".hidden")).map(e => e.outerHTML.slice(0, 300)));
  assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth), width, `${what}: wider than the screen: ${wide.join("\n")}`);
  const small = await page.locator("summary, button, select, .choices a, .actions a, .idle a").evaluateAll(
    all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect()).filter(r => r.width < 44 || r.height < 44).length);
  assert.strictEqual(small, 0, what + ": targets are too small for a finger");
  const moves = await page.evaluate(() => [...document.querySelectorAll("*")].filter(e => {
    const style = getComputedStyle(e);
    return style.animationName !== "none" || style.transitionDuration !== "0s";
  }).length);
  assert.strictEqual(moves, 0, what + ": something moves");
  await close();
}

// run has functions look at the page with a browser, one after the other. The first
// that fails ends the process with an error.
async function run(...looks) {
  const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    for (const looksAt of looks) {
      progress(looksAt.name);
      await looksAt(browser);
    }
  } catch (err) {
    console.error(err);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

module.exports = { isForEverybody, live, look, rest, run, sessions, talk };
