package rewrite

import "strings"

func translateXAUTH() Rule {
	return Rule{
		Name:  "translate-xauth",
		Heals: "Exchange 5.0, which logs in with XAUTH, and everybody else, who says AUTH NTLM: each understands the other",
		Doc: "Exchange 5.0 looks for XAUTH in the EHLO reply and bounces the mail with `502 Server does not support AUTH.` where " +
			"there is none; as a server it answers AUTH with 500. A server that offers AUTH with NTLM is shown with XAUTH too, " +
			"in both spellings, and XAUTH in any form becomes AUTH NTLM; a server that offers XAUTH is shown with AUTH NTLM " +
			"too, and AUTH NTLM becomes XAUTH. A form that is refused before any challenge is said in another. " +
			"Exchange 5.5 accepts NTLM and does not list it (KB Q262945). The NTLM messages are not touched. " +
			"How Exchange 5.0 spells XAUTH is documented nowhere; every plausible spelling is accepted.",
		Source: "KB Q195201; KB Q262945; MS-SMTPNTLM",
		setup: func(options) (actions, *ConfigError) {
			return actions{
				command: xauthCommand, commandVerbs: setOf(VerbAUTH, VerbXAUTH),
				reply: xauthReply, replyVerbs: setOf(VerbGreeting, VerbEHLO, VerbAUTH, VerbXAUTH),
			}, nil
		},
	}
}

// noteExchange55 is noted where the greeting is Exchange 5.5's: it accepts NTLM
// without listing it (KB Q262945).
const noteExchange55 = 1

// wantsXAUTH and wantsAUTH say which of the two the server understands alone.
func wantsAUTH(t *Turn) bool {
	return !t.Offers(OffersXAUTH) && (t.Offers(OffersAUTHNTLM) || t.Note() == noteExchange55 && t.Offers(OffersAUTH))
}

func wantsXAUTH(t *Turn) bool { return t.Offers(OffersXAUTH) && !t.Offers(OffersAUTHNTLM) }

func xauthCommand(t *Turn) {
	blob, ok := ntlmArgument(t.Line())
	if !ok {
		return
	}
	if forms := xauthForms(t, blob); forms != nil {
		t.SetLine(forms[0])
	}
}

// xauthForms are the ways to say the client's command to the server, likeliest
// first; nil: as the client has said it.
func xauthForms(t *Turn, blob string) []string {
	switch {
	case t.Verb() == VerbXAUTH && wantsAUTH(t):
		return forms("AUTH NTLM", blob)
	case t.Verb() == VerbAUTH && wantsXAUTH(t) && blob == "":
		return []string{"XAUTH NTLM", "XAUTH=NTLM", "XAUTH NTLMSSP", "XAUTH"}
	case t.Verb() == VerbAUTH && wantsXAUTH(t):
		return append(forms("XAUTH NTLM", blob), "XAUTH "+blob, "XAUTH=NTLM "+blob, "XAUTH NTLMSSP "+blob)
	}
	return nil
}

// forms are a command with its first message on the line, and without.
func forms(command, blob string) []string {
	if blob == "" {
		return []string{command}
	}
	return []string{command + " " + blob, command}
}

func xauthReply(t *Turn) {
	switch {
	case t.Lost():
	case t.Verb() == VerbGreeting:
		if strings.Contains(strings.Join(t.Reply().Lines, " "), "Microsoft Exchange Internet Mail Service 5.5") {
			t.SetNote(noteExchange55)
		}
	case t.Verb() == VerbEHLO:
		if t.Reply().Code == 250 {
			offerBoth(t, t.Reply())
		}
	case !t.Challenged():
		retryXAUTH(t)
	}
}

// offerBoth shows the client both ways to log in where the server has one.
func offerBoth(t *Turn, r *Reply) {
	switch {
	case wantsAUTH(t):
		r.addKeywords("XAUTH NTLM", "XAUTH=NTLM")
	case wantsXAUTH(t):
		if !addMechanism(r, "AUTH ", "NTLM") {
			r.addKeywords("AUTH NTLM")
		}
		if !addMechanism(r, "AUTH=", "NTLM") {
			r.addKeywords("AUTH=NTLM")
		}
	}
}

// addMechanism appends to the mechanisms of a line that is there already.
func addMechanism(r *Reply, prefix, mechanism string) bool {
	for i, line := range r.Lines[1:] {
		if len(line) > len(prefix) && strings.EqualFold(line[:len(prefix)], prefix) {
			r.Lines[i+1] = line + " " + mechanism
			return true
		}
	}
	return false
}

// retryXAUTH says a refused command in its next form. NTLM's first message has
// no state: it can be said again until the server has answered it with a
// challenge. Where the form had no room for it, it follows the server's 334.
func retryXAUTH(t *Turn) {
	blob, ok := ntlmArgument(t.Said())
	forms := xauthForms(t, blob)
	if !ok || forms == nil {
		return
	}
	place := -1
	for i, form := range forms {
		if form == t.Line() {
			place = i
		}
	}
	switch code := t.Reply().Code; {
	case place < 0:
	case code == 334 && blob != "" && !strings.HasSuffix(t.Line(), blob):
		t.Again(blob)
	case (code == 500 || code == 501 || code == 502 || code == 504) && place < len(forms)-1:
		t.Again(forms[place+1])
	}
}

// ntlmArgument reads AUTH or XAUTH with NTLM: the first message, if it is on the
// line. XAUTH may leave the mechanism out, or glue it on with "=".
func ntlmArgument(line string) (blob string, ok bool) {
	arg := string(argument([]byte(line)))
	if parseVerb([]byte(line)) == VerbXAUTH && (arg == "" || strings.HasPrefix(arg, ntlmBase64)) {
		return arg, true
	}
	mechanism, blob, _ := strings.Cut(arg, " ")
	switch strings.ToUpper(mechanism) {
	case "NTLM", "NTLMSSP":
		return strings.Trim(blob, blanks), true
	}
	return "", false
}
