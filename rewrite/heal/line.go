package heal

import "smtpshim/rewrite"

// blanks are what lenient servers take for a blank in a command.
const blanks = " \t\v\f"

var hellos = rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
