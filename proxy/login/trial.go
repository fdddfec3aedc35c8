package login

import (
	"log/slog"
	"time"
)

// Trial returns logins of the route with the name route that let any client use the
// account a, from any address. They serve to find out whether a can log in, and must not
// be used on a route that listens.
func Trial(route string, a *Account) *Logins {
	return &Logins{Settings: Settings{Route: route, Entries: []Entry{{Account: a, anybody: true}}, Log: slog.New(slog.DiscardHandler), Now: time.Now}}
}
