// Looks at the page of a smtpshim with many routes, some of whose servers are down:
// many.cjs CHROMIUM PAGE HOST:PORT FILE PID, where FILE is the configuration of the
// process PID. The server of the route HOST:PORT refuses every MAIL.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const { isForEverybody, live, look, rest, run, sessions, talk } = require("./look.cjs");
const [file, pid] = rest;

// reload has the configuration read again, with more at its beginning.
const config = fs.readFileSync(file);
function reload(more) {
  fs.writeFileSync(file, more + config);
  process.kill(Number(pid), "SIGHUP");
}

async function beginsWithSessions(browser) {
  const first = await look(browser);
  await live(first.page);
  for (let i = 0; i < 12; i++) await talk(`EHLO client-${i}.example.com`, "MAIL FROM:<a@example.com>", "QUIT");
  await first.page.waitForFunction(() => document.querySelectorAll("#sessions > li").length >= 12);
  await first.page.getByText("4 more").waitFor(); // eight servers are down
  await first.page.getByRole("heading", { name: "Not ready" }).waitFor();
  await first.close();
  for (const [width, height] of [[1280, 720], [390, 844]]) {
    const { page, close } = await look(browser, { viewport: { width, height } });
    assert.strictEqual(await page.locator("details.route").count(), 40);
    const { bottom, routes } = await page.evaluate(() => ({
      bottom: document.querySelector("#sessions > li .cause").getBoundingClientRect().bottom,
      routes: document.querySelector("#routes").getBoundingClientRect().top,
    }));
    assert.ok(bottom < height, `at ${width} the first failure ends at ${bottom}, under the first screen`);
    assert.ok(bottom < routes, "routes come first");
    await close();
  }
}

async function worksByKeyboard(browser) {
  const { page, close } = await look(browser);
  await live(page);
  const reach = async text => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.textContent.trim()).then(t => t.startsWith(text))) return;
    }
    assert.fail(text + " is not reached by keyboard");
  };
  await reach("Refused");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.strictEqual(outline, "solid", "it is not seen where the keyboard is");
  await Promise.all([page.waitForURL(/outcome=refused/), page.keyboard.press("Enter")]);
  assert.ok(await sessions(page) >= 12);
  await live(page);
  await reach("Dialogue");
  await page.keyboard.press("Enter");
  assert.ok(await page.getByText("MAIL FROM:<a@example.com>").first().isVisible());
  await close();
}

async function saysThatAReloadFailed(browser) {
  const { page, close } = await look(browser);
  await live(page);
  const notice = page.locator("#notices", { hasText: "A reload failed at" });
  assert.strictEqual(await notice.count(), 0);
  reload("nonsense = 1\n");
  await notice.waitFor(); // by itself
  assert.match(await notice.textContent(), /A reload failed at \d\d:\d\d:\d\d[^]*nonsense[^]*until a reload succeeds|until a reload succeeds[^]*nonsense/);
  assert.ok(await notice.evaluate(e => e.getBoundingClientRect().top < 200), "it is not at the top");
  const without = await look(browser, { javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  assert.ok(await without.page.getByText("A reload failed at").isVisible());
  assert.ok(await without.page.evaluate(() => document.querySelector("#sessions > li").getBoundingClientRect().top < 844), "sessions begin below the first screen");
  await without.close();
  for (const width of [1280, 390]) {
    for (const scheme of ["light", "dark"]) await isForEverybody(browser, "", width, scheme, "#notices");
  }
  reload("");
  await notice.waitFor({ state: "detached" });
  await close();
}

run(beginsWithSessions, worksByKeyboard, saysThatAReloadFailed);
