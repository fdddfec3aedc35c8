package login

import (
	"log/slog"
	"time"
)

// Trial returns logins that let any client, from any address, use account. route is the
// name of their route. They serve to find out whether account can log in, and must not
// be used on a route that listens.
func Trial(route string, account *Account) *Logins {
	return &Logins{Settings: Settings{Route: route, Entries: []Entry{{Account: account, anybody: true}}, Log: slog.New(slog.DiscardHandler), Now: time.Now}}
}
