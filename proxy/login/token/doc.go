// Package token provides OAuth 2.0 access tokens for an account ahead of need, so that a
// session that logs in to a server rarely waits for one.
//
// A [Source] serves one account and all its sessions. It requests a token when the first
// one is needed, and renews it before it ends. It makes at most one request at a time.
// After a failure it waits for a while instead of repeating the request for each session.
// These flows obtain a token: [ClientCredentials], [RefreshToken], [ServiceAccount] and
// [Command]. [Login] obtains the refresh token that RefreshToken needs.
//
// No error, log line or printed value of this package contains a token, secret or code.
package token
