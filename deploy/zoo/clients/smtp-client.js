#!/usr/bin/node
// zoo: npm's smtp-client
const { SMTPClient } = require("/opt/npm/node_modules/smtp-client");
const e = process.env;
(async () => {
  const c = new SMTPClient({ host: e.ZOO_HOST, port: +e.ZOO_PORT });
  await c.connect({ timeout: 9000 });
  await c.greet({ hostname: "client.example.com", timeout: 9000 });
  if (e.ZOO_USER) await c.authPlain({ username: e.ZOO_USER, password: e.ZOO_PASSWORD, timeout: 9000 });
  await c.mail({ from: e.ZOO_FROM, timeout: 9000 });
  await c.rcpt({ to: e.ZOO_TO1, timeout: 9000 });
  await c.rcpt({ to: e.ZOO_TO2, timeout: 9000 });
  await c.data(require("fs").readFileSync(e.ZOO_MESSAGE, "utf8"), { timeout: 9000 });
  await c.quit({ timeout: 9000 });
})().then(() => process.exit(0), (err) => { console.log(err.message); process.exit(1); });
