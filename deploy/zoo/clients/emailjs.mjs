#!/usr/bin/node
// zoo: emailjs
import { SMTPClient } from "/opt/npm/node_modules/emailjs/dist/index.js";
const e = process.env;
const c = new SMTPClient({ host: e.ZOO_HOST, port: +e.ZOO_PORT, domain: "client.example.com", timeout: 9000, user: e.ZOO_USER, password: e.ZOO_PASSWORD });
c.send({ from: e.ZOO_FROM, to: e.ZOO_TO1 + ", " + e.ZOO_TO2, subject: "zoo", text: "one\n.two\n..three\n" },
  (err) => { if (err) console.log(err.message); process.exit(err ? 1 : 0); });
