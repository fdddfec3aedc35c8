#!/usr/bin/node
// zoo: Upyo
import { createMessage } from "/opt/npm/node_modules/@upyo/core/dist/index.js";
import { SmtpTransport } from "/opt/npm/node_modules/@upyo/smtp/dist/index.js";
const e = process.env;
const t = new SmtpTransport({ host: e.ZOO_HOST, port: +e.ZOO_PORT, secure: false, localName: "client.example.com", connectionTimeout: 9000, socketTimeout: 9000,
  pool: false, auth: e.ZOO_USER ? { user: e.ZOO_USER, pass: e.ZOO_PASSWORD } : undefined });
const r = await t.send(createMessage({ from: e.ZOO_FROM, to: [e.ZOO_TO1, e.ZOO_TO2], subject: "zoo", content: { text: "one\n.two\n..three\n" } }));
if (!r.successful) console.log(r.errorMessages);
process.exit(r.successful ? 0 : 1);
