#!/usr/bin/node
// zoo: core; nodemailer
const nodemailer = require("/opt/npm/node_modules/nodemailer");
const e = process.env;
nodemailer.createTransport({ host: e.ZOO_HOST, port: +e.ZOO_PORT, name: "client.example.com", ignoreTLS: true, secure: false,
  connectionTimeout: 9000, greetingTimeout: 9000, socketTimeout: 9000, auth: e.ZOO_USER ? { user: e.ZOO_USER, pass: e.ZOO_PASSWORD } : undefined })
  .sendMail({ envelope: { from: e.ZOO_FROM, to: [e.ZOO_TO1, e.ZOO_TO2] }, raw: require("fs").readFileSync(e.ZOO_MESSAGE) })
  .then(() => process.exit(0), (err) => { console.log(err.message); process.exit(1); });
