// Looks at the page as people do, in Chromium: browser.cjs CHROMIUM PAGE HOST:PORT,
// where the last is the route of a smtpshim whose server says what is hostile.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const { isForEverybody, live, look, run, sessions, talk } = require("./look.cjs");

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

  await page.click("#choices a:has-text('Healed')");
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
  await page.click(".more summary");
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
  await page.click(".more summary");
  await page.selectOption("[name=outcome]", "refused");
  await page.click("form button");
  await live(page);
  assert.strictEqual(await sessions(page), 1);
  assert.strictEqual(await page.locator("#sessions .pill.bad").textContent(), "refused");
  assert.strictEqual(await page.locator("#sessions .pill.ok").count(), 0);
  const failure = page.locator("#sessions .failure");
  assert.strictEqual(await failure.locator(".said").textContent(), 'MAIL: 550 "5.7.1 <b>not you</b> \\x1b[2J"');
  assert.ok(await failure.getByText(/^means/).isVisible());
  assert.ok(await failure.getByText(/^do/).isVisible());
  await close();
}

async function savesTheRecording(browser) {
  const { page, close } = await look(browser, {}, "?outcome=refused");
  await live(page);
  const [saved] = await Promise.all([page.waitForEvent("download"), page.click("text=Save the recording")]);
  const text = fs.readFileSync(await saved.path(), "utf8");
  assert.ok(saved.suggestedFilename().endsWith(".txt"), saved.suggestedFilename());
  assert.ok(text.includes("C: MAIL FROM:<a@example.com>\nS: \"550 5.7.1 <b>not you</b> \\x1b[2J\""), text);
  await close();
}

// replays plays the refused session again, without scripts and by keyboard, and gives where.
async function replays(browser) {
  const { page, close } = await look(browser, { javaScriptEnabled: false }, "?outcome=refused");
  await page.locator("text=Replay it under the present rules").focus();
  await Promise.all([page.waitForURL(/replay\?session=/), page.keyboard.press("Enter")]);
  const text = await page.locator("pre").textContent();
  assert.ok(text.includes("Refusals that stay:") && text.includes('MAIL: 550 "5.7.1 <b>not you</b> \\x1b[2J"'), text);
  assert.ok(await page.getByText("The dialogue as it would be").isVisible());
  assert.ok(await page.getByText("C: MAIL FROM:<a@example.com>").first().isVisible());
  const path = new URL(page.url());
  await page.click("text=All sessions");
  assert.ok(await sessions(page) > 1);
  await close();
  return path.pathname.slice(1) + path.search;
}

async function isEverybodysPage(browser) {
  const replay = await replays(browser);
  for (const width of [1280, 390]) {
    for (const scheme of ["light", "dark"]) {
      await isForEverybody(browser, "", width, scheme);
      await isForEverybody(browser, replay, width, scheme);
      await isForEverybody(browser, "rule?name=fix-hello-name", width, scheme);
    }
  }
}

run(showsWhatHappens, showsHostileBytesAsText, worksWithoutScripts, showsWhatWasRefused, savesTheRecording, isEverybodysPage);
