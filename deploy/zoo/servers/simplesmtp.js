#!/usr/bin/node
// zoo: npm's simplesmtp
const s = require("/opt/npm/node_modules/simplesmtp").createServer({ name: "zoo.example.com", disableDNSValidation: true, disableEHLO: false,
  maxSize: 64 << 20, timeout: 60000,
  disableSTARTTLS: true }); // its TLS needs an older Node
s.on("dataReady", (envelope, done) => done(null, "queued"));
s.listen(+process.env.ZOO_PORT, "127.0.0.1");
