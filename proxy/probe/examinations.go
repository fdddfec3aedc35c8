package probe

// Needs says whether an examination sends MAIL, or a message. The examination is made
// only if the fields Mail and To of [Server] allow that.
type Needs int

// The needs of examinations.
const (
	NeedsNothing Needs = iota // it can be made without MAIL
	NeedsMail                 // it sends MAIL, but no message; needs Server.Mail
	NeedsMessage              // it sends a message; needs Server.Mail and Server.To
)

// An Examination is one check of a server, such as whether the server accepts a second
// EHLO in a session.
type Examination struct {
	Name, Says string
	Needs      Needs
	session    bool // it needs a session in which the server has accepted a hello
	look       func(*visit)
}

// Examinations returns all examinations in the order in which they are made. Most of
// them also check the form of each reply that they get.
func Examinations() []Examination {
	return []Examination{
		{"greeting", "its greeting, and whether that has ESMTP and its name", NeedsNothing, false, (*visit).lookAtGreeting},
		{"ehlo", "whether it accepts EHLO, HELO, or the second of them", NeedsNothing, false, (*visit).lookAtHello},
		{"keywords", "what the EHLO reply offers, and how it is spelt", NeedsNothing, true, (*visit).lookAtKeywords},
		{"second-ehlo", "whether it accepts another EHLO", NeedsNothing, true, (*visit).lookAtSecondHello},
		{"noop", "NOOP, also in lower case and with a blank at its end", NeedsNothing, true, (*visit).lookAtNoop},
		{"line-feed", "whether it accepts a command that ends with LF alone", NeedsNothing, true, (*visit).lookAtLineFeed},
		{"auth", "the prompts of the logins that it offers, each cancelled at once", NeedsNothing, true, (*visit).lookAtAuth},
		{"help", "HELP, and whether it hangs up on what it does not know", NeedsNothing, true, (*visit).lookAtHelp},
		{"names", "names in EHLO: a dot at the end, an underscore, one label, a bare address, none", NeedsNothing, true, (*visit).lookAtNames},
		{"starttls", "TLS, what it accepts, and what follows", NeedsNothing, true, (*visit).lookAtTLS},
		{"mail", "MAIL, and again after RSET", NeedsMail, true, (*visit).lookAtMail},
		{"mail-forms", "the forms in which old clients send MAIL", NeedsMail, true, (*visit).lookAtMailForms},
		{"parameters", "parameters of MAIL that it offers, and those that it does not", NeedsMail, true, (*visit).lookAtParameters},
		{"null-sender", "MAIL of a bounce", NeedsMail, true, (*visit).lookAtNullSender},
		{"pipelining", "two commands at once, if it offers that", NeedsMail, true, (*visit).lookAtPipelining},
		{"message", "a message with long lines and dots", NeedsMessage, true, (*visit).lookAtMessage},
		{"early-talk", "a client that sends commands before the greeting", NeedsNothing, true, (*visit).lookAtEarlyTalk},
	}
}

// beyond returns what no examination tries.
func beyond() []Untried {
	return []Untried{
		{"logins", "they need a password: see smtpshim check -live"},
		{"what becomes of a message", "one has to read it where it arrives: lines that begin with a dot (L66), 8-bit text, long lines that are cut"},
		{"many recipients, large messages, long commands", "they load the server, or make it an open question who gets the mail"},
		{"BDAT", "its chunks are messages"},
		{"what it sends to a client that is idle", "it takes minutes"},
		{"servers that fail under load or at times", "a probe sees a few sessions"},
	}
}
