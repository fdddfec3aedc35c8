// Looks at the page as people do, in Chromium: browser.cjs CHROMIUM PAGE HOST:PORT,
// where the last is the route of a smtpshim whose server says what is hostile.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const net = require("node:net");
const { chromium } = require("playwright-core");

const [program, url, route] = process.argv.slice(2);
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
  const page = await context.newPage();
  const wrong = [];
  page.on("console", m => m.type() === "error" && wrong.push(m.text()));
  page.on("pageerror", e => wrong.push(e.message));
  page.on("dialog", d => { wrong.push("a script of a peer ran"); d.dismiss(); });
  page.on("request", r => r.url().startsWith(url) || wrong.push(r.url()));
  await page.goto(url + path);
  return { page, close: async () => { await context.close(); assert.deepStrictEqual(wrong, []); } };
}

const sessions = page => page.locator("#sessions > li").count();
const live = page => page.waitForFunction(() => document.querySelector("#live").textContent === "live");

async function showsWhatHappens(browser) {
  const { page, close } = await look(browser);
  await live(page);
  await talk("EHLO sub2.", "QUIT");
  await page.waitForSelector("#sessions .pill.ok"); // by itself
  const change = page.locator("#sessions .change", { hasText: "fix-hello-name" });
  assert.strictEqual(await change.locator("del").textContent(), "EHLO sub2.");
  assert.strictEqual(await change.locator("ins").textContent(), "EHLO sub2");
  await page.waitForFunction(() => {
    const change = document.querySelector("#sessions .change");
    for (let d = change.parentElement.closest("details"); d; d = d.parentElement.closest("details")) {
      d.open = true; // it is not if whoever asked whether it listens was on the page before
    }
    const [said, delivered] = ["del", "ins"].map(part => change.querySelector(part).getBoundingClientRect());
    return said.width > 0 && said.right < delivered.x && said.y === delivered.y; // side by side
  });

  await change.locator("summary").focus();
  await page.keyboard.press("Enter");
  assert.ok(await change.getByText("Source: KB Q240832").isVisible());
  await talk("EHLO client.example.com", "VRFY \xe2\x80\xae\xff<script>alert(1)</script>", "QUIT");
  await page.waitForFunction(() => document.querySelectorAll("#sessions .pill.ok").length === 2);
  assert.ok(await change.getByText("Source: KB Q240832").isVisible(), "what was open is closed");
  assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), "changed by fix-hello-name");

  await page.check("[name=healed]");
  await page.click("form button");
  await live(page);
  assert.strictEqual(await sessions(page), 1);
  await close();
}

async function showsHostileBytesAsText(browser) {
  const { page, close } = await look(browser);
  const text = await page.locator("#sessions").textContent();
  for (const want of ['"VRFY \\u202e\\xff<script>alert(1)</script>"', '\\x1b[2J', "<img src=x onerror=alert(1)>"]) {
    assert.ok(text.includes(want), want + " is not in " + text);
  }
  assert.strictEqual(await page.locator("#sessions img, #sessions script").count(), 0);
  await close();
}

async function worksWithoutScripts(browser) {
  const { page, close } = await look(browser, { javaScriptEnabled: false }, "?healed=1");
  assert.strictEqual(await sessions(page), 1);
  assert.ok(await page.locator("noscript a").isVisible());
  assert.ok(!await page.locator("#pause").isVisible());
  await page.uncheck("[name=healed]");
  await page.click("form button");
  assert.strictEqual(await page.locator("#sessions .pill.ok").count(), 2); // whoever asked whether it listens may be there too
  await close();
}

async function showsWhatWasRefused(browser) {
  const { page, close } = await look(browser);
  await live(page);
  await talk("EHLO client.example.com", "MAIL FROM:<a@example.com>", "QUIT");
  await page.waitForSelector("#sessions .pill.bad"); // by itself
  await page.selectOption("[name=outcome]", "refused");
  await page.click("form button");
  await live(page);
  assert.strictEqual(await sessions(page), 1);
  assert.strictEqual(await page.locator("#sessions .pill.bad").textContent(), "refused");
  assert.strictEqual(await page.locator("#sessions .reason").textContent(), "MAIL 550");
  assert.strictEqual(await page.locator("#sessions .pill.ok").count(), 0);
  const facts = await page.locator("#sessions .facts").textContent();
  assert.ok(facts.includes('MAIL: 550 "5.7.1 <b>not you</b> \\x1b[2J"'), facts);
  await close();
}

async function isForEverybody(browser, width, colorScheme) {
  const { page, close } = await look(browser, { viewport: { width, height: 900 }, colorScheme, bypassCSP: true });
  await page.evaluate(() => document.querySelectorAll("details").forEach(d => { d.open = true; }));
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => axe.run());
  const found = violations.map(v => v.id + ": " + v.nodes.map(n => n.html).join("; "));
  assert.deepStrictEqual(found, [], `${width} ${colorScheme}`);
  assert.ok(passes.length > 10);
  assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth), width, "it is wider than the screen");
  const small = await page.locator("summary, button, select").evaluateAll(
    all => all.map(e => e.getBoundingClientRect()).filter(r => r.width < 44 || r.height < 44).length);
  assert.strictEqual(small, 0, "targets are too small for a finger");
  await close();
}

(async () => {
  const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
  try {
    await showsWhatHappens(browser);
    await showsHostileBytesAsText(browser);
    await worksWithoutScripts(browser);
    await showsWhatWasRefused(browser);
    for (const width of [1280, 390]) {
      for (const scheme of ["light", "dark"]) await isForEverybody(browser, width, scheme);
    }
  } finally {
    await browser.close();
  }
})().catch(err => {
  console.error(err);
  process.exit(1);
});
