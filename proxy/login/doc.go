// Package login logs in at servers in the place of clients that cannot.
//
// An [Account] is how we log in: a password, or OAuth tokens. [Logins] say which
// clients of a route use which account: those of a network, which need not log in, and
// those that log in to us with a user and password of their own. They implement
// rewrite.Logins.
//
// There is no queue: who has to wait for an account waits a bounded moment, and is told
// to come again then.
package login
