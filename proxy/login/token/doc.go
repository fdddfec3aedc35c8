// Package token provides OAuth 2.0 access tokens for an account ahead of need, so that
// a session that logs in to a server rarely waits for one.
//
// A [Source] serves one account and all its sessions. It requests a token when the
// first one is needed, and each further one before its predecessor ends. It makes at
// most one request at a time. After a failed request, all sessions get its error until
// the next one is due. These flows obtain a token: [ClientCredentials], [RefreshToken],
// [ServiceAccount] and [Command]. [Login] obtains the refresh token that RefreshToken
// needs.
//
// No error, log line or printed value of this package contains a token, secret or code.
package token
