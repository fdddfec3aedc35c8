package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func translateXAUTH() rewrite.Rule {
	return rewrite.Rule{
		Name:  "translate-xauth",
		Heals: "Exchange 5.0, which logs in with XAUTH, and all others, which use AUTH NTLM: the rule translates between them",
		Doc: "Exchange 5.0 looks for XAUTH in the EHLO reply, and without it bounces the mail with `502 Server does not support AUTH.`; " +
			"as a server it answers AUTH with 500. If a server offers AUTH with NTLM, the rule also offers XAUTH NTLM, and changes XAUTH " +
			"in any form to AUTH NTLM. If a server offers XAUTH, and no AUTH with LOGIN, PLAIN or CRAM-MD5, the rule also offers AUTH " +
			"NTLM, and changes AUTH NTLM to XAUTH. If the server refuses one form before any challenge, the rule sends another. Exchange " +
			"5.5 accepts NTLM and does not list it (KB Q262945). The NTLM messages stay unchanged. No document has the spelling of XAUTH " +
			"in Exchange 5.0, so the rule accepts every plausible one.",
		Symptoms: []string{"502 Server does not support AUTH."},
		Source:   "KB Q195201; KB Q262945; MS-SMTPNTLM; github.com/thunderbird/thunderbird-android/issues/6062",
		Entries:  []string{"L30", "L33"},
		Options: []rewrite.Option{
			{Name: "spelling", Default: "blank", Values: []string{"blank", "both"},
				Doc: "how XAUTH is offered; \"blank\": XAUTH NTLM; \"both\": XAUTH=NTLM too, which other clients refuse as no keyword (RFC 5321, 4.1.1.1)"},
			{Name: "extend", Default: "never", Values: []string{"never", "always"},
				Doc: "whether NTLM joins a list of AUTH that has LOGIN, PLAIN or CRAM-MD5; \"never\": clients would prefer NTLM to what works already"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			shown := xauthShown{both: o.Text("spelling") == "both", extend: o.Text("extend") == "always"}
			return rewrite.Actions{
				State:   func() any { return new(xauthState) },
				Command: xauthCommand, Commands: rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXAUTH),
				Reply: shown.reply, Replies: rewrite.SetOf(rewrite.VerbGreeting, rewrite.VerbEHLO, rewrite.VerbAUTH, rewrite.VerbXAUTH),
			}, nil
		},
	}
}

// An xauthShown says what clients are offered.
type xauthShown struct {
	both   bool // XAUTH=NTLM in addition to XAUTH NTLM
	extend bool // NTLM in addition to mechanisms that clients can use
}

// An xauthState is what a session knows about its server.
type xauthState struct {
	exchange55 bool // the greeting is that of Exchange 5.5, which accepts NTLM without offering it (KB Q262945)
}

// wantsAUTH and wantsXAUTH report whether the server knows only that one of the two.
func wantsAUTH(t *rewrite.Turn) bool {
	e := t.Server()
	return !offersXAUTH(e) && (offersAUTHNTLM(e) || (e.Has("AUTH") || e.Has("X-EXPS")) && t.State().(*xauthState).exchange55)
}

func wantsXAUTH(t *rewrite.Turn) bool { return offersXAUTH(t.Server()) && !offersAUTHNTLM(t.Server()) }

func offersAUTHNTLM(e rewrite.Extensions) bool {
	return e.Has("AUTH", "NTLM") || e.Has("X-EXPS", "NTLM")
}

// offersXAUTH reports whether the server offers XAUTH, with NTLM or without a mechanism.
func offersXAUTH(e rewrite.Extensions) bool {
	return e.Has("XAUTH", "NTLM") || e.Has("XAUTH") && len(e.Params("XAUTH")) == 0
}

func xauthCommand(t *rewrite.Turn) {
	blob, ok := ntlmArgument(string(t.Line()))
	if !ok {
		return
	}
	if forms := xauthForms(t, blob); forms != nil {
		t.SetLine(forms[0])
	}
}

// xauthForms returns the forms in which to send the client's command to the server,
// likeliest first. nil means: as the client has sent it.
func xauthForms(t *rewrite.Turn, blob string) []string {
	switch {
	case t.Verb() == rewrite.VerbXAUTH && wantsAUTH(t):
		return forms("AUTH NTLM", blob)
	case t.Verb() == rewrite.VerbAUTH && wantsXAUTH(t) && blob == "":
		return []string{"XAUTH NTLM", "XAUTH=NTLM", "XAUTH NTLMSSP", "XAUTH"}
	case t.Verb() == rewrite.VerbAUTH && wantsXAUTH(t):
		return append(forms("XAUTH NTLM", blob), "XAUTH "+blob, "XAUTH=NTLM "+blob, "XAUTH NTLMSSP "+blob)
	}
	return nil
}

// forms returns a command with its initial response, and without.
func forms(command, blob string) []string {
	if blob == "" {
		return []string{command}
	}
	return []string{command + " " + blob, command}
}

func (x xauthShown) reply(t *rewrite.Turn) {
	switch {
	case t.Lost():
	case t.Verb() == rewrite.VerbGreeting:
		if strings.Contains(strings.Join(t.Reply().Lines, " "), "Microsoft Exchange Internet Mail Service 5.5") {
			t.State().(*xauthState).exchange55 = true
		}
	case t.Verb() == rewrite.VerbEHLO:
		if t.Reply().Code == 250 {
			x.offerBoth(t, t.Extensions())
		}
	case !t.Challenged():
		retryXAUTH(t)
	}
}

// offerBoth offers the client the second way to log in if the server offers one.
func (x xauthShown) offerBoth(t *rewrite.Turn, e rewrite.Extensions) {
	switch {
	case wantsAUTH(t):
		e.Add("XAUTH NTLM")
		if x.both {
			e.Add("XAUTH=NTLM")
		}
	case wantsXAUTH(t) && (x.extend || !offersPassword(e)):
		if !e.Extend("AUTH ", "NTLM") {
			e.Add("AUTH NTLM")
		}
		if !e.Extend("AUTH=", "NTLM") {
			e.Add("AUTH=NTLM")
		}
	}
}

// offersPassword reports whether AUTH has a mechanism for every client with a name and a
// password.
func offersPassword(e rewrite.Extensions) bool {
	return e.Has("AUTH", "LOGIN") || e.Has("AUTH", "PLAIN") || e.Has("AUTH", "CRAM-MD5")
}

// retryXAUTH sends a refused command in its next form. NTLM's first message has no state,
// so it can be sent again until the server has answered it with a challenge. If the form
// has no room for the message, it follows the server's 334.
func retryXAUTH(t *rewrite.Turn) {
	blob, ok := ntlmArgument(string(t.Said()))
	forms := xauthForms(t, blob)
	if !ok || forms == nil {
		return
	}
	place := -1
	for i, form := range forms {
		if form == string(t.Line()) {
			place = i
		}
	}
	switch code := t.Reply().Code; {
	case place < 0:
	case code == 334 && blob != "" && !strings.HasSuffix(string(t.Line()), blob):
		t.Again(blob)
	case (code == 500 || code == 501 || code == 502 || code == 504) && place < len(forms)-1:
		t.Again(forms[place+1])
	}
}

// ntlmBase64 is the base64 prefix of every NTLM message.
const ntlmBase64 = "TlRMTVNTUA"

// ntlmArgument parses AUTH or XAUTH with NTLM. blob is its initial response, "" if it has
// none. XAUTH may omit the mechanism, or join it with "=".
func ntlmArgument(line string) (blob string, ok bool) {
	arg := string(rewrite.Argument([]byte(line)))
	if rewrite.ParseVerb([]byte(line)) == rewrite.VerbXAUTH && (arg == "" || strings.HasPrefix(arg, ntlmBase64)) {
		return arg, true
	}
	mechanism, blob, _ := strings.Cut(arg, " ")
	switch strings.ToUpper(mechanism) {
	case "NTLM", "NTLMSSP":
		return strings.Trim(blob, blanks), true
	}
	return "", false
}
