package heal

import (
	"slices"

	"smtpshim/rewrite"
)

// withProducts adds to the sets of table.go, of which standard is the first: the sets of
// further products; the signs of all products that have signs; and auto, the set that
// looks for them.
//
// In auto, the rules of standard act in every session with their options there, and so do
// two more rules, which act only after a fault. In a session of a product, the options of
// the product's set replace these: the product is known to need them, so that the rule
// need not wait for evidence. If a session has two products, the first set that has
// options for a rule applies.
func withProducts(sets []rewrite.Set) []rewrite.Set {
	sets = append(sets, productSets()...)
	signs := productSigns()
	for i, s := range sets {
		sets[i].Signs = signs[s.Name]
	}
	auto := rewrite.Set{Name: "auto", Doc: "standard, two more rules that act only after a fault, and the set of each product that the greeting, the EHLO or HELP reply, or the client's commands show",
		Rules:   append(slices.Clone(sets[0].Rules), "strip-parameters", "reply-texts"),
		Options: map[string]map[string]any{"strip-parameters": {"when": "refused"}}}
	for _, s := range sets {
		if s.Signs != (rewrite.Signs{}) {
			auto.Products = append(auto.Products, s.Name)
		}
	}
	return slices.Insert(sets, 1, auto)
}

// productSigns returns the signs of products, by set. The greetings are from
// rapid7/recog, smtp_banners.xml, and from the sources in the comments.
func productSigns() map[string]rewrite.Signs {
	return map[string]rewrite.Signs{
		"exchange-5.0": {
			Greeting: `Microsoft Exchange Internet Mail Service 5\.0\.`, // KB Q164060
			Says:     rewrite.SetOf(rewrite.VerbXAUTH),                  // KB Q195201
		},
		"exchange-5.5": {
			Greeting: `Microsoft Exchange Internet Mail Service 5\.5\.`, // KB Q173656, KB Q194131
			Offer:    `^[^\n]*\nXEXCH50(?:\n[^\n]*)*\nAUTH=LOGIN$`,      // KB Q262945: no other offer begins with XEXCH50
		},
		"exchange-2003": {
			Offer: `\nX-LINK2STATE`, // KB 257569
			Says:  rewrite.SetOf(rewrite.VerbXLINK2STATE, rewrite.VerbXEXPS),
		},
		"exchange-2007": {Greeting: `Microsoft ESMTP MAIL Service ready at`},
		"iis-4":         {Greeting: `Microsoft SMTP MAIL ready at`},                  // KB Q240832
		"iis-5":         {Greeting: `Microsoft ESMTP MAIL Service, Version: 5\.0\.`}, // KB 254560
		"windows-2003":  {Greeting: `Microsoft ESMTP MAIL Service, Version: 6\.0\.`}, // a sender of this product has no sign
		"sendmail-8.6": {
			Greeting: `Sendmail (?:8\.[1-6]\.|[45]\.)`,                    // Sendmail 8.7's release notes; KB Q112286 has 4.1
			Help:     `This is [Ss]endmail version (?:8\.[1-6]\.|[45]\.)`, // rapid7/recog, smtp_help.xml
		},
		"mail-gateway-3.0": {Greeting: `All set, fire away`}, // KB Q112286
		"vm-smtp": {
			Greeting: `running IBM VM SMTP`,                    // KB Q102107
			Help:     `is running the IBM VM operating system`, // rapid7/recog, smtp_help.xml
		},
		"domino":    {Greeting: `Lotus (?:Domino Release|SMTP MTA Service|Notes ESMTP Server)`},
		"domino-5":  {Greeting: `Lotus Domino Release (?:4\.6|5\.)`},
		"groupwise": {Greeting: `GroupWise (?:Internet Agent|SMTP/MIME Daemon)`},
		"mdaemon": {
			Greeting: `MDaemon`,                            // nmap
			Help:     `^Help system currently inactive\.$`, // rapid7/recog, smtp_help.xml
		},
		"raptor":       {Greeting: `Generic SMTP handler`},                                                                      // KB Q245787
		"interlock":    {Greeting: `InterLock SMTP Gateway`},                                                                    // KB Q228725
		"office-365":   {Greeting: `\.office365\.com Microsoft ESMTP MAIL Service|\.outlook\.com Microsoft ESMTP MAIL Service`}, // simonrob/email-oauth2-proxy#95
		"fw-1":         {Greeting: `CheckPoint FireWall-1 secure `},
		"panasonic-dp": {Greeting: `^ *DP-[0-9]+[A-Z]?$`},                // nmap: DP-3510, DP-1820E
		"cisco-pix":    {Greeting: `^(?:[*20 ]*\*[*20 ]*|SMTP/cmap.*)$`}, // KB320027
	}
}

// Untold returns the sets for products that cannot be recognised for certain. The keys
// are the names of the sets, and the values are the reasons. The set auto does not look
// for these products: an administrator who needs such a set must name it.
func Untold() map[string]string {
	return map[string]string{
		"exchange-4.0":    `its greeting, "220 imc.example.com service ready", may be anybody's, and its set changes messages`,                       // KB Q146157
		"mcis-2":          "it greets as IIS 4 does, whose set has the same rule",                                                                    // KB Q240832
		"message-guard":   "no source has its greeting, and when it refuses a message, that has gone already",                                        // KB Q180414
		"outlook-express": "it says nothing that other clients do not say",                                                                           // Postfix SASL_README
		"watchguard":      `its greeting, "220 SMTP service ready", may be anybody's, and what logins the server behind it takes is not on the wire`, // nmap; KB Q305007
	}
}

// productSets returns the sets of products of which only one or two facts are known. Some
// have only rules of standard. Such a set documents which of them the product needs, and
// lets auto report that the product was there.
func productSets() []rewrite.Set {
	return []rewrite.Set{
		{Name: "exchange-2003", Doc: "Exchange 2000 and 2003, as senders and as servers", // KB912341, KB 257569
			Rules: []string{"join-data-reply", "repeat-ehlo", "auth-prompts"}},
		{Name: "exchange-2007", Doc: "Exchange 2007 and later, which require a second EHLO inside TLS", // xhit/go-simple-mail#94
			Rules: []string{"repeat-ehlo"}},
		{Name: "mail-gateway-3.0", Doc: "Microsoft Mail Gateway to SMTP 2.1 and 3.0: hangs up on EHLO and on every command that it does not know, and names no host", // KB Q100352, Q99854, Q112286
			Rules:   []string{"host-name-first", "fall-back-to-helo", "strip-parameters", "fix-hello-name"},
			Options: withoutParameters(map[string]map[string]any{"fall-back-to-helo": {"remembered": "helo"}, "fix-hello-name": {"when": "always"}})},
		{Name: "vm-smtp", Doc: "IBM's SMTP for VM: HELO alone, and with a host name", // KB Q102107
			Rules: []string{"fall-back-to-helo", "strip-parameters", "fix-hello-name"}, Options: withoutParameters(mendsEveryName())},
		{Name: "domino", Doc: "Lotus Domino and Notes: particular about the name in EHLO, AUTH=LOGIN alone, and without 8BITMIME and DSN unless configured otherwise", // nmap; KB Q295734; Postfix HISTORY 20010121
			Rules: []string{"host-name-first", "fix-hello-name", "strip-parameters", "auth-spelling"}, Options: withoutParameters(mendsEveryName())},
		{Name: "domino-5", Doc: "Lotus Domino 4.6 to 5.0.8 as a server",
			Rules: []string{"shield"}, Options: map[string]map[string]any{"shield": shieldsDomino5()}},
		{Name: "groupwise", Doc: "Novell GroupWise Internet Agent: DSN and 8BITMIME by configuration only", // rapid7/recog, nmap
			Rules: []string{"strip-parameters"}, Options: withoutParameters(nil)},
		{Name: "mdaemon", Doc: "MDaemon, which refuses EHLO without a name", // nmap; rapid7/recog, smtp_help.xml
			Rules: []string{"fix-hello-name"}, Options: mendsEveryName()},
		{Name: "raptor", Doc: "Raptor and Axent firewalls: HELO alone, and the reply of the host behind", // KB Q245787
			Rules: []string{"fall-back-to-helo", "strip-parameters"}, Options: withoutParameters(nil)},
		{Name: "interlock", Doc: "ANS InterLock gateway: an EHLO reply without keywords, and without an end", // KB Q228725
			Rules: []string{"strip-parameters", "join-hello-replies", "unended-replies"}, Options: withoutParameters(nil)},
		{Name: "fw-1", Doc: "Check Point FireWall-1's SMTP security server", // rapid7/recog, smtp_banners.xml and smtp_noop.xml
			Rules: []string{"reply-codes", "fall-back-to-helo"}},
		{Name: "cisco-pix", Doc: "Cisco PIX and ASA with inspection of SMTP: overwrite greetings, know neither EHLO nor BDAT, and lose a dot that comes by itself; ASA drops long AUTH lines", // KB320027, KB Q295725, Cisco ASA CLI guide
			Rules:   []string{"host-name-first", "masked-ehlo", "advertise-esmtp", "fall-back-to-helo", "answer-noop", "chunking", "dot-with-text", "split-auth-line"},
			Options: map[string]map[string]any{"split-auth-line": {"when": "always"}}},
		{Name: "panasonic-dp", Doc: "Panasonic's DP copiers as servers: name no host, and their EHLO reply has no end", // nmap
			Rules: []string{"host-name-first", "unended-replies"}},
		{Name: "message-guard", Doc: "Secure Message Guard: refuses a message with a line over 254 octets", // KB Q180414
			Rules: []string{"long-lines"}, Options: map[string]map[string]any{"long-lines": {"length": int64(254)}}},
		{Name: "watchguard", Doc: "WatchGuard's SMTP proxy before a server that takes AUTH LOGIN: takes AUTH out of the EHLO reply", // KB Q305007
			Rules: []string{"offer-auth"}, Options: map[string]map[string]any{"offer-auth": {"mechanisms": []string{"LOGIN"}}}},
		{Name: "office-365", Doc: "Exchange Online's front end, as a server", // muquit/mailsend#152
			Rules: []string{"retry-ehlo"}},
	}
}

// withoutParameters adds options for products that are known to offer little:
// strip-parameters then removes parameters that are not offered, without waiting for a
// refusal.
func withoutParameters(options map[string]map[string]any) map[string]map[string]any {
	if options == nil {
		options = map[string]map[string]any{}
	}
	options["strip-parameters"] = map[string]any{"when": "always"}
	return options
}
