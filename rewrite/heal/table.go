// Package heal contains the rules. A rule describes what some client or server cannot
// handle, and heals it. Each rule is a row of the [Table] and uses only the exported API
// of package rewrite.
package heal

import "smtpshim/rewrite"

// Table returns all rules. They act in the order of the table, except on replies of the
// server and on its offers in the reply to EHLO: on these they act in the reverse
// order. Malformed replies are repaired before that, in the order of the table (see
// [rewrite.Repair]).
func Table() []rewrite.Rule {
	return []rewrite.Rule{
		oneLineReplies(), // the last to see a reply
		joinDataReply(),
		plainReplies(), // sees texts of other rules
		statusCodes(),  // sees codes of other rules
		replyTexts(),
		hideKeywords(),
		sizeZero(),
		authSpelling(),
		authPrompts(), // sees the exchange after split-auth-line and login-to-plain
		deferAuthFailures(),
		hideFailedSTARTTLS(),
		hostNameFirst(), // sees the greeting after advertise-esmtp has looked for asterisks
		hideESMTP(),     // removes what advertise-esmtp adds
		refusedGreeting(),
		tooManyRecipients(),
		noValidRecipients(),
		plainKeywords(), // sees offers after the rules below
		oneAuthLine(),
		offerAuth(),
		translateXAUTH(),
		starttlsKeyword(),
		acceptEarlyTLS(),
		greetInClear(),
		repeatEHLO(),
		secondEHLO(),
		mend505(), // sees replies after retry-starttls
		retrySTARTTLS(),
		fallBackToHELO(),
		maskedEHLO(),
		advertiseESMTP(),
		heloToEHLO(),   // sees names that fix-hello-name cannot correct
		retryEHLO(),    // sees a refusal before EHLO is given up
		fixHelloName(), // sees a refused name before fall-back-to-helo gives up EHLO
		answerNOOP(),
		resetBeforeMail(),
		bdatToData(),
		bdatBlanks(),
		mapAuthNames(), // before login-to-plain joins name and password
		joinAuthLines(),
		splitAuthLine(),
		loginToPlain(),
		mapDomains(),
		headerFields(), // before other rules look at signatures and labels
		label8Bit(),
		offer8BITMIME(), // after label-8bit; sees BODY before strip-parameters removes it
		stripParameters(),
		tidyCommands(),
		upperCaseVerbs(),
		blankLines(),
		otherProtocols(),
		shield(), // sees commands that other rules have made
		chunking(),
		lfEnds(),
		commandEnds(), // sees lines after lf-ends
		strayBytes(),
		leadingDots(),
		longLines(),       // folds lines that other rules have made
		dotWithText(),     // the last to see a message
		emptyReplyLines(), // from here on, rules run on a reply in this order
		replyLineEnds(),
		replySeparators(),
		mixedReplyCodes(),
		longReplyLines(),
		joinHelloReplies(),
		unendedReplies(),
		secondReplies(),
		lastWords(),
		replyCodes(), // its Reply sees the server's own code, before any other rule
	}
}

// Names returns the names of all rules and sets.
func Names() (names []string) {
	for _, r := range Table() {
		names = append(names, r.Name)
	}
	for _, s := range Sets() {
		names = append(names, s.Name)
	}
	return names
}

// Sets returns all sets. A set is one name for several rules.
func Sets() []rewrite.Set {
	return withProducts([]rewrite.Set{
		{Name: "standard", Doc: "rules that act only on evidence of their own, and harm nobody; the default", Rules: []string{
			"join-data-reply", "fix-hello-name", "translate-xauth", "starttls-keyword", "accept-early-tls", "repeat-ehlo", "second-ehlo",
			"mend-505", "retry-starttls", "fall-back-to-helo", "advertise-esmtp", "no-valid-recipients", "bdat-blanks",
			"command-ends", "empty-reply-lines", "reply-line-ends", "reply-separators", "mixed-reply-codes",
			"long-reply-lines", "join-hello-replies", "second-replies", "last-words", "split-auth-line", "tidy-commands",
			"retry-ehlo", "reset-before-mail", "one-auth-line"}},
		{Name: "exchange-4.0", Doc: "Exchange 4.0's Internet Mail Connector: no ESMTP at all, and messages cut at dots before SP2", Rules: []string{"fall-back-to-helo", "leading-dots"},
			Options: map[string]map[string]any{"leading-dots": {"mode": "encode"}}},
		{Name: "exchange-5.0", Doc: "Exchange 5.0's Internet Mail Service", Rules: []string{
			"advertise-esmtp", "fall-back-to-helo", "translate-xauth", "auth-spelling", "shield"},
			Options: map[string]map[string]any{"translate-xauth": {"spelling": "both"}, "advertise-esmtp": {"when": "always"},
				"auth-spelling": {"show": "both"}, "shield": shieldsExchange50()}}, // Postfix, broken_sasl_auth_clients
		{Name: "exchange-5.5", Doc: "Exchange 5.5's Internet Mail Service", Rules: []string{
			"translate-xauth", "starttls-keyword", "repeat-ehlo", "second-ehlo", "mend-505", "retry-starttls", "shield"},
			Options: map[string]map[string]any{"second-ehlo": {"when": "always"}, "shield": shieldsExchange55()}},
		{Name: "iis-4", Doc: "the SMTP service of IIS 4.0 (NT 4 Option Pack)", Rules: []string{
			"fix-hello-name", "repeat-ehlo", "mend-505", "retry-starttls"}, Options: mendsEveryName()},
		{Name: "iis-5", Doc: "the SMTP service of IIS 5.0 (Windows 2000)", Rules: []string{
			"fix-hello-name", "repeat-ehlo", "mend-505", "retry-starttls", "auth-prompts"}, Options: mendsEveryName()},
		{Name: "mcis-2", Doc: "Microsoft Commercial Internet System 2.x", Rules: []string{"fix-hello-name"}, Options: mendsEveryName()},
		{Name: "windows-2003", Doc: "Windows Server 2003's SMTP service and Exchange 2000 and 2003 on it, as senders and as servers", // KB912341, MS-SMTPNTLM
			Rules: []string{"join-data-reply", "auth-prompts"}},
		{Name: "outlook-express", Doc: "Outlook Express 4 to 6 and Outlook up to 2003, as clients that log in", Rules: []string{"auth-spelling", "auth-prompts"},
			Options: map[string]map[string]any{"auth-spelling": {"show": "both"}}}, // Postfix SASL_README; Exim specification, LOGIN
		{Name: "sendmail-8.6", Doc: "Sendmail 8.6 and older, which split long commands: set `limits.command_line` to 512 as well", Rules: []string{"fall-back-to-helo", "shield"},
			Options: map[string]map[string]any{"shield": shieldsSendmail86()}},
	})
}

// mendsEveryName returns options for products that are known to refuse names (KB
// Q240832).
func mendsEveryName() map[string]map[string]any {
	return map[string]map[string]any{"fix-hello-name": {"when": "always"}}
}

// Book returns a book with the rules of [Table] and the sets of [Sets].
func Book() rewrite.Book { return rewrite.Book{Rules: Table(), Sets: Sets()} }

// Compile returns the rules that names and options choose, as [rewrite.Book.Compile]
// does for the result of [Book]. In addition, a name that begins with ReplacePrefix is
// the name of a rule that [[route.replace]] defines. The errors are all mistakes found.
func Compile(names []string, options map[string]map[string]any) (*rewrite.Rules, []error) {
	book := Book()
	book.Rules = append(book.Rules, replacements(names)...) // nearest to the server
	return book.Compile(names, options)
}
