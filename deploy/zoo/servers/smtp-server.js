#!/usr/bin/node
// zoo: core; npm's smtp-server
const { SMTPServer } = require("/opt/npm/node_modules/smtp-server");
new SMTPServer({ name: "zoo.example.com", authOptional: true, disableReverseLookup: true, logger: false, size: 64 << 20,
  onAuth(auth, session, done) { done(new Error("nobody")); },
  onData(stream, session, done) { stream.resume(); stream.on("end", () => done(null, "queued")); } })
  .on("error", (err) => console.log(err.message)) // of one session
  .listen(+process.env.ZOO_PORT, "127.0.0.1");
