package login

import (
	"log/slog"
	"time"
)

// Trial returns Logins that let every client use account, from any address and without
// a login to us. route is the name of their route. They serve to find out whether
// account can log in. They must not be used on a route that listens.
func Trial(route string, account *Account) *Logins {
	return &Logins{Settings: Settings{Route: route, Entries: []Entry{{Account: account, anybody: true}}, Log: slog.New(slog.DiscardHandler), Now: time.Now}}
}
