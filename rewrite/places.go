package rewrite

// places are rules in force, by their place, first to last.
type places []uint8

// stages are which rules have a function for a stage of a session. Most rules have one
// for few stages and verbs, so that most need not be looked at.
type stages struct {
	command [verbs]places // by the verb of the command
	reply   [verbs]places // by the verb that the reply answers
	offer   places
	repair  places
}

// add notes what the rule at this place has functions for.
func (s *stages) add(place uint8, a *Actions) {
	for v := range Verb(verbs) {
		if a.Command != nil && (a.Commands | a.Owed).Has(v) {
			s.command[v] = append(s.command[v], place)
		}
		if a.Reply != nil && (a.Replies | a.Refusals | a.Multiline | a.Odd).Has(v) {
			s.reply[v] = append(s.reply[v], place)
		}
	}
	if a.Offer != nil {
		s.offer = append(s.offer, place)
	}
	if a.Repair != nil {
		s.repair = append(s.repair, place)
	}
}
