package rewrite

// stages hold the functions of the rules in force by the stage that calls them, first to
// last. Most rules have one for few stages and verbs: the others need not be looked at,
// which would cost more than what rules do.
type stages struct {
	command [verbs][]commandStep // by the verb of the command
	reply   [verbs][]replyStep   // by the verb that the reply answers
	offer   []offerStep
	repair  []repairStep
}

// A commandStep is the Command function of a rule for a verb.
type commandStep struct {
	run  func(*Turn)
	rule uint8
	owed bool // it is called only while the client owes an EHLO
}

// A replyStep is the Reply function of a rule for a verb.
type replyStep struct {
	run  func(*Turn)
	rule uint8
	sees kindOfReply // the replies for which it is called
}

type offerStep struct {
	run  func(Session, Extensions)
	rule uint8
}

type repairStep struct {
	run  func(*Repair)
	rule uint8
}

// A kindOfReply is a set of kinds of replies.
type kindOfReply uint8

const (
	anyReply kindOfReply = 1 << iota
	aRefusal
	aMultiline
	anOdd
)

// has reports whether a reply is of one of the kinds.
func (k kindOfReply) has(r *Reply) bool {
	return k&anyReply != 0 || k&aRefusal != 0 && r.Code >= 400 ||
		k&aMultiline != 0 && len(r.Lines) > 1 || k&anOdd != 0 && r.isOdd()
}

// sees returns the kinds of replies to v for which the Reply function is called.
func (a *Actions) sees(v Verb) (k kindOfReply) {
	for _, of := range []struct {
		verbs VerbSet
		kind  kindOfReply
	}{{a.Replies, anyReply}, {a.Refusals, aRefusal}, {a.Multiline, aMultiline}, {a.Odd, anOdd}} {
		if of.verbs.Has(v) {
			k |= of.kind
		}
	}
	return k
}

// add adds the functions of a rule.
func (s *stages) add(rule uint8, a *Actions) {
	for v := range Verb(verbs) {
		if a.Command != nil && (a.Commands | a.Owed).Has(v) {
			s.command[v] = append(s.command[v], commandStep{a.Command, rule, !a.Commands.Has(v)})
		}
		if sees := a.sees(v); a.Reply != nil && sees != 0 {
			s.reply[v] = append(s.reply[v], replyStep{a.Reply, rule, sees})
		}
	}
	if a.Offer != nil {
		s.offer = append(s.offer, offerStep{a.Offer, rule})
	}
	if a.Repair != nil {
		s.repair = append(s.repair, repairStep{a.Repair, rule})
	}
}
