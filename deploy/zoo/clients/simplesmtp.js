#!/usr/bin/node
// zoo: npm's simplesmtp
const simplesmtp = require("/opt/npm/node_modules/simplesmtp");
const e = process.env;
const c = simplesmtp.connect(+e.ZOO_PORT, e.ZOO_HOST, { name: "client.example.com", greetingTimeout: 9000, connectionTimeout: 9000,
  auth: e.ZOO_USER ? { user: e.ZOO_USER, pass: e.ZOO_PASSWORD } : undefined });
c.once("idle", () => c.useEnvelope({ from: e.ZOO_FROM, to: [e.ZOO_TO1, e.ZOO_TO2] }));
c.on("message", () => { c.write(require("fs").readFileSync(e.ZOO_MESSAGE)); c.end(); });
let status = 1;
c.on("ready", (ok) => { status = ok ? 0 : 1; c.quit(); setTimeout(() => process.exit(status), 1000); });
c.on("error", (err) => { console.log(err.message); process.exit(1); });
c.on("end", () => process.exit(status));
