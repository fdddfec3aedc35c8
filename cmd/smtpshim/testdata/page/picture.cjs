// Takes the picture of the page that is in deploy/doc/observe.md: picture.cjs CHROMIUM PAGE
// HOST:PORT FILE, where HOST:PORT is a route whose server is an Exchange 5.0.
"use strict";

const { live, look, rest, run, talk } = require("./look.cjs");

async function takesAPicture(browser) {
  const { page, close } = await look(browser, { viewport: { width: 940, height: 560 }, colorScheme: "light" });
  await live(page);
  await talk("EHLO client.example.net", "MAIL FROM:<anna@example.com>", "RCPT TO:<ben@example.net>", "QUIT");
  await page.waitForSelector("#sessions .pill");
  await page.evaluate(() => {
    for (let d = document.querySelector("#sessions .change"); d; d = d.parentElement.closest("details")) d.open = true;
  });
  await page.screenshot({ path: rest[0], type: "png" });
  await close();
}

run(takesAPicture);
