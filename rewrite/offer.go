package rewrite

// A Keyword is something that a server's EHLO reply offers, as far as a rule
// or the engine asks.
type Keyword uint16

const (
	OffersSTARTTLS Keyword = 1 << iota
	OffersPIPELINING
	OffersCHUNKING
	OffersAUTH     // AUTH, AUTH= or X-EXPS with anything
	OffersAUTHNTLM // the same with NTLM
	OffersXAUTH    // XAUTH with NTLM, or without any mechanism
)

// offered reads what an EHLO reply offers.
func offered(r Reply) Keyword {
	var k Keyword
	for _, line := range r.Lines[1:] {
		name, params := keyword(line)
		switch name {
		case "STARTTLS":
			k |= OffersSTARTTLS
		case "PIPELINING":
			k |= OffersPIPELINING
		case "CHUNKING":
			k |= OffersCHUNKING
		case "AUTH", "X-EXPS":
			k |= OffersAUTH
			if hasWord(params, "NTLM") {
				k |= OffersAUTHNTLM
			}
		case "XAUTH":
			if params == "" || hasWord(params, "NTLM") {
				k |= OffersXAUTH
			}
		}
	}
	return k
}
