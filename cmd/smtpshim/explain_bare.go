package main

import (
	"slices"
	"strings"
)

// statusMeanings are what enhanced status codes mean by RFC 3463, 3, or RFC 4954, 6,
// without the class, as far as byStatus does not have them.
var statusMeanings = map[string]string{
	"1.0": "something about an address", "1.4": "the address fits several recipients", "1.5": "the address is valid",
	"2.0": "something about the mailbox", "2.1": "the mailbox accepts no mail: it is disabled", "2.4": "a mailing list cannot be expanded",
	"3.0": "something about the receiving system", "3.1": "the receiving system is full", "3.2": "the system accepts no messages now",
	"3.3": "the system does not have a feature that the message needs", "3.5": "the system is not configured for this",
	"4.0": "something about the network or the way to the host", "4.2": "the connection was lost, or is bad", "4.3": "a directory server, such as the DNS, did not answer", "4.5": "the mail system is congested",
	"5.0": "something about SMTP itself", "5.1": "a command that is not allowed here, or not known", "5.2": "a syntax error: the command was not understood", "5.3": "too many recipients for one message",
	"5.4": "arguments of a command that are not valid", "5.5": "the two sides have another version of the protocol",
	"6.0": "something about the content of the message", "6.1": "the content is of a kind that the recipient's system does not accept, such as 8-bit text", "6.2": "the content has to be converted, and may not be",
	"6.3": "the content has to be converted, and cannot be", "6.4": "the content was converted, and something was lost", "6.5": "the conversion of the content failed",
	"7.0": "something about security or policy", "7.1": "the server does not accept this message by a rule of its operator: for the client, the sender, the recipient or the content; relaying is refused in this way, too",
	"7.2": "this sender may not write to the mailing list", "7.3": "the message would have to be converted for security, and cannot be", "7.4": "the server does not have a security feature that is asked for, such as a mechanism of AUTH",
	"7.5": "a cryptographic check cannot be made", "7.6": "the server does not have the cryptographic algorithm", "7.7": "the message was changed on its way",
	"7.8": "user and password are not accepted", "7.9": "the mechanism of AUTH is too weak", "7.11": "the mechanism of AUTH needs TLS", "7.12": "the password has to be changed first",
}

// bareCauses returns what the codes mean in a line that has nothing else, as guesses: by
// the standard, and the rules with a symptom of that code. nil: there is more in the line,
// or nothing is known.
func (e *explainer) bareCauses(line string) (causes []cause) {
	status, words := "", allWordsIn(line)
	for _, w := range words {
		switch {
		case isCode(w), w == "dsn", w == "status", w == "smtp":
		case enhanced.MatchString(w) && w[0] != '2':
			status = w
		default:
			return nil
		}
	}
	means := ""
	if status != "" {
		means = statusMeanings[status[2:]]
	}
	if means == "" {
		return nil
	}
	subject, _, _ := strings.Cut(status[2:], ".")
	causes = []cause{{Means: "the code alone says: " + means, Do: "look for the text that the server sent with it, in the bounce or in the sender's log, and explain that",
		Symptom: status, Source: "RFC 3463, 3." + string(subject[0]+1), Guess: true}}
	for _, s := range e.symptoms {
		if s.enhanced == status && !s.exact && sameKind(s.words, words) && !slices.ContainsFunc(causes, func(c cause) bool { return c.Rule == s.rule }) {
			c := s.told
			c.Guess = true
			causes = append(causes, c)
		}
	}
	slices.SortStableFunc(causes[1:], byOptions)
	return causes[:min(len(causes), maxGuesses)]
}
