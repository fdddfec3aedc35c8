#!/usr/bin/node
// zoo: npm's emailjs-smtp-client
const SMTPClient = require("/opt/npm/node_modules/emailjs-smtp-client").default;
const e = process.env;
const c = new SMTPClient(e.ZOO_HOST, +e.ZOO_PORT, { useSecureTransport: false, ignoreTLS: true, name: "client.example.com",
  auth: e.ZOO_USER ? { user: e.ZOO_USER, pass: e.ZOO_PASSWORD } : undefined, logLevel: 0 });
let sent = false, status = 1;
c.onidle = () => { if (sent) c.quit(); else { sent = true; c.useEnvelope({ from: e.ZOO_FROM, to: [e.ZOO_TO1, e.ZOO_TO2] }); } };
c.onready = () => { c.send(require("fs").readFileSync(e.ZOO_MESSAGE, "utf8")); c.end(); };
c.ondone = (ok) => { status = ok ? 0 : 1; setTimeout(() => process.exit(status), 1000); };
c.onerror = (err) => { console.log(err.message); process.exit(1); };
c.onclose = () => process.exit(status);
c.connect();
