package login

import (
	"log/slog"
	"time"
)

// Trial returns logins with which any client may use an account, from any address. They
// serve to find out whether the account can log in, and must not be used on a route that
// listens.
func Trial(route string, a *Account) *Logins {
	return &Logins{Settings: Settings{Route: route, Entries: []Entry{{Account: a, anybody: true}}, Log: slog.New(slog.DiscardHandler), Now: time.Now}}
}
