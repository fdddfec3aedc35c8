#!/usr/bin/node
// zoo: npm's smtp-server as an LMTP server
const { SMTPServer } = require("/opt/npm/node_modules/smtp-server");
new SMTPServer({ name: "zoo.example.com", lmtp: true, authOptional: true, disableReverseLookup: true, logger: false,
  onData(stream, session, done) { stream.resume(); stream.on("end", () => done(null, session.envelope.rcptTo.map(() => "queued"))); } })
  .on("error", (err) => console.log(err.message)) // of one session
  .listen(+process.env.ZOO_PORT, "127.0.0.1");
