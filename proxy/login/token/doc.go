// Package token keeps an OAuth 2.0 access token at hand for an account, so that
// a session that logs in to a server does not wait for one.
//
// A [Source] is made once for an account and is used by all its sessions. It
// requests a token when the first is asked for, renews it before it ends, has at
// most one request under way, and remembers a failure for a while instead of
// repeating the request for each session. These flows obtain a token:
// [ClientCredentials], [RefreshToken], [ServiceAccount] and [Command];
// [Login] obtains the refresh token that RefreshToken needs.
//
// No token, secret or code is part of an error, of a log line, or of what a
// value of this package prints.
package token
