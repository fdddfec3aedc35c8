// Package login logs in at servers in place of clients that cannot.
//
// An [Account] is what logs in: with a password or with OAuth tokens. [Logins] determine
// which clients of a route use which account: clients of given networks, which need not
// log in, and clients that log in to the proxy with a user and password of their own.
// Logins implement rewrite.Logins.
//
// There is no queue. A client that must wait for an account waits for a limited time and
// is then told to try again later.
package login
